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
if (process.argv[2] === "proxy") keepYoungGenerationSmall();
const { existsSync } = await import("node:fs");
const source = new URL("../src/cli/main.ts", import.meta.url);
// A checkout runs its sources as they are; a published package holds compiled JavaScript only.
const entry = existsSync(source) ? source : new URL("../dist/cli/main.js", import.meta.url);
const { main } = await import(entry.href);
await main(process.argv.slice(2));

/**
 * The proxy's garbage is young and small: with semi-spaces of 4 MiB it needs 40 MB less than with V8's
 * own choice, and less CPU (bench/results). V8 reads the size at start, so the process replaces itself
 * once; its pid and its streams stay. Helpers of a
 * collector that has so little to do only wake up other threads: without them the 99th percentile of a
 * sidecar pair is a third lower. `--expose-gc` lets it give memory back when it rests. Whoever gave V8 options of his own is left alone.
 */
function keepYoungGenerationSmall() {
  const given = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].join(" ");
  if (typeof process.execve !== "function" || /semi-space|inspect|cpu-prof/.test(given)) return;
  const args = [
    "--max-semi-space-size=4",
    "--no-parallel-scavenge",
    "--expose-gc",
    ...process.execArgv,
    ...process.argv.slice(1),
  ];
  process.execve(process.execPath, [process.execPath, ...args], process.env);
}
