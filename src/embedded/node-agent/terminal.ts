import { closeSync, constants, openSync } from "node:fs";
import { createRequire } from "node:module";
import type { Duplex } from "node:stream";
import { ReadStream } from "node:tty";
import { SerinError } from "../../base/index.ts";

/** A pseudo-terminal (pty(7)): a program has `slave`, we have the other end. */
export interface Terminal {
  /** File descriptor for the program's standard streams. */
  readonly slave: number;
  /** What the program shows, and what is typed. */
  readonly stream: Duplex;
  resize(columns: number, rows: number): void;
  /** To be called once the program has it. */
  closeSlave(): void;
  close(): void;
}

/** From asm-generic/ioctls.h and asm-generic/ioctl.h, the same on x86-64 and arm64. */
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;

type Ioctl = (fd: number, request: number, argument: Uint8Array) => number;

/** Opens a new pseudo-terminal. Throws SERIN_EXEC where there is none (not Linux). */
export function openTerminal(): Terminal {
  if (process.platform !== "linux") {
    throw new SerinError("SERIN_EXEC", "terminals (-t) are there on Linux only; try without -t");
  }
  const ioctl = loadIoctl();
  const flags = constants.O_RDWR | constants.O_NOCTTY;
  const master = openSync("/dev/ptmx", flags);
  const number = Buffer.alloc(4);
  if (ioctl(master, TIOCSPTLCK, Buffer.alloc(4)) !== 0 || ioctl(master, TIOCGPTN, number) !== 0) {
    closeSync(master);
    throw new SerinError("SERIN_EXEC", "the system gave no terminal");
  }
  const slave = openSync(`/dev/pts/${number.readInt32LE()}`, flags);
  const stream = new ReadStream(master);
  // EIO: nobody has the other end open any more, which is how a terminal's output ends.
  stream.on("error", () => stream.destroy());
  return {
    slave,
    stream,
    resize(columns, rows) {
      if (stream.destroyed) return;
      const size = Buffer.alloc(8);
      size.writeUInt16LE(rows, 0);
      size.writeUInt16LE(columns, 2);
      ioctl(master, TIOCSWINSZ, size);
    },
    closeSlave: () => closeSync(slave),
    close: () => stream.destroy(),
  };
}

function loadIoctl(): Ioctl {
  const koffi: typeof import("koffi") = createRequire(import.meta.url)("koffi");
  const found = koffi.load(null).func("int ioctl(int fd, unsigned long request, void *argument)");
  return (fd, request, argument) => Number(found(fd, request, argument));
}
