import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore, WatchEvent } from "../../src/kube/store.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";

const { configMap: CONFIG_MAP } = RESOURCES;

function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-kube-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function realStore(t: TestContext, dataDir = join(temporary(), "data"), port = 0) {
  const logger = createLogger("test", "silent");
  const api = await startApiServer({ dataDir, port, logger, clock: systemClock });
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (!isStopped) await api.stop();
    isStopped = true;
  };
  t.after(stop);
  const store = createClientStore({ kubeconfigPath: api.kubeconfigPath });
  return { store, stop, dataDir, port: api.port };
}

/** A client of a server that answers as the test says. */
async function faultyStore(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  requestTimeoutMs = 10_000,
): Promise<KubeStore> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const path = join(temporary(), "kubeconfig");
  writeFileSync(
    path,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${port}` } }],
      users: [{ name: "u", user: {} }],
    }),
  );
  return createClientStore({ kubeconfigPath: path, requestTimeoutMs });
}

const json = (response: ServerResponse, code: number, body: unknown): void => {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
};
const object = (name: string, more: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  ...more,
});
const key = (name: string) => ({ namespace: "default", name });

test("creates, reads, changes and deletes; errors carry their codes", async (t) => {
  const { store } = await realStore(t);
  const created = await store.create(CONFIG_MAP, object("a", { data: { x: "1" } }));
  await assert.rejects(store.create(CONFIG_MAP, object("a")), { code: "SERIN_CONFLICT" });
  const patched = await store.patch(
    CONFIG_MAP,
    key("a"),
    { data: { y: "ü€😀" } },
    { kind: "merge" },
  );
  assert.deepEqual(patched["data"], { x: "1", y: "ü€😀" });
  await assert.rejects(store.update(CONFIG_MAP, { ...created, data: {} }), {
    code: "SERIN_CONFLICT",
  });
  const operations = [{ op: "remove", path: "/data/x" }];
  const json = await store.patch(CONFIG_MAP, key("a"), operations, { kind: "json" });
  assert.deepEqual(json["data"], { y: "ü€😀" });
  assert.equal(await store.get(CONFIG_MAP, key("none")), undefined);
  await store.delete(CONFIG_MAP, key("a"));
  await assert.rejects(store.delete(CONFIG_MAP, key("a")), { code: "SERIN_NOT_FOUND" });
  await assert.rejects(store.get(CONFIG_MAP, { name: "a" }), /a namespace is needed/);
  await assert.rejects(
    store.create(
      RESOURCES.service,
      object("bad", { kind: "Service", spec: { ports: [{ port: 0 }] } }),
    ),
    { code: "SERIN_INVALID_RESOURCE", message: /spec\.ports\[0\]\.port/ },
  );
});

test("a collection of more than a page is listed whole, selected on the server", async (t) => {
  const { store } = await realStore(t);
  for (let i = 0; i < 1003; i += 1) {
    const metadata = { ...object(`m${i}`).metadata, labels: { odd: String(i % 2) } };
    await store.create(CONFIG_MAP, { ...object(`m${i}`), metadata });
  }
  const all = await store.list(CONFIG_MAP, { namespace: "default" });
  assert.equal(new Set(all.items.map(({ metadata }) => metadata.name)).size, 1003);
  assert.ok(all.items.every(({ kind }) => kind === "ConfigMap"));
  const odd = await store.list(CONFIG_MAP, { namespace: "default", labelSelector: "odd=1" });
  assert.equal(odd.items.length, 501);
});

test("a watch tells what happens after a version, and of a version from before a restart that it is too old", async (t) => {
  const first = await realStore(t);
  const { resourceVersion } = await first.store.list(CONFIG_MAP, { namespace: "default" });
  await first.store.create(CONFIG_MAP, object("before"));
  assert.deepEqual(await names(first.store, resourceVersion, 1), ["ADDED before"]);
  await first.stop();
  const { store } = await realStore(t, first.dataDir, first.port);
  await assert.rejects(names(store, resourceVersion, 1), { code: "SERIN_CONFLICT", retry: "yes" });
  const now = await store.list(CONFIG_MAP, { namespace: "default" });
  await store.create(CONFIG_MAP, object("after"));
  await store.delete(CONFIG_MAP, key("after"));
  assert.deepEqual(await names(store, now.resourceVersion, 2), ["ADDED after", "DELETED after"]);
});

/** The next events of a watch, which is then aborted. */
async function names(store: KubeStore, resourceVersion: string, count: number) {
  const abort = new AbortController();
  const seen: string[] = [];
  const options = { namespace: "default", resourceVersion, signal: abort.signal };
  for await (const { type, object: found } of store.watch(CONFIG_MAP, options)) {
    if (type !== "BOOKMARK") seen.push(`${type} ${found.metadata.name}`);
    if (seen.length === count) abort.abort();
  }
  return seen;
}

test("pages that expire are read again from the start", async (t) => {
  let lists = 0;
  const store = await faultyStore(t, (request, response) => {
    const isFirst = !request.url?.includes("continue=");
    if (isFirst) lists += 1;
    if (isFirst && lists === 1) {
      const metadata = { resourceVersion: "7", continue: "next" };
      json(response, 200, { metadata, items: [object("lost")] });
    } else if (isFirst) {
      json(response, 200, { metadata: { resourceVersion: "9" }, items: [object("kept")] });
    } else json(response, 410, { kind: "Status", code: 410, reason: "Expired" });
  });
  const { items, resourceVersion } = await store.list(CONFIG_MAP, { namespace: "default" });
  assert.deepEqual([items.map(({ metadata }) => metadata.name), resourceVersion], [["kept"], "9"]);
});

async function watched(store: KubeStore): Promise<readonly WatchEvent[]> {
  const events: WatchEvent[] = [];
  const { signal } = new AbortController();
  for await (const event of store.watch(CONFIG_MAP, { resourceVersion: "1", signal })) {
    events.push(event);
  }
  return events;
}

test("a watch that the server ends is over; characters may be cut anywhere", async (t) => {
  const line = Buffer.from(
    `${JSON.stringify({ type: "ADDED", object: object("ü€😀") })}\n`,
    "utf8",
  );
  const store = await faultyStore(t, (_, response) => {
    const send = (at: number): void => {
      if (at === line.length) {
        response.end();
        return;
      }
      response.write(line.subarray(at, at + 1));
      setImmediate(() => send(at + 1));
    };
    send(0);
  });
  const events = await watched(store);
  assert.deepEqual(
    events.map((event) => event.object.metadata.name),
    ["ü€😀"],
  );
});

const FAULTS: readonly (readonly [string, (response: ServerResponse) => void, object])[] = [
  [
    "an expired version",
    (response) => {
      response.end(`${JSON.stringify({ type: "ERROR", object: { code: 410, message: "old" } })}\n`);
    },
    { code: "SERIN_CONFLICT", retry: "yes" },
  ],
  [
    "a connection that breaks",
    (response) => {
      response.write("{");
      setImmediate(() => response.destroy());
    },
    { code: "SERIN_UNAVAILABLE", retry: "yes" },
  ],
];
for (const [name, fault, expected] of FAULTS) {
  test(`a watch of ${name} says so`, async (t) => {
    const store = await faultyStore(t, (_, response) => fault(response));
    await assert.rejects(watched(store), expected);
  });
}

const ANSWERS: readonly (readonly [string, number, unknown, object])[] = [
  ["nobody's JSON", 200, undefined, { code: "SERIN_API", message: /is not JSON/ }],
  ["RBAC's refusal", 403, { code: 403, message: "cannot get" }, { code: "SERIN_API" }],
  [
    "a webhook's refusal",
    403,
    { code: 403, message: 'admission webhook "x" denied the request: no' },
    { code: "SERIN_INVALID_RESOURCE" },
  ],
  ["an overloaded server", 503, { code: 503 }, { code: "SERIN_API", retry: "yes" }],
];
for (const [name, code, body, expected] of ANSWERS) {
  test(`${name} is told apart`, async (t) => {
    const store = await faultyStore(t, (_, response) => {
      if (body === undefined) response.writeHead(code).end("<html>");
      else json(response, code, body);
    });
    await assert.rejects(store.get(CONFIG_MAP, key("a")), expected);
  });
}

test("a body that stalls is given up", async (t) => {
  const store = await faultyStore(
    t,
    (_, response) => {
      response.writeHead(200);
      response.write("{");
    },
    200,
  );
  await assert.rejects(store.get(CONFIG_MAP, key("a")), { code: "SERIN_UNAVAILABLE" });
});

test("a kubeconfig that is not there or names nothing is the caller's fault", () => {
  assert.throws(() => createClientStore({ kubeconfigPath: "/does/not/exist" }), {
    code: "SERIN_UNREADABLE_INPUT",
  });
  const path = join(temporary(), "kubeconfig");
  writeFileSync(path, "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n");
  assert.throws(() => createClientStore({ kubeconfigPath: path }), {
    code: "SERIN_UNREADABLE_INPUT",
  });
});
