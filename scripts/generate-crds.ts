/**
 * Writes `crds/*.yaml` from the schemas in `src/api/`; with `--check` only says whether they are up to
 * date (exit 1 when not).
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { allCustomResourceDefinitions } from "../src/api/index.ts";

const HEADER = "# Generated from src/api by `npm run generate`. Do not edit.\n";
const isCheck = process.argv.includes("--check");

const wanted = new Map(
  allCustomResourceDefinitions().map((definition) => [
    `crds/${definition.metadata.name}.yaml`,
    HEADER + stringify(definition, { aliasDuplicateObjects: false, lineWidth: 100 }),
  ]),
);
mkdirSync("crds", { recursive: true });
const present = readdirSync("crds").map((file) => `crds/${file}`);
const stale = [
  ...[...wanted].filter(([file, text]) => read(file) !== text).map(([file]) => file),
  ...present.filter((file) => !wanted.has(file)),
];
if (isCheck) {
  for (const file of stale) console.error(`${file} is out of date; run \`npm run generate\``);
  process.exit(stale.length > 0 ? 1 : 0);
}
for (const [file, text] of wanted) writeFileSync(file, text);
for (const file of present) if (!wanted.has(file)) rmSync(file);
console.log(`crds: ${wanted.size} definitions, ${stale.length} changed`);

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
