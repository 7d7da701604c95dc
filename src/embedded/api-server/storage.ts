import type { KubeObject } from "../../api/index.ts";
import { deepFreeze } from "../core/api/json.ts";
import { storageKey } from "../core/api/resource-info.ts";
import { Database } from "./database.ts";
import { type ChangeListener, WatchHistory } from "./watch-history.ts";

/** What a resource is called in the store. */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
}

/**
 * All objects, in memory and on disk. Objects are frozen and shared by every reader; each write
 * gets the next resourceVersion and is on disk before anybody hears of it.
 */
export class Storage {
  readonly #database: Database;
  readonly history: WatchHistory;
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  #resourceVersion: number;

  /** Throws SERIN_DATA_DIR. */
  constructor(dataDir: string) {
    this.#database = new Database(dataDir);
    this.#resourceVersion = this.#database.readVersion();
    this.history = new WatchHistory(this.#resourceVersion);
    for (const row of this.#database.readAll()) {
      const object = deepFreeze(JSON.parse(row.body) as KubeObject);
      this.#bucket(row.resource).set(objectKey(row.namespace, row.name), object);
    }
  }

  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  get(resource: ResourceName, namespace: string, name: string): KubeObject | undefined {
    return this.#objects.get(storageKey(resource))?.get(objectKey(namespace, name));
  }

  /** Every object of a resource, ordered by namespace and name; O(n log n). */
  list(resource: ResourceName, namespace = ""): readonly KubeObject[] {
    const bucket = this.#objects.get(storageKey(resource));
    if (bucket === undefined) return [];
    const entries = [...bucket.entries()];
    const prefix = `${namespace}/`;
    return entries
      .filter(([key]) => namespace === "" || key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  }

  /** Creates or replaces; the caller has compared versions, with nothing awaited in between. */
  put(resource: ResourceName, object: KubeObject): KubeObject {
    const resourceVersion = this.#resourceVersion + 1;
    const metadata = { ...object.metadata, resourceVersion: String(resourceVersion) };
    const stored = deepFreeze({ ...object, metadata });
    const row = locate(resource, stored);
    this.#database.put({ ...row, body: JSON.stringify(stored) }, resourceVersion);
    this.#resourceVersion = resourceVersion;
    const bucket = this.#bucket(row.resource);
    const key = objectKey(row.namespace, row.name);
    const previous = bucket.get(key);
    bucket.set(key, stored);
    const type = previous === undefined ? "ADDED" : "MODIFIED";
    this.history.record({
      type,
      resource: row.resource,
      resourceVersion,
      object: stored,
      previous,
    });
    return stored;
  }

  /** Removes; the returned last state carries the resourceVersion of the removal. */
  remove(resource: ResourceName, object: KubeObject): KubeObject {
    const resourceVersion = this.#resourceVersion + 1;
    const row = locate(resource, object);
    this.#database.remove(row, resourceVersion);
    this.#resourceVersion = resourceVersion;
    this.#bucket(row.resource).delete(objectKey(row.namespace, row.name));
    const metadata = { ...object.metadata, resourceVersion: String(resourceVersion) };
    const last = deepFreeze({ ...object, metadata });
    const event = {
      type: "DELETED" as const,
      resource: row.resource,
      resourceVersion,
      object: last,
    };
    this.history.record({ ...event, previous: object });
    return last;
  }

  /** Calls back after every change of a resource; the returned function ends it. */
  subscribe(resource: ResourceName, listener: ChangeListener): () => void {
    return this.history.subscribe(storageKey(resource), listener);
  }

  close(): void {
    this.#database.close();
  }

  #bucket(resource: string): Map<string, KubeObject> {
    let bucket = this.#objects.get(resource);
    if (bucket === undefined) {
      bucket = new Map();
      this.#objects.set(resource, bucket);
    }
    return bucket;
  }
}

function objectKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function locate(
  resource: ResourceName,
  object: KubeObject,
): { readonly resource: string; readonly namespace: string; readonly name: string } {
  const { namespace = "", name } = object.metadata;
  return { resource: storageKey(resource), namespace, name };
}
