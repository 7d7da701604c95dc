import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../support/manual-clock.ts";
import { configMap, deployment, pod } from "./manifests.ts";
import { at, startTestServer } from "./test-server.ts";

const DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments";
const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";
const PODS = "/api/v1/namespaces/default/pods";
const SERVICES = "/api/v1/namespaces/default/services";

test("a created object carries what the server owes it", async (t) => {
  const server = await startTestServer(t);
  const created = await server.ok("POST", DEPLOYMENTS, { body: deployment("web") });
  assert.match(String(at(created, "metadata", "uid")), /^[0-9a-f-]{36}$/);
  assert.match(String(at(created, "metadata", "creationTimestamp")), /^\d{4}-.*T\d\d:\d\d:\d\dZ$/);
  assert.equal(at(created, "metadata", "generation"), 1);
  assert.deepEqual(at(created, "spec", "strategy"), {
    type: "RollingUpdate",
    rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" },
  });
  assert.equal(at(created, "spec", "progressDeadlineSeconds"), 600);
  assert.equal(at(created, "spec", "template", "spec", "terminationGracePeriodSeconds"), 30);
  assert.deepEqual(await server.ok("GET", `${DEPLOYMENTS}/web`), created);
});

test("the same name twice is a conflict, and a missing one is not found", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  const again = await server.call("POST", CONFIG_MAPS, { body: configMap("one") });
  assert.equal(again.code, 409);
  assert.equal(again.json["reason"], "AlreadyExists");
  assert.equal(again.json["message"], 'configmaps "one" already exists');
  const missing = await server.call("GET", `${DEPLOYMENTS}/none`);
  assert.equal(missing.code, 404);
  assert.equal(missing.json["message"], 'deployments.apps "none" not found');
  assert.deepEqual(missing.json["details"], { name: "none", group: "apps", kind: "deployments" });
});

test("a stale resourceVersion is refused and the newer state kept", async (t) => {
  const server = await startTestServer(t);
  const first = await server.ok("POST", CONFIG_MAPS, { body: configMap("one", { a: "1" }) });
  await server.ok("PUT", `${CONFIG_MAPS}/one`, { body: { ...first, data: { a: "2" } } });
  const stale = await server.call("PUT", `${CONFIG_MAPS}/one`, {
    body: { ...first, data: { a: "3" } },
  });
  assert.equal(stale.code, 409);
  assert.match(
    String(stale.json["message"]),
    /^Operation cannot be fulfilled on configmaps "one": the object has been modified/,
  );
  assert.deepEqual((await server.ok("GET", `${CONFIG_MAPS}/one`))["data"], { a: "2" });
});

test("generation counts changes of spec only", async (t) => {
  const server = await startTestServer(t);
  const created = await server.ok("POST", DEPLOYMENTS, { body: deployment("web") });
  const merge = { type: "application/merge-patch+json" };
  const labelled = await server.ok("PATCH", `${DEPLOYMENTS}/web`, {
    ...merge,
    body: { metadata: { labels: { a: "b" } } },
  });
  assert.equal(at(labelled, "metadata", "generation"), 1);
  const status = await server.ok("PATCH", `${DEPLOYMENTS}/web/status`, {
    ...merge,
    body: { status: { replicas: 3 }, spec: { replicas: 9 } },
  });
  assert.equal(at(status, "metadata", "generation"), 1);
  assert.equal(at(status, "status", "replicas"), 3);
  assert.equal(at(status, "spec", "replicas"), 1, "status does not change spec");
  const scaled = await server.ok("PATCH", `${DEPLOYMENTS}/web`, {
    ...merge,
    body: { spec: { replicas: 4 }, status: { replicas: 7 } },
  });
  assert.equal(at(scaled, "metadata", "generation"), 2);
  assert.equal(at(scaled, "status", "replicas"), 3, "spec does not change status");
  assert.notEqual(
    at(scaled, "metadata", "resourceVersion"),
    at(created, "metadata", "resourceVersion"),
  );
});

test("an update that changes nothing is not a write", async (t) => {
  const server = await startTestServer(t);
  const created = await server.ok("POST", CONFIG_MAPS, { body: configMap("one", { a: "1" }) });
  const same = await server.ok("PUT", `${CONFIG_MAPS}/one`, { body: created });
  assert.equal(at(same, "metadata", "resourceVersion"), at(created, "metadata", "resourceVersion"));
});

