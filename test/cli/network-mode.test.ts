import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { chooseNetwork, rememberNetwork } from "../../src/cli/network-mode.ts";
import { whyNoNamespaces } from "../../src/embedded/index.ts";

function dataDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-network-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test("auto is netns where that can be, and loopback elsewhere", (t) => {
  const expected = whyNoNamespaces() === undefined ? "netns" : "loopback";
  assert.equal(chooseNetwork("auto", dataDir(t)), expected);
  assert.equal(chooseNetwork("loopback", dataDir(t)), "loopback");
});

test("a data directory keeps its network", (t) => {
  const dir = dataDir(t);
  rememberNetwork(dir, "loopback");
  assert.equal(chooseNetwork("auto", dir), "loopback");
  assert.throws(
    () => chooseNetwork("netns", dir),
    /holds a cluster with --network loopback; begin a new one with another --data-dir/,
  );
});

test("clusters of before there was a choice are on loopback", (t) => {
  const dir = dataDir(t);
  writeFileSync(join(dir, "address-block.json"), "{}");
  assert.equal(chooseNetwork("auto", dir), "loopback");
});

test("another word is refused", (t) => {
  assert.throws(
    () => chooseNetwork("bridge", dataDir(t)),
    /--network must be auto, netns or loopback \(found bridge\)/,
  );
});
