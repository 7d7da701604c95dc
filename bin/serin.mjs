#!/usr/bin/env node
// Plain JavaScript on purpose: an old Node must get as far as the sentence below.
const major = Number(process.versions.node.split(".")[0]);
if (major < 26) {
  process.stderr.write(
    `serin needs Node 26 or newer; this is Node ${process.versions.node} (${process.execPath}). ` +
      "In a checkout run `npm run serin -- …`, which brings its own.\n",
  );
  process.exit(2);
}
const { existsSync } = await import("node:fs");
const source = new URL("../src/cli/main.ts", import.meta.url);
// A checkout runs its sources as they are; a published package holds compiled JavaScript only.
const entry = existsSync(source) ? source : new URL("../dist/cli/main.js", import.meta.url);
const { main } = await import(entry.href);
await main(process.argv.slice(2));