test("unknown fields are refused, warned about or dropped", async (t) => {
  const server = await startTestServer(t);
  const body = deployment("web", { foo: 1, replicas: 2 });
  const strict = await server.call("POST", `${DEPLOYMENTS}?fieldValidation=Strict`, { body });
  assert.equal(strict.code, 400);
  assert.equal(
    strict.json["message"],
    'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo"',
  );
  const warned = await server.call("POST", `${DEPLOYMENTS}?fieldValidation=Warn`, { body });
  assert.equal(warned.code, 201);
  assert.equal(warned.headers["warning"], '299 - "unknown field \\"spec.foo\\""');
  assert.equal(at(warned.json, "spec", "foo"), undefined);
});

test("every wrong field is named with its path", async (t) => {
  const server = await startTestServer(t);
  const body = deployment("Web_1", {
    replicas: -1,
    template: {
      metadata: { labels: { app: "other" } },
      spec: {
        containers: [
          { name: "main" },
          { name: "main", image: "b", ports: [{ containerPort: 70_000 }] },
        ],
      },
    },
  });
  const answer = await server.call("POST", DEPLOYMENTS, { body });
  assert.equal(answer.code, 422);
  const causes = at(answer.json, "details", "causes") as {
    field: string;
    reason: string;
    message: string;
  }[];
  const byField = new Map(causes.map((cause) => [cause.field, cause]));
  assert.equal(
    byField.get("spec.replicas")?.message,
    "Invalid value: -1: must be greater than or equal to 0",
  );
  assert.equal(byField.get("spec.template.spec.containers[0].image")?.reason, "FieldValueRequired");
  assert.equal(byField.get("spec.template.spec.containers[1].name")?.reason, "FieldValueDuplicate");
  assert.match(
    byField.get("spec.template.spec.containers[1].ports[0].containerPort")?.message ?? "",
    /must be between 1 and 65535, inclusive/,
  );
  assert.ok(byField.has("metadata.name"));
  assert.ok(byField.has("spec.template.metadata.labels"));
});

test("the selector of a Deployment cannot change", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", DEPLOYMENTS, { body: deployment("web") });
  const answer = await server.call("PATCH", `${DEPLOYMENTS}/web`, {
    type: "application/merge-patch+json",
    body: {
      spec: {
        selector: { matchLabels: { app: "x" } },
        template: { metadata: { labels: { app: "x" } } },
      },
    },
  });
  assert.equal(answer.code, 422);
  assert.match(
    String(answer.json["message"]),
    /spec\.selector: Invalid value: .*: field is immutable/,
  );
});

test("a dry run answers like the real thing and leaves nothing behind", async (t) => {
  const server = await startTestServer(t);
  const dry = await server.ok("POST", `${CONFIG_MAPS}?dryRun=All`, { body: configMap("one") });
  assert.match(String(at(dry, "metadata", "uid")), /^[0-9a-f-]{36}$/);
  assert.equal((await server.call("GET", `${CONFIG_MAPS}/one`)).code, 404);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  await server.ok("DELETE", `${CONFIG_MAPS}/one?dryRun=All`);
  await server.ok("DELETE", `${CONFIG_MAPS}/one`, { body: { dryRun: ["All"] } });
  await server.ok("GET", `${CONFIG_MAPS}/one`);
});

test("generateName makes a new name each time", async (t) => {
  const server = await startTestServer(t);
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { generateName: "job-" } };
  const names = [];
  for (let i = 0; i < 3; i++) {
    names.push(String(at(await server.ok("POST", CONFIG_MAPS, { body }), "metadata", "name")));
  }
  assert.equal(new Set(names).size, 3);
  for (const name of names) assert.match(name, /^job-[a-z0-9]{5}$/);
});

