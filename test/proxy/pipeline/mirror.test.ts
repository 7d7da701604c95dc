import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  route,
  startHttp,
  startProxy,
  startTcp,
  timeouts,
  waitFor,
} from "../../support/proxy-fixture.ts";

const MIRROR = { cluster: "mirror", fraction: 1, appendShadowSuffix: true };

test("a mirror that never answers slows nobody, and there are only so many of it", async (t) => {
  const held: ServerResponse[] = [];
  const app = await startHttp(t, (_, response) => response.end("ok"));
  const mirror = await startHttp(t, (_, response) => held.push(response));
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("app", [endpoint(app)]), cluster("mirror", [endpoint(mirror)])],
      [route(forwardTo("app", { mirrors: [MIRROR] }))],
    ),
  );
  for (let round = 0; round < 30; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => fetch(`http://127.0.0.1:${proxy.port}/`)),
    );
    for (const answer of answers) assert.equal(await answer.text(), "ok");
  }
  // 1,500 requests, none of whose copies has come to its end.
  await waitFor(() => held.length === 1024);
  assert.equal(proxy.counters.get("cluster.mirror.upstream_rq_total"), 1024);
  for (const response of held.splice(0)) response.end("late");
  await waitFor(() => proxy.counters.get("cluster.mirror.upstream_cx_active") !== undefined);
  await fetch(`http://127.0.0.1:${proxy.port}/`);
  await waitFor(() => held.length > 0);
});

test("a mirror is given up when the route's time is over", async (t) => {
  let open = 0;
  const app = await startHttp(t, (_, response) => response.end("ok"));
  const mirror = await startTcp(t, (socket) => {
    open += 1;
    socket.resume();
    socket.on("close", () => {
      open -= 1;
    });
    socket.on("end", () => socket.destroy());
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("app", [endpoint(app)]), cluster("mirror", [endpoint(mirror)])],
      [route(forwardTo("app", { mirrors: [MIRROR], timeouts: timeouts(100) }))],
    ),
  );
  const answer = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.equal(await answer.text(), "ok");
  await waitFor(() => open === 1);
  await waitFor(() => open === 0);
  assert.equal(proxy.counters.get("cluster.mirror.upstream_rq_timeout"), 1);
});

test("a share of the requests is mirrored", async (t) => {
  let copies = 0;
  const app = await startHttp(t, (_, response) => response.end("ok"));
  const mirror = await startHttp(t, (_, response) => {
    copies += 1;
    response.end();
  });
  // One draw for each request: 0.0, 0.1 … 0.9, and again.
  let draws = 0;
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("app", [endpoint(app)]), cluster("mirror", [endpoint(mirror)])],
      [route(forwardTo("app", { mirrors: [{ ...MIRROR, fraction: 0.25 }] }))],
    ),
    () => (draws++ % 10) / 10,
  );
  draws = 0;
  for (let i = 0; i < 40; i += 1) await (await fetch(`http://127.0.0.1:${proxy.port}/`)).text();
  const expected = proxy.counters.get("cluster.mirror.upstream_rq_total") ?? 0;
  assert.ok(expected > 0 && expected < 40, `${expected} of 40`);
  await waitFor(() => copies === expected);
});
