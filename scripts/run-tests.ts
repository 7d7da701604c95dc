/**
 * `npm test`: says what this machine lacks (and so what is skipped), then runs every test with
 * node:test. Arguments narrow the run: `npm test -- test/proxy`.
 */
import { spawnSync } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { skipWithout, type Tool } from "../test/support/tools.ts";

const major = Number(process.versions.node.split(".")[0]);
if (major < 26) {
  console.error(
    `tests need Node 26 (this is ${process.version}); run them with \`npm test\` after \`npm ci\``,
  );
  process.exit(2);
}

const tools: readonly Tool[] = ["kubectl", "envoy", "prometheus", "nginx"];
for (const tool of tools) {
  const reason = skipWithout(tool);
  if (reason !== false) console.log(`skipping tests of ${tool}: ${reason}`);
}

const wanted = process.argv.slice(2);
const files = (wanted.length > 0 ? wanted : ["test"]).flatMap((path) =>
  statSync(path).isDirectory() ? globSync(`${path}/**/*.test.ts`) : [path],
);
const { status } = spawnSync(
  process.execPath,
  ["--test", "--test-timeout=300000", "--test-reporter=spec", ...files.sort()],
  { stdio: "inherit" },
);
process.exit(status ?? 1);
