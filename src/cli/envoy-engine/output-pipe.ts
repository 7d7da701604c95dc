import { execFileSync } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";

/** Where a child's standard output goes. */
export interface OutputPipe {
  /** For the child's stdio. */
  readonly stdout: "inherit" | number;
  close(): void;
}

/**
 * Envoy opens /dev/stdout for its access log, which Linux refuses where that is a socket (as in the
 * embedded cluster): a named pipe then takes its place.
 */
export function openOutputPipe(dir: string): OutputPipe {
  if (!fstatSync(1).isSocket()) return { stdout: "inherit", close: () => {} };
  const path = join(dir, "stdout");
  execFileSync("mkfifo", ["-m", "600", path]);
  // For reading and writing: neither end waits for the other.
  const fd = openSync(path, constants.O_RDWR);
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const reader = new Socket({ fd: reading, readable: true, writable: false });
  reader.on("error", () => reader.destroy());
  reader.pipe(process.stdout, { end: false });
  return {
    stdout: fd,
    close() {
      closeSync(fd);
      reader.destroy();
      rmSync(path, { force: true });
    },
  };
}
