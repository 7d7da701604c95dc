import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { CRONTAB_DEFINITION, CRONTABS, cronTab } from "./manifests.ts";
import { at, eventually, startTestServer, type TestServer } from "./test-server.ts";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DEFINITION = `${DEFINITIONS}/crontabs.stable.example.com`;
const MERGE = "application/merge-patch+json";

async function startWithCronTabs(t: TestContext): Promise<TestServer> {
  const server = await startTestServer(t);
  await server.ok("POST", DEFINITIONS, { body: CRONTAB_DEFINITION });
  return server;
}

test("a definition is established at once and shows in discovery", async (t) => {
  const server = await startTestServer(t);
  const before = await server.call("GET", "/apis", { accept: "application/json" });
  const created = await server.ok("POST", DEFINITIONS, { body: CRONTAB_DEFINITION });
  const conditions = at(created, "status", "conditions") as { type: string; status: string }[];
  assert.equal(conditions.find((c) => c.type === "Established")?.status, "True");
  const after = await server.call("GET", "/apis");
  assert.notEqual(after.headers.etag, before.headers.etag);
  const list = await server.ok("GET", "/apis/stable.example.com/v1");
  assert.deepEqual(
    (at(list, "resources") as unknown[]).map((r) => at(r, "name")),
    ["crontabs", "crontabs/status", "crontabs/scale"],
  );
});

test("defaults are filled in and unknown fields pruned, except where they are kept", async (t) => {
  const server = await startWithCronTabs(t);
  const body = cronTab("one", { bogus: 1, free: { any: [{ deep: true }] }, port: "http" });
  const answer = await server.call("POST", CRONTABS, { body });
  assert.equal(answer.code, 201);
  assert.deepEqual(at(answer.json, "spec"), {
    schedule: "a b",
    free: { any: [{ deep: true }] },
    port: "http",
    replicas: 1,
  });
  assert.equal(answer.headers["warning"], '299 - "unknown field \\"spec.bogus\\""');
  const strict = await server.call("POST", `${CRONTABS}?fieldValidation=Strict`, {
    body: { ...body, extra: 1 },
  });
  assert.equal(strict.code, 400);
  assert.match(String(strict.json["message"]), /unknown field "spec.bogus", unknown field "extra"/);
});

test("the schema is enforced field by field", async (t) => {
  const server = await startWithCronTabs(t);
  const rows: readonly (readonly [Record<string, unknown>, string, string])[] = [
    [
      { schedule: "x" },
      "spec.schedule",
      "Invalid value: \"x\": spec.schedule in body should match '^\\S+ \\S+$'",
    ],
    [
      { replicas: 0 },
      "spec.replicas",
      "Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
    ],
    [
      { replicas: 11 },
      "spec.replicas",
      "Invalid value: 11: spec.replicas in body should be less than or equal to 10",
    ],
    [
      { replicas: "1" },
      "spec.replicas",
      'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
    ],
    [{ mode: "warp" }, "spec.mode", 'Unsupported value: "warp": supported values: "fast", "slow"'],
    [
      { port: true },
      "spec.port",
      'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
    ],
    [
      { free: 1 },
      "spec.free",
      'Invalid value: "integer": spec.free in body must be of type object: "integer"',
    ],
  ];
  for (const [spec, field, message] of rows) {
    const answer = await server.call("POST", CRONTABS, { body: cronTab("bad", spec) });
    assert.equal(answer.code, 422, JSON.stringify(spec));
    assert.deepEqual(
      (at(answer.json, "details", "causes") as unknown[]).map((c) => [
        at(c, "field"),
        at(c, "message"),
      ]),
      [[field, message]],
    );
  }
  const { schedule: _schedule, ...rest } = cronTab("bad")["spec"] as { schedule: string };
  const missing = await server.call("POST", CRONTABS, { body: { ...cronTab("bad"), spec: rest } });
  assert.equal(
    missing.json["message"],
    'CronTab.stable.example.com "bad" is invalid: spec.schedule: Required value',
  );
});

test("status and scale are separate doors to the same object", async (t) => {
  const server = await startWithCronTabs(t);
  await server.ok("POST", CRONTABS, { body: { ...cronTab("one"), status: { replicas: 9 } } });
  assert.equal(
    (await server.ok("GET", `${CRONTABS}/one`))["status"],
    undefined,
    "status is not created",
  );
  await server.ok("PATCH", `${CRONTABS}/one/status`, {
    type: MERGE,
    body: { status: { replicas: 3 } },
  });
  const scale = await server.ok("GET", `${CRONTABS}/one/scale`);
  assert.equal(scale["kind"], "Scale");
  assert.deepEqual([at(scale, "spec", "replicas"), at(scale, "status", "replicas")], [1, 3]);
  await server.ok("PATCH", `${CRONTABS}/one/scale`, {
    type: MERGE,
    body: { spec: { replicas: 5 } },
  });
  const object = await server.ok("GET", `${CRONTABS}/one`);
  assert.equal(at(object, "spec", "replicas"), 5);
  assert.equal(at(object, "metadata", "generation"), 2);
  const tooMany = await server.call("PUT", `${CRONTABS}/one/scale`, {
    body: { ...scale, spec: { replicas: 6 } },
  });
  assert.equal(tooMany.code, 409, "the scale was read before the change");
});

