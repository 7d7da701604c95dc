import { closeSync, existsSync, openSync, readdirSync, read as readFile, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { SerinError } from "../../base/index.ts";
import type { Clock } from "../../runtime/index.ts";
import { type LogLine, parseLogLine, printLogLine } from "../core/node-agent/cri-log.ts";
import type { PodLogs } from "../local-api.ts";
import { ContainerLog, ROTATED_FILES } from "./container-log.ts";

/** Which pod's logs; a new pod of the same name has logs of its own. */
export interface LogOwner {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

type ReadOptions = Parameters<PodLogs["read"]>[1] & {
  /** Why the container does not run, if that is so. */
  readonly waiting?: string | undefined;
};

const READ_BYTES = 64 * 1024;
const readAt = promisify(readFile);

/**
 * Logs of all containers: `<dir>/<namespace>_<pod>_<uid>/<container>/<restart>.log`. The current
 * run's and the one before are kept, until the pod is deleted.
 */
export class LogStore {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #open = new Map<string, ContainerLog>();

  constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#clock = clock;
  }

  /** Opens the log of a run; end it when the run has ended. */
  create(owner: LogOwner, container: string, restart: number): ContainerLog {
    const dir = this.#containerDir(owner, container);
    for (const run of runsIn(dir).filter((n) => n < restart - 1)) {
      for (const suffix of suffixes()) rmSync(join(dir, `${run}.log${suffix}`), { force: true });
    }
    const log = new ContainerLog(join(dir, `${restart}.log`), this.#clock);
    this.#open.set(log.path, log);
    return log;
  }

  end(log: ContainerLog): void {
    log.end();
    this.#open.delete(log.path);
  }

  remove(owner: LogOwner): void {
    rmSync(this.#podDir(owner), { recursive: true, force: true });
  }

  /** Removes the logs of pods that are no more. */
  keepOnly(owners: readonly LogOwner[]): void {
    const kept = new Set(owners.map((owner) => this.#podDir(owner)));
    for (const name of existsSync(this.#dir) ? readdirSync(this.#dir) : []) {
      const dir = join(this.#dir, name);
      if (!kept.has(dir)) rmSync(dir, { recursive: true, force: true });
    }
  }

  /** Streams a container's log. Throws SERIN_NOT_FOUND when that run never began. */
  async *read(
    owner: LogOwner,
    container: string,
    options: ReadOptions,
  ): AsyncGenerator<Uint8Array> {
    const dir = this.#containerDir(owner, container);
    const runs = runsIn(dir).sort((a, b) => b - a);
    const run = runs[options.previous ? 1 : 0];
    if (run === undefined) throw noSuchRun(owner, container, options);
    const path = join(dir, `${run}.log`);
    let leftBytes = options.limitBytes ?? Number.POSITIVE_INFINITY;
    for await (const line of this.#lines(path, options)) {
      const bytes = Buffer.from(printLogLine(line, options.timestamps), "latin1");
      yield bytes.subarray(0, leftBytes);
      leftBytes -= bytes.length;
      if (leftBytes <= 0) return;
    }
  }

  async *#lines(path: string, options: ReadOptions): AsyncGenerator<LogLine> {
    const { sinceSeconds, tailLines, signal } = options;
    const since =
      sinceSeconds === undefined
        ? ""
        : new Date(this.#clock.nowMs() - sinceSeconds * 1000).toISOString();
    const log = this.#open.get(path);
    // Before the first read: what is written from now on is seen as a change.
    let rotations = log?.rotations ?? 0;
    let version = log?.version ?? 0;
    let current = new LogCursor(path);
    try {
      const tail: LogLine[] = [];
      for await (const line of this.#existing(path, current)) {
        if (line.timestamp < since) continue;
        if (tailLines === undefined) yield line;
        else if (tail.push(line) > tailLines) tail.shift();
        if (signal.aborted) return;
      }
      yield* tail;
      while (options.follow && log !== undefined && !signal.aborted) {
        await log.changed(version, signal);
        const { isEnded } = log;
        version = log.version;
        yield* current.readOn();
        // Nothing is awaited between the end of the file and this line: all of it was read.
        const skipped = log.rotations - rotations;
        if (skipped > 0) {
          rotations = log.rotations;
          const files = newerFiles(path, skipped);
          current.close();
          current = files.pop() ?? current;
          for (const file of files) {
            yield* file.readOn();
            file.close();
          }
          yield* current.readOn();
        }
        if (isEnded) return;
      }
    } finally {
      current.close();
    }
  }

  async *#existing(path: string, current: LogCursor): AsyncGenerator<LogLine> {
    // All are opened before the first is read: a rotation meanwhile changes nothing.
    const older = Array.from({ length: ROTATED_FILES }, (_, n) => `${path}.${ROTATED_FILES - n}`)
      .filter((each) => existsSync(each))
      .map((each) => new LogCursor(each));
    try {
      for (const cursor of older) yield* cursor.readOn();
    } finally {
      for (const cursor of older) cursor.close();
    }
    yield* current.readOn();
  }

  #podDir({ namespace, name, uid }: LogOwner): string {
    return join(this.#dir, `${namespace}_${name}_${uid}`);
  }

  #containerDir(owner: LogOwner, container: string): string {
    return join(this.#podDir(owner), container);
  }
}

/** The files after one that was current `rotations` ago, oldest first; the last is current now. */
function newerFiles(path: string, rotations: number): LogCursor[] {
  const older = Array.from({ length: Math.min(rotations - 1, ROTATED_FILES) }, (_, n) => n + 1);
  const paths = [...older.reverse().map((n) => `${path}.${n}`), path];
  return paths.map((each) => new LogCursor(each));
}

/** A place in a log file, which is opened at once: it stays the same file when it is renamed. */
class LogCursor {
  readonly #file: number;
  #isClosed = false;
  #offset = 0;
  #rest = "";

  constructor(path: string) {
    this.#file = openSync(path, "r");
  }

  /** The whole lines from here to the end of the file. */
  async *readOn(): AsyncGenerator<LogLine> {
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      const { bytesRead } = await readAt(this.#file, buffer, 0, READ_BYTES, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      const lines = (this.#rest + buffer.toString("latin1", 0, bytesRead)).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const text of lines) {
        const line = parseLogLine(text);
        if (line !== undefined) yield line;
      }
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file);
  }
}

function runsIn(dir: string): number[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir).flatMap((name) => {
    const match = /^(\d+)\.log$/.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
}

function suffixes(): string[] {
  return ["", ...Array.from({ length: ROTATED_FILES }, (_, n) => `.${n + 1}`)];
}

function noSuchRun(owner: LogOwner, container: string, options: ReadOptions): SerinError {
  const where = `container ${JSON.stringify(container)} in pod ${JSON.stringify(owner.name)}`;
  const message = options.previous
    ? `previous terminated ${where} not found`
    : `${where} is waiting to start: ${options.waiting ?? "ContainerCreating"}`;
  return new SerinError("SERIN_NOT_FOUND", message, { source: "caller" });
}
