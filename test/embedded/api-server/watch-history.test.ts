import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../src/api/index.ts";
import { type Change, WatchHistory } from "../../../src/embedded/api-server/watch-history.ts";

function change(resourceVersion: number, resource = "/pods"): Change {
  const metadata = { name: `o${resourceVersion}`, resourceVersion: String(resourceVersion) };
  const object: KubeObject = { apiVersion: "v1", kind: "Pod", metadata };
  return { type: "ADDED", resource, resourceVersion, object, previous: undefined };
}

test("a listener that causes the next change does not let anybody hear it first", () => {
  const history = new WatchHistory(0);
  const heard: string[] = [];
  history.subscribe("/pods", ({ resourceVersion }) => {
    heard.push(`first ${resourceVersion}`);
    if (resourceVersion === 1) history.record(change(2));
  });
  history.subscribe("/pods", ({ resourceVersion }) => heard.push(`second ${resourceVersion}`));
  history.record(change(1));
  assert.deepEqual(heard, ["first 1", "second 1", "first 2", "second 2"]);
});

test("changes are given back from any version that is remembered, by resource", () => {
  const history = new WatchHistory(10);
  history.record(change(11));
  history.record(change(12, "apps/deployments"));
  history.record(change(13));
  const since = (version: number): unknown =>
    history.since("/pods", version)?.map((c) => c.resourceVersion);
  assert.deepEqual(since(10), [11, 13]);
  assert.deepEqual(since(11), [13]);
  assert.deepEqual(since(13), []);
  assert.equal(since(9), undefined);
});

test("the oldest changes are forgotten, and a watch from before them is told so", () => {
  const history = new WatchHistory(0);
  const count = 100_000;
  for (let version = 1; version <= count; version++) history.record(change(version));
  assert.equal(history.since("/pods", 1), undefined);
  assert.ok(history.oldestVersion > 0 && history.oldestVersion < count);
  const kept = history.since("/pods", history.oldestVersion) ?? [];
  assert.equal(kept.length, count - history.oldestVersion);
  assert.ok(kept.length >= 20_000);
});
