import { gzipSync } from "node:zlib";

/** A file of an archive. */
export interface ArchivedFile {
  /** With `/`; up to 255 bytes, its last part up to 100. */
  readonly path: string;
  readonly text: string;
}

const BLOCK = 512;
const NAME_BYTES = 100;

/** A .tar.gz (POSIX ustar) of texts; `atS` is when they were made, in seconds of the epoch. */
export function tarGz(files: readonly ArchivedFile[], atS: number): Buffer {
  const parts = files.flatMap(({ path, text }) => {
    const content = Buffer.from(text);
    const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
    return [headerOf(path, content.length, atS), content, padding];
  });
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]));
}

function headerOf(path: string, sizeBytes: number, atS: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const cut = path.length <= NAME_BYTES ? -1 : path.lastIndexOf("/");
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
  header.write(path.slice(cut + 1), 0, NAME_BYTES, "utf8");
  header.write(`${octal(0o600, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, 100, "latin1");
  header.write(`${octal(sizeBytes, 11)}\0${octal(Math.floor(atS), 11)}\0`, 124, "latin1");
  // The checksum counts itself as spaces.
  header.write("        0", 148, "latin1");
  header.write("ustar\0", 257, "latin1");
  header.write("00", 263, "latin1");
  if (cut > 0) header.write(path.slice(0, cut), 345, 155, "utf8");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148, "latin1");
  return header;
}
