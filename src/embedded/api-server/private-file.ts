import { closeSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";

/** Writes a file that only its owner may read, whole or not at all (written aside, then renamed). */
export function writePrivateFile(path: string, text: string): void {
  const draft = `${path}.${process.pid}.new`;
  const file = openSync(draft, "w", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
}
