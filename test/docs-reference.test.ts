import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

const COLUMNS = ["Feature", "xDS field", "Test file", "Deviation from Envoy"];

/** The rows of every table in the reference of the proxy, with the section they stand in. */
function rows(): readonly { readonly section: string; readonly cells: readonly string[] }[] {
  let section = "";
  return readFileSync("docs/reference/proxy.md", "utf8")
    .split("\n")
    .flatMap((line) => {
      if (line.startsWith("## ")) section = line.slice(3);
      if (!line.startsWith("|") || /^\|[-| :]+\|$/.test(line)) return [];
      const cells = line.slice(1, -1).split(/(?<!\\)\|/);
      return [{ section, cells: cells.map((cell) => cell.trim()) }];
    });
}

test("every feature of the proxy's reference names what configures it and tests that exist", () => {
  const all = rows();
  const features = all.filter(({ cells }) => cells[0] !== COLUMNS[0]);
  assert.ok(features.length >= 40, `${features.length} rows`);
  for (const { section, cells } of all) {
    assert.equal(cells.length, COLUMNS.length, `${section}: ${cells.join(" | ")}`);
  }
  for (const { section, cells } of features) {
    const [feature = "", field = "", tests = "", deviation = ""] = cells;
    const where = `${section}: ${feature}`;
    assert.ok(feature !== "" && field !== "" && deviation !== "", where);
    const files = [...tests.matchAll(/`([^`]+\.ts)`/g)].map((match) => match[1] ?? "");
    assert.ok(files.length > 0, `${where} names no test`);
    for (const file of files) assert.ok(existsSync(file), `${where}: there is no ${file}`);
  }
});

for (const [document, count] of [
  ["docs/reference/gateway-api.md", 8],
  ["docs/textbook.md", 8],
  ["docs/reference/security.md", 2],
] as const) {
  test(`${document} names tests that exist`, () => {
    const text = readFileSync(document, "utf8");
    const named = [...text.matchAll(/`(test\/[^`]+\.ts)`/g)].map((match) => match[1] ?? "");
    const files = new Set(named);
    assert.ok(files.size >= count, `${files.size} files`);
    for (const file of files) assert.ok(existsSync(file), `there is no ${file}`);
  });
}
