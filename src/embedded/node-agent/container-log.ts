import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../runtime/index.ts";
import { formatLogLine } from "../core/node-agent/cri-log.ts";

/** kubelet's containerLogMaxSize; with `ROTATED_FILES` older ones this bounds a container's log. */
const MAX_FILE_BYTES = 10 * 1024 * 1024;
export const ROTATED_FILES = 3;
/** Longer lines are cut into partial records, as container runtimes do. */
const MAX_LINE_BYTES = 16 * 1024;

/**
 * Writes one run's output as CRI lines, and tells readers that there is more. Text is handled as
 * latin1 throughout, so that bytes pass unchanged.
 */
export class ContainerLog {
  readonly path: string;
  /** Counts files: a reader that saw another number reads on in a new file. */
  rotations = 0;
  /** Grows with every write. */
  version = 0;
  isEnded = false;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  readonly #rest = { stdout: "", stderr: "" };
  #file: number;
  #sizeBytes: number;

  constructor(path: string, clock: Clock) {
    this.path = path;
    this.#clock = clock;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#file = openSync(path, "a", 0o600);
    this.#sizeBytes = fstatSync(this.#file).size;
  }

  write(stream: "stdout" | "stderr", chunk: Buffer): void {
    const lines = (this.#rest[stream] + chunk.toString("latin1")).split("\n");
    let rest = lines.pop() ?? "";
    const records = lines.flatMap((line) => this.#records(stream, line));
    while (rest.length > MAX_LINE_BYTES) {
      records.push(this.#record(stream, rest.slice(0, MAX_LINE_BYTES), false));
      rest = rest.slice(MAX_LINE_BYTES);
    }
    this.#rest[stream] = rest;
    this.#append(records.join(""));
  }

  /** Writes what came without a line feed, and lets followers go. */
  end(): void {
    if (this.isEnded) return;
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = this.#rest[stream];
      if (rest !== "") this.#append(this.#record(stream, rest, false));
    }
    this.isEnded = true;
    closeSync(this.#file);
    this.#wake();
  }

  /** Resolves once the version differs from `seen`, the log has ended, or the signal aborts. */
  changed(seen: number, signal: AbortSignal): Promise<void> {
    if (this.version !== seen || this.isEnded || signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise.finally(() => {
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
    });
  }

  #records(stream: "stdout" | "stderr", line: string): string[] {
    const records: string[] = [];
    let at = 0;
    for (; line.length - at > MAX_LINE_BYTES; at += MAX_LINE_BYTES) {
      records.push(this.#record(stream, line.slice(at, at + MAX_LINE_BYTES), false));
    }
    return [...records, this.#record(stream, line.slice(at), true)];
  }

  #record(stream: "stdout" | "stderr", text: string, isWhole: boolean): string {
    const timestamp = new Date(this.#clock.nowMs()).toISOString();
    return formatLogLine({ timestamp, stream, isWhole, text });
  }

  #append(text: string): void {
    if (text === "" || this.isEnded) return;
    if (this.#sizeBytes > 0 && this.#sizeBytes + text.length > MAX_FILE_BYTES) this.#rotate();
    writeSync(this.#file, text, null, "latin1");
    this.#sizeBytes += text.length;
    this.version++;
    this.#wake();
  }

  /** 0.log.2 → 0.log.3, 0.log.1 → 0.log.2, 0.log → 0.log.1. */
  #rotate(): void {
    closeSync(this.#file);
    rmSync(`${this.path}.${ROTATED_FILES}`, { force: true });
    for (let n = ROTATED_FILES - 1; n >= 0; n--) {
      try {
        renameSync(n === 0 ? this.path : `${this.path}.${n}`, `${this.path}.${n + 1}`);
      } catch {
        // not that many files yet
      }
    }
    this.#file = openSync(this.path, "a", 0o600);
    this.#sizeBytes = 0;
    this.rotations++;
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
