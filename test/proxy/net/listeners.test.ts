import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import {
  chain,
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  listener,
  manager,
  portOf,
  rawClient,
  route,
  runtimeConfig,
  startHttp,
  startProxy,
  waitFor,
} from "../../support/proxy-fixture.ts";

const direct = (body: string) =>
  manager([route({ kind: "direct", status: 200, body: Buffer.from(body) })]);

test("a taken port is reported by name, and the other listeners serve", async (t) => {
  const blocker = createServer().listen(0, "127.0.0.1");
  await once(blocker, "listening");
  t.after(() => blocker.close());
  const port = portOf(blocker);
  const proxy = await startProxy(t, runtimeConfig([], []));
  const failures = await proxy.server.apply(
    runtimeConfig(
      [],
      [
        listener([chain(direct("ok"))], { name: "taken", port }),
        listener([chain(direct("ok"))], { name: "free" }),
      ],
    ),
  );
  assert.deepEqual(
    failures.map((failure) => [failure.listener, failure.error.message]),
    [["taken", `listener taken: 127.0.0.1:${port}: port is in use`]],
  );
  const response = await fetch(`http://127.0.0.1:${proxy.server.listenerPort("free")}/`);
  assert.equal(await response.text(), "ok");
});

test("an update keeps the socket and asks old connections to leave with their next answer", async (t) => {
  const proxy = await startProxy(t, runtimeConfig([], [listener([chain(direct("old"))])]));
  const { port } = proxy;
  const client = await rawClient(t, port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.ok(!(await client.until("old")).includes("connection: close"));
  await proxy.apply(runtimeConfig([], [listener([chain(direct("new"))])]));
  assert.equal(proxy.server.listenerPort("main"), port);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "new");
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(await client.closed(), /connection: close/);
});

test("a removed listener lets its requests finish and takes no more", async (t) => {
  const answers: (() => void)[] = [];
  const port = await startHttp(t, (_, response) => answers.push(() => response.end("late")));
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const busy = await rawClient(t, proxy.port);
  busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const idle = await rawClient(t, proxy.port);
  await waitFor(() => answers.length === 1);
  await proxy.apply(runtimeConfig([cluster("a", [endpoint(port)])], []));
  assert.equal(await idle.closed(), "");
  const late = connect({ port: proxy.port, host: "127.0.0.1" });
  const [error] = await once(late, "error");
  assert.equal(error.code, "ECONNREFUSED");
  answers[0]?.();
  assert.match(await busy.closed(), /connection: close[\s\S]*late$/);
});

test("stop waits for requests in flight, up to its limit", async (t) => {
  const answers: (() => void)[] = [];
  const port = await startHttp(t, (_, response) => answers.push(() => response.end("done")));
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => answers.length === 1);
  const stopped = proxy.server.stop(30_000);
  answers[0]?.();
  await stopped;
  assert.match(await client.closed(), /connection: close[\s\S]*done$/);
  assert.equal(proxy.server.connectionCount, 0);

  const other = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  const stuck = await rawClient(t, other.port);
  stuck.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => answers.length === 2);
  await other.server.stop(50);
  assert.equal(await stuck.closed(), "");
});

test("configuration swaps under load lose no request", async (t) => {
  const names = ["a", "b", "c"];
  const ports = await Promise.all(
    names.map((name) =>
      startHttp(t, (_, response) => {
        setTimeout(() => response.end(name), 1);
      }),
    ),
  );
  const clusters = names.map((name, i) => cluster(name, [endpoint(ports[i] ?? 0)]));
  const tables = names.map((name) => manager([route(forwardTo(name))]).routeTable());
  // As over xDS: the listener stays, the route table behind it is exchanged, clusters come before
  // the routes that need them and go after. Every third time the listener changes as well.
  let table = tables[0];
  let main = listener([chain(manager([], { routeTable: () => table }))]);
  const proxy = await startProxy(t, runtimeConfig(clusters.slice(0, 1), [main]));
  const seen = new Map<string, number>();
  let isRunning = true;
  const client = async (): Promise<void> => {
    while (isRunning) {
      const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
      assert.equal(response.status, 200);
      const body = await response.text();
      seen.set(body, (seen.get(body) ?? 0) + 1);
    }
  };
  const clients = Promise.all(Array.from({ length: 8 }, client));
  for (let step = 1; step <= 60; step += 1) {
    const next = clusters.filter((_, i) => i === step % names.length);
    if (step % 3 === 0) main = { ...main, chains: main.chains.map((old) => ({ ...old })) };
    await proxy.apply(runtimeConfig(clusters, [main]));
    table = tables[step % names.length];
    await proxy.apply(runtimeConfig(next, [main]));
    const before = proxy.records.length;
    await waitFor(() => proxy.records.length > before + 10);
  }
  isRunning = false;
  await clients;
  assert.deepEqual([...seen.keys()].sort(), names);
  assert.deepEqual(
    proxy.records.filter((record) => record.code !== 200 || record.flags !== ""),
    [],
  );
});

test("an endpoint that leaves finishes its request; new ones go elsewhere", async (t) => {
  const answers: (() => void)[] = [];
  const slow = await startHttp(t, (_, response) => answers.push(() => response.end("slow")));
  const fast = await startHttp(t, (_, response) => response.end("fast"));
  const configOf = (port: number) =>
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]);
  const proxy = await startProxy(t, configOf(slow));
  const url = `http://127.0.0.1:${proxy.port}/`;
  const first = fetch(url);
  await waitFor(() => answers.length === 1);
  await proxy.apply(configOf(fast));
  assert.equal(await (await fetch(url)).text(), "fast");
  answers[0]?.();
  assert.equal(await (await first).text(), "slow");
});
