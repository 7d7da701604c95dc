import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { messageOf, SerinError } from "../../base/index.ts";

/** One object as it lies on disk. */
export interface StoredRow {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly body: string;
}

/**
 * The objects on disk: one SQLite file in WAL mode with synchronous=FULL, so that a write that
 * returned survives kill -9 and power loss. One process at a time: the file stays locked
 * exclusively while it is open. Throws SERIN_DATA_DIR when the directory cannot be used.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #setVersion: StatementSync;

  constructor(dataDir: string) {
    const path = join(dataDir, "cluster.db");
    this.#db = open(dataDir, path);
    this.#put = this.#db.prepare(
      `INSERT INTO objects (resource, namespace, name, body) VALUES (?, ?, ?, ?)
       ON CONFLICT (resource, namespace, name) DO UPDATE SET body = excluded.body`,
    );
    this.#remove = this.#db.prepare(
      "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
    );
    this.#setVersion = this.#db.prepare("UPDATE cluster SET resource_version = ?");
  }

  /** The newest resourceVersion ever given out. */
  readVersion(): number {
    const row = this.#db.prepare("SELECT resource_version FROM cluster").get();
    return Number(row?.["resource_version"] ?? 1);
  }

  /** Everything there is. */
  readAll(): readonly StoredRow[] {
    return this.#db
      .prepare("SELECT resource, namespace, name, body FROM objects")
      .all()
      .map((row) => ({
        resource: String(row["resource"]),
        namespace: String(row["namespace"]),
        name: String(row["name"]),
        body: String(row["body"]),
      }));
  }

  /** Writes an object and the version it was written at, together. */
  put(row: StoredRow, resourceVersion: number): void {
    this.#transaction(() => {
      this.#put.run(row.resource, row.namespace, row.name, row.body);
      this.#setVersion.run(resourceVersion);
    });
  }

  /** Removes an object; the removal has a version of its own. */
  remove(row: Omit<StoredRow, "body">, resourceVersion: number): void {
    this.#transaction(() => {
      this.#remove.run(row.resource, row.namespace, row.name);
      this.#setVersion.run(resourceVersion);
    });
  }

  close(): void {
    this.#db.close();
  }

  #transaction(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }
}

function open(dataDir: string, path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    db = new DatabaseSync(path);
    db.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      BEGIN EXCLUSIVE;
      CREATE TABLE IF NOT EXISTS objects (
        resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (resource, namespace, name)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS cluster (one INTEGER PRIMARY KEY CHECK (one = 1), resource_version INTEGER NOT NULL);
      INSERT OR IGNORE INTO cluster VALUES (1, 1);
      COMMIT;
    `);
    return db;
  } catch (error) {
    if (db?.isOpen === true) db.close();
    throw new SerinError("SERIN_DATA_DIR", describe(error, dataDir, path), { cause: error });
  }
}

function describe(error: unknown, dataDir: string, path: string): string {
  const message = messageOf(error);
  if (/locked|busy/i.test(message)) {
    return `data directory ${dataDir} is in use by another serin process: stop it or choose another --data-dir`;
  }
  if (/not a database|malformed|no such column/i.test(message)) {
    return `${path} is not a readable cluster database: move it away or choose another --data-dir`;
  }
  return `data directory ${dataDir} cannot be used: ${message}`;
}