test("selectors and pages cut a list the same way every time", async (t) => {
  const server = await startTestServer(t);
  for (let i = 0; i < 7; i++) {
    const body = configMap(`m${i}`);
    const labels = { parity: i % 2 === 0 ? "even" : "odd" };
    await server.ok("POST", CONFIG_MAPS, {
      body: { ...body, metadata: { name: `m${i}`, labels } },
    });
  }
  const namesOf = (list: unknown): unknown[] =>
    (at(list, "items") as unknown[]).map((item) => at(item, "metadata", "name"));
  const even = await server.ok("GET", `${CONFIG_MAPS}?labelSelector=parity%20in%20(even)`);
  assert.deepEqual(namesOf(even), ["m0", "m2", "m4", "m6"]);
  const named = await server.ok(
    "GET",
    `${CONFIG_MAPS}?fieldSelector=metadata.name!%3Dm3,metadata.namespace%3Ddefault`,
  );
  assert.equal(namesOf(named).length, 6);

  const first = await server.ok("GET", `${CONFIG_MAPS}?limit=3`);
  assert.equal(at(first, "metadata", "remainingItemCount"), 4);
  // What happens between pages is not seen: a list is one state.
  await server.ok("DELETE", `${CONFIG_MAPS}/m5`);
  const seen = namesOf(first);
  let token = at(first, "metadata", "continue");
  while (typeof token === "string") {
    const page = await server.ok("GET", `${CONFIG_MAPS}?limit=3&continue=${token}`);
    assert.equal(at(page, "metadata", "resourceVersion"), at(first, "metadata", "resourceVersion"));
    seen.push(...namesOf(page));
    token = at(page, "metadata", "continue");
  }
  assert.deepEqual(seen, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
  const lost = await server.call("GET", `${CONFIG_MAPS}?limit=3&continue=nonsense`);
  assert.equal(lost.code, 410);
});

test("a bad selector says what is wrong", async (t) => {
  const server = await startTestServer(t);
  for (const query of ["labelSelector=a%20in%20b", "fieldSelector=spec.foo%3Dx", "limit=-1"]) {
    const answer = await server.call("GET", `${CONFIG_MAPS}?${query}`);
    assert.equal(answer.code, 400, query);
    assert.equal(answer.json["reason"], "BadRequest");
  }
});

test("services get addresses of their own and keep them", async (t) => {
  const server = await startTestServer(t);
  const service = (name: string): object => ({
    metadata: { name },
    spec: { ports: [{ port: 80 }], selector: { app: name } },
  });
  const one = await server.ok("POST", SERVICES, { body: service("one") });
  const two = await server.ok("POST", SERVICES, { body: service("two") });
  assert.match(String(at(one, "spec", "clusterIP")), /^10\.(9[6-9]|10\d|11[01])\./);
  assert.notEqual(at(one, "spec", "clusterIP"), at(two, "spec", "clusterIP"));
  assert.equal(at(one, "spec", "ports", 0, "targetPort"), 80);
  const replaced = await server.ok("PUT", `${SERVICES}/one`, {
    body: { ...service("one"), metadata: { name: "one", labels: { a: "b" } } },
  });
  assert.equal(at(replaced, "spec", "clusterIP"), at(one, "spec", "clusterIP"));
  const stolen = await server.call("PATCH", `${SERVICES}/two`, {
    type: "application/merge-patch+json",
    body: {
      spec: { clusterIP: at(one, "spec", "clusterIP"), clusterIPs: [at(one, "spec", "clusterIP")] },
    },
  });
  assert.equal(stolen.code, 422);
});

test("a running pod is deleted gracefully, a finished or unscheduled one at once", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", PODS, { body: pod("idle") });
  await server.ok("DELETE", `${PODS}/idle`);
  assert.equal((await server.call("GET", `${PODS}/idle`)).code, 404);

  await server.ok("POST", PODS, {
    body: pod("busy", { nodeName: "n1", terminationGracePeriodSeconds: 7 }),
  });
  const marked = await server.ok("DELETE", `${PODS}/busy`);
  assert.equal(at(marked, "metadata", "deletionGracePeriodSeconds"), 7);
  assert.ok(at(marked, "metadata", "deletionTimestamp"));
  await server.ok("GET", `${PODS}/busy`);
  await server.ok("DELETE", `${PODS}/busy`, { body: { gracePeriodSeconds: 0 } });
  assert.equal((await server.call("GET", `${PODS}/busy`)).code, 404);
});

test("finalizers hold a deleted object until the last is gone", async (t) => {
  const server = await startTestServer(t);
  const body = { ...configMap("held"), metadata: { name: "held", finalizers: ["example.com/a"] } };
  await server.ok("POST", CONFIG_MAPS, { body });
  await server.ok("DELETE", `${CONFIG_MAPS}/held`, { body: { propagationPolicy: "Foreground" } });
  const held = await server.ok("GET", `${CONFIG_MAPS}/held`);
  assert.deepEqual(at(held, "metadata", "finalizers"), ["example.com/a", "foregroundDeletion"]);
  const json = { type: "application/json-patch+json" };
  const added = await server.call("PATCH", `${CONFIG_MAPS}/held`, {
    ...json,
    body: [{ op: "add", path: "/metadata/finalizers/-", value: "example.com/b" }],
  });
  assert.equal(added.code, 422, "no new finalizers on a deleted object");
  await server.ok("PATCH", `${CONFIG_MAPS}/held`, {
    ...json,
    body: [{ op: "remove", path: "/metadata/finalizers" }],
  });
  assert.equal((await server.call("GET", `${CONFIG_MAPS}/held`)).code, 404);
});

