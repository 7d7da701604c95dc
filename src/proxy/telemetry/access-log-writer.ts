import { closeSync, openSync, write } from "node:fs";
import { messageOf } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";

/** A full buffer is written at once, a partly filled one after this long (Envoy's flush interval is 10 s). */
const FLUSH_AFTER_MS = 100;
const FLUSH_AT_CHARACTERS = 65_536;
/** Beyond this lines are dropped: a slow disk must not eat the memory. */
const MAX_PENDING_CHARACTERS = 16 * 1_048_576;

/** Appends lines to files without ever holding up the caller. */
export interface AccessLogWriter {
  write(path: string, line: string): void;
  /** Opens the files anew, for log rotation (SIGUSR1). */
  reopen(): void;
  /** Writes what is left and closes. */
  close(): Promise<void>;
  /** Lines that were dropped because a file took too long or could not be opened. */
  readonly droppedLines: number;
}

interface Sink {
  readonly path: string;
  fd: number | undefined;
  pending: string[];
  pendingCharacters: number;
  isWriting: boolean;
  /** The file must be opened anew before the next write. */
  mustReopen: boolean;
  cancelTimer: (() => void) | undefined;
  idle: (() => void)[];
}

export function createAccessLogWriter(options: {
  readonly clock: Clock;
  readonly logger: Logger;
}): AccessLogWriter {
  const sinks = new Map<string, Sink>();
  let droppedLines = 0;

  const sinkOf = (path: string): Sink => {
    let sink = sinks.get(path);
    if (sink === undefined) {
      sink = {
        path,
        fd: undefined,
        pending: [],
        pendingCharacters: 0,
        isWriting: false,
        mustReopen: false,
        cancelTimer: undefined,
        idle: [],
      };
      open(sink);
      sinks.set(path, sink);
    }
    return sink;
  };

  const open = (sink: Sink): void => {
    if (sink.path === "/dev/stdout") sink.fd = 1;
    else if (sink.path === "/dev/stderr") sink.fd = 2;
    else {
      try {
        sink.fd = openSync(sink.path, "a");
      } catch (error) {
        options.logger.error(
          { path: sink.path, reason: messageOf(error) },
          "access log not opened",
        );
      }
    }
  };

  const flush = (sink: Sink): void => {
    sink.cancelTimer?.();
    sink.cancelTimer = undefined;
    if (sink.mustReopen && !sink.isWriting) reopen(sink);
    if (sink.isWriting || sink.pending.length === 0 || sink.fd === undefined) {
      if (!sink.isWriting) settle(sink);
      return;
    }
    const bytes = Buffer.from(sink.pending.join(""));
    sink.pending = [];
    sink.pendingCharacters = 0;
    sink.isWriting = true;
    writeAll(sink.fd, bytes, (error) => {
      sink.isWriting = false;
      if (error !== null) {
        options.logger.error({ path: sink.path, reason: error.message }, "access log not written");
      }
      flush(sink);
    });
  };

  const reopen = (sink: Sink): void => {
    sink.mustReopen = false;
    if (sink.fd !== undefined) closeSync(sink.fd);
    sink.fd = undefined;
    open(sink);
  };

  const settle = (sink: Sink): void => {
    for (const resolve of sink.idle.splice(0)) resolve();
  };

  return {
    get droppedLines() {
      return droppedLines;
    },
    write(path, line) {
      const sink = sinkOf(path);
      if (sink.fd === undefined || sink.pendingCharacters > MAX_PENDING_CHARACTERS) {
        droppedLines += 1;
        return;
      }
      sink.pending.push(line);
      sink.pendingCharacters += line.length;
      if (sink.pendingCharacters >= FLUSH_AT_CHARACTERS) flush(sink);
      else sink.cancelTimer ??= options.clock.schedule(FLUSH_AFTER_MS, () => flush(sink));
    },
    reopen() {
      for (const sink of sinks.values()) {
        if (sink.path.startsWith("/dev/std")) continue;
        // The old file gets what was logged before the signal.
        flush(sink);
        sink.mustReopen = true;
        flush(sink);
      }
    },
    async close() {
      for (const sink of sinks.values()) {
        await new Promise<void>((resolve) => {
          sink.idle.push(resolve);
          flush(sink);
        });
        if (sink.fd !== undefined && sink.fd > 2) closeSync(sink.fd);
      }
      sinks.clear();
    },
  };
}

/** `fs.write` may write less than asked; a full pipe answers EAGAIN and is tried again. */
function writeAll(fd: number, bytes: Buffer, done: (error: Error | null) => void): void {
  write(fd, bytes, (error, written) => {
    if (error?.code === "EAGAIN") setImmediate(() => writeAll(fd, bytes, done));
    else if (error !== null) done(error);
    else if (written < bytes.length) writeAll(fd, bytes.subarray(written), done);
    else done(null);
  });
}