test("one object is served in every version, converted by apiVersion", async (t) => {
  const server = await startWithCronTabs(t);
  await server.ok("POST", CRONTABS, { body: cronTab("one") });
  const beta = CRONTABS.replace("/v1/", "/v1beta1/");
  const old = await server.ok("GET", `${beta}/one`);
  assert.equal(old["apiVersion"], "stable.example.com/v1beta1");
  await server.ok("PUT", `${beta}/one`, { body: { ...old, spec: { schedule: "c d", extra: 1 } } });
  const now = await server.ok("GET", `${CRONTABS}/one`);
  assert.equal(now["apiVersion"], "stable.example.com/v1");
  assert.equal(at(now, "spec", "schedule"), "c d");
  const watch = server.watch(`${beta}?watch=true`);
  assert.equal((await watch.next()).object["apiVersion"], "stable.example.com/v1beta1");
});

test("printer columns make the table", async (t) => {
  const server = await startWithCronTabs(t);
  await server.ok("POST", CRONTABS, { body: cronTab("one", { replicas: 4 }) });
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
  const table = await server.ok("GET", CRONTABS, { accept });
  assert.deepEqual(
    (at(table, "columnDefinitions") as unknown[]).map((c) => [at(c, "name"), at(c, "priority")]),
    [
      ["Name", 0],
      ["Schedule", 0],
      ["Replicas", 1],
    ],
  );
  assert.deepEqual(at(table, "rows", 0, "cells"), ["one", "a b", 4]);
});

test("deleting a definition deletes what it defines, finalizers respected", async (t) => {
  const server = await startWithCronTabs(t);
  await server.ok("POST", CRONTABS, { body: cronTab("free") });
  const held = { ...cronTab("held"), metadata: { name: "held", finalizers: ["example.com/wait"] } };
  await server.ok("POST", CRONTABS, { body: held });
  await server.ok("DELETE", DEFINITION);
  await eventually(
    "free is gone",
    async () => (await server.call("GET", `${CRONTABS}/free`)).code === 404,
  );
  await server.ok("GET", DEFINITION);
  assert.equal((await server.call("POST", CRONTABS, { body: cronTab("new") })).code, 405);
  await server.ok("PATCH", `${CRONTABS}/held`, {
    type: MERGE,
    body: { metadata: { finalizers: null } },
  });
  await eventually(
    "the definition is gone",
    async () => (await server.call("GET", DEFINITION)).code === 404,
  );
  assert.equal((await server.call("GET", CRONTABS)).code, 404);
});

test("a definition that cannot work is refused with the path", async (t) => {
  const server = await startTestServer(t);
  const spec = CRONTAB_DEFINITION["spec"] as Record<string, unknown>;
  const versions = spec["versions"] as Record<string, unknown>[];
  const answer = await server.call("POST", DEFINITIONS, {
    body: {
      ...CRONTAB_DEFINITION,
      metadata: { name: "wrong.example.com" },
      spec: {
        ...spec,
        scope: "Galaxy",
        versions: versions.map((v) => ({ ...v, storage: true, schema: undefined })),
      },
    },
  });
  assert.equal(answer.code, 422);
  const fields = (at(answer.json, "details", "causes") as unknown[]).map((c) => at(c, "field"));
  for (const field of [
    "metadata.name",
    "spec.scope",
    "spec.versions",
    "spec.versions[0].schema.openAPIV3Schema",
  ]) {
    assert.ok(fields.includes(field), field);
  }
});

test("a schema that is not structural is refused with the path inside it", async (t) => {
  const server = await startTestServer(t);
  const spec = CRONTAB_DEFINITION["spec"] as Record<string, unknown>;
  const properties = {
    spec: {
      type: "object",
      properties: { a: {}, b: { type: "text" }, c: { type: "string", pattern: "(" } },
    },
    list: { type: "array", items: {} },
  };
  const schema = { openAPIV3Schema: { type: "object", properties } };
  const version = { name: "v1", served: true, storage: true, schema };
  const answer = await server.call("POST", DEFINITIONS, {
    body: { ...CRONTAB_DEFINITION, spec: { ...spec, versions: [version] } },
  });
  assert.equal(answer.code, 422);
  const at0 = "spec.versions[0].schema.openAPIV3Schema.properties";
  assert.deepEqual(
    (at(answer.json, "details", "causes") as unknown[]).map((c) => at(c, "field")),
    [
      `${at0}[spec].properties[a].type`,
      `${at0}[spec].properties[b].type`,
      `${at0}[spec].properties[c].pattern`,
      `${at0}[list].items.type`,
    ],
  );
});
