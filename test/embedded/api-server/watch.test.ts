import assert from "node:assert/strict";
import { test } from "node:test";
import { configMap } from "./manifests.ts";
import { at, startTestServer } from "./test-server.ts";

const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";
const MERGE = "application/merge-patch+json";

test("a watch from a list's version hears every later change, in order", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("before") });
  const list = await server.ok("GET", CONFIG_MAPS);
  const version = String(at(list, "metadata", "resourceVersion"));
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one", { a: "1" }) });
  const watch = server.watch(`${CONFIG_MAPS}?watch=true&resourceVersion=${version}`);
  await server.ok("PATCH", `${CONFIG_MAPS}/one`, { type: MERGE, body: { data: { a: "2" } } });
  await server.ok("DELETE", `${CONFIG_MAPS}/one`);
  const events = [await watch.next(), await watch.next(), await watch.next()];
  assert.deepEqual(
    events.map((e) => [e.type, at(e.object, "metadata", "name"), at(e.object, "data", "a")]),
    [
      ["ADDED", "one", "1"],
      ["MODIFIED", "one", "2"],
      ["DELETED", "one", "2"],
    ],
  );
  const versions = events.map((e) => Number(at(e.object, "metadata", "resourceVersion")));
  assert.ok((versions[0] ?? 0) > Number(version));
  assert.deepEqual(
    versions,
    [...versions].sort((a, b) => a - b),
  );
  assert.equal(new Set(versions).size, 3, "the deletion has a version of its own");
});

test("a watch without a version starts with what there is", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("a") });
  const watch = server.watch(`${CONFIG_MAPS}?watch=1`);
  assert.equal((await watch.next()).type, "ADDED");
  await server.ok("POST", CONFIG_MAPS, { body: configMap("b") });
  assert.equal(at((await watch.next()).object, "metadata", "name"), "b");
});

test("WatchList sends what there is and then says so with a bookmark", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("a") });
  const query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true";
  const watch = server.watch(`${CONFIG_MAPS}?${query}&resourceVersionMatch=NotOlderThan`);
  assert.equal((await watch.next()).type, "ADDED");
  const bookmark = await watch.next();
  assert.equal(bookmark.type, "BOOKMARK");
  assert.equal(at(bookmark.object, "metadata", "annotations", "k8s.io/initial-events-end"), "true");
  const incomplete = await server.call("GET", `${CONFIG_MAPS}?watch=true&sendInitialEvents=true`);
  assert.equal(incomplete.code, 422);
});

test("an object that starts or stops matching the selector comes and goes", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  const list = await server.ok("GET", CONFIG_MAPS);
  const version = at(list, "metadata", "resourceVersion");
  const watch = server.watch(
    `${CONFIG_MAPS}?watch=true&labelSelector=on%3Dyes&resourceVersion=${version}`,
  );
  const label = (on: string | null): Promise<unknown> =>
    server.ok("PATCH", `${CONFIG_MAPS}/one`, {
      type: MERGE,
      body: { metadata: { labels: { on } } },
    });
  await label("yes");
  await server.ok("PATCH", `${CONFIG_MAPS}/one`, { type: MERGE, body: { data: { a: "1" } } });
  await label(null);
  await server.ok("PATCH", `${CONFIG_MAPS}/one`, { type: MERGE, body: { data: { a: "2" } } });
  await label("yes");
  const events = [];
  for (let i = 0; i < 4; i++) events.push(await watch.next());
  assert.deepEqual(
    events.map((e) => e.type),
    ["ADDED", "MODIFIED", "DELETED", "ADDED"],
  );
  assert.equal(
    at(events[2]?.object, "metadata", "labels", "on"),
    "yes",
    "the last state that matched",
  );
});

test("a version that is forgotten is answered with 410, on a restarted server too", async (t) => {
  const first = await startTestServer(t);
  await first.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  await first.api.stop();
  const server = await startTestServer(t, { dataDir: first.dataDir });
  const watch = server.watch(`${CONFIG_MAPS}?watch=true&resourceVersion=1`);
  const event = await watch.next();
  assert.equal(event.type, "ERROR");
  assert.equal(event.object["code"], 410);
  assert.equal(event.object["reason"], "Expired");
  await watch.ended;
});

test("a watch ends after timeoutSeconds, and when the server stops", async (t) => {
  const server = await startTestServer(t);
  await server.watch(`${CONFIG_MAPS}?watch=true&timeoutSeconds=1`).ended;
  const open = server.watch(`${CONFIG_MAPS}?watch=true`);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  await open.next();
  await server.api.stop();
  await open.ended;
});

test("a watch of a table sends rows, and the columns once", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("a", { x: "1" }) });
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  const watch = server.watch(`${CONFIG_MAPS}?watch=true`, accept);
  const first = (await watch.next()).object;
  assert.equal(first["kind"], "Table");
  assert.deepEqual(
    (first["columnDefinitions"] as unknown[]).map((c) => at(c, "name")),
    ["Name", "Data", "Age"],
  );
  assert.equal(at(first, "rows", 0, "cells", 1), 1);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("b") });
  const second = (await watch.next()).object;
  assert.equal(second["columnDefinitions"], null);
  assert.equal(at(second, "rows", 0, "object", "metadata", "name"), "b");
});

test("lists answer as metadata alone when asked to", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("a", { x: "1" }) });
  const accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
  const list = await server.ok("GET", CONFIG_MAPS, { accept });
  assert.equal(list["kind"], "PartialObjectMetadataList");
  assert.equal(at(list, "items", 0, "data"), undefined);
  assert.equal(at(list, "items", 0, "metadata", "name"), "a");
  const none = await server.call("GET", CONFIG_MAPS, { accept: "text/html" });
  assert.equal(none.code, 406);
});