test("deletion preconditions protect a new object of an old name", async (t) => {
  const server = await startTestServer(t);
  await server.ok("POST", CONFIG_MAPS, { body: configMap("one") });
  const answer = await server.call("DELETE", `${CONFIG_MAPS}/one`, {
    body: { preconditions: { uid: "another" } },
  });
  assert.equal(answer.code, 409);
  await server.ok("GET", `${CONFIG_MAPS}/one`);
});

test("a collection is deleted by selector", async (t) => {
  const server = await startTestServer(t);
  for (const [name, app] of [
    ["a", "x"],
    ["b", "y"],
    ["c", "x"],
  ] as const) {
    await server.ok("POST", CONFIG_MAPS, { body: { metadata: { name, labels: { app } } } });
  }
  await server.ok("DELETE", `${CONFIG_MAPS}?labelSelector=app%3Dx`);
  const left = await server.ok("GET", CONFIG_MAPS);
  assert.deepEqual(
    (at(left, "items") as unknown[]).map((i) => at(i, "metadata", "name")),
    ["b"],
  );
});

test("a terminating namespace takes nothing new and goes when it is finalized", async (t) => {
  const server = await startTestServer(t);
  const ns = await server.ok("POST", "/api/v1/namespaces", {
    body: { metadata: { name: "team" } },
  });
  assert.deepEqual(at(ns, "spec", "finalizers"), ["kubernetes"]);
  await server.ok("DELETE", "/api/v1/namespaces/team");
  const going = await server.ok("GET", "/api/v1/namespaces/team");
  assert.equal(at(going, "status", "phase"), "Terminating");
  const refused = await server.call("POST", "/api/v1/namespaces/team/configmaps", {
    body: configMap("late"),
  });
  assert.equal(refused.code, 403);
  assert.match(
    String(refused.json["message"]),
    /unable to create new content in namespace team because it is being terminated/,
  );
  await server.ok("PUT", "/api/v1/namespaces/team/finalize", {
    body: { ...going, spec: { finalizers: [] } },
  });
  assert.equal((await server.call("GET", "/api/v1/namespaces/team")).code, 404);
  const nowhere = await server.call("POST", "/api/v1/namespaces/nowhere/configmaps", {
    body: configMap("x"),
  });
  assert.equal(nowhere.code, 404);
});

test("bodies that cannot be read are refused, each with its code", async (t) => {
  const server = await startTestServer(t);
  const cases = [
    ["{", "application/json", 400],
    ["[]", "application/json", 400],
    ["a: [", "application/yaml", 400],
    ["k8s\0...", "application/vnd.kubernetes.protobuf", 415],
    ["x".repeat(4 * 1024 * 1024), "application/json", 413],
  ] as const;
  for (const [body, type, code] of cases) {
    const answer = await server.call("POST", CONFIG_MAPS, { body, type });
    assert.equal(answer.code, code, type);
    assert.equal(answer.json["kind"], "Status");
  }
  const yaml = "kind: ConfigMap\nmetadata: {name: y}\ndata: {a: b}\n";
  await server.ok("POST", CONFIG_MAPS, { body: yaml, type: "application/yaml" });
  const apply = await server.call("PATCH", `${CONFIG_MAPS}/y`, {
    body: yaml,
    type: "application/apply-patch+yaml",
  });
  assert.equal(apply.code, 415);
});

test("the namespaces that every cluster has stay", async (t) => {
  const server = await startTestServer(t);
  for (const name of ["default", "kube-system"]) {
    assert.equal((await server.call("DELETE", `/api/v1/namespaces/${name}`)).code, 403);
  }
});

test("events are kept for an hour after they last happened", async (t) => {
  const clock = new ManualClock(Date.now());
  const server = await startTestServer(t, { clock });
  const events = "/api/v1/namespaces/default/events";
  const event = (name: string): object => ({
    metadata: { name },
    involvedObject: { kind: "Pod", name: "p", namespace: "default" },
  });
  await server.ok("POST", events, { body: event("old") });
  clock.advance(3_000_000);
  await server.ok("POST", events, { body: event("new") });
  clock.advance(700_000);
  const left = await server.ok("GET", events);
  assert.deepEqual(
    (at(left, "items") as unknown[]).map((item) => at(item, "metadata", "name")),
    ["new"],
  );
});
