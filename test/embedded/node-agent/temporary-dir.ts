import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const dirs: string[] = [];

// At the very end: hooks of a test run in order, and what writes here is stopped by a later one.
process.on("exit", () => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

/** A directory of its own, removed when the test process ends. */
export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-node-"));
  dirs.push(dir);
  return dir;
}
