import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { serin } from "./cluster.ts";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const { node } = process.versions;
const platform = `${process.platform}/${process.arch}`;

for (const args of [["version"], ["--version"]]) {
  test(`serin ${args.join(" ")} prints one line`, async (t) => {
    const { code, stdout } = await serin(t, args).done;
    assert.deepEqual([code, stdout], [0, `serin ${version} (Node ${node}, ${platform})\n`]);
  });
}

test("serin version -o json is for programs", async (t) => {
  const { code, stdout } = await serin(t, ["version", "-o", "json"]).done;
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), { version, node, platform });
});

for (const args of [["-o", "xml"], ["extra"]]) {
  test(`wrong usage exits 2: serin version ${args.join(" ")}`, async (t) => {
    const { code, stdout, stderr } = await serin(t, ["version", ...args]).done;
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /--output must be json|unexpected argument "extra"/);
  });
}
