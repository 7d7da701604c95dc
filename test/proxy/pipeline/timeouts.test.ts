import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  rawClient,
  retryPolicy,
  route,
  startHttp,
  startProxy,
  timeouts,
  waitFor,
} from "../../support/proxy-fixture.ts";

test("a request that does not come to its end in time is answered with 408", async (t) => {
  const port = await startHttp(t, (request) => request.resume());
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
    requestTimeoutMs: 50,
  });
  const proxy = await startProxy(t, config);
  const client = await rawClient(t, proxy.port);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  assert.match(await client.until("request timeout"), /^HTTP\/1\.1 408 /);
  await waitFor(() => proxy.records.length === 1);
  assert.equal(proxy.records[0]?.details, "request_overall_timeout");
  assert.equal(proxy.counters.get("http.test.downstream_rq_timeout"), 1);
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_active"), 0);
});

test("a request that is whole in time may take longer to be answered", async (t) => {
  let answer = (): void => {};
  const port = await startHttp(t, (_, response) => {
    answer = () => response.end("late");
  });
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
    requestTimeoutMs: 30,
  });
  const proxy = await startProxy(t, config);
  const client = await rawClient(t, proxy.port);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  const sinceMs = performance.now();
  await waitFor(() => performance.now() - sinceMs > 60);
  answer();
  assert.match(await client.until("late"), /^HTTP\/1\.1 200 /);
});

test("a stream that outlives its duration is broken off inside the response", async (t) => {
  const port = await startHttp(t, (_, response) => {
    response.write("begun");
  });
  const action = forwardTo("a", {
    timeouts: {
      ...timeouts(0),
      maxStreamDuration: { limitMs: 80, grpcHeaderMaxMs: undefined, grpcHeaderOffsetMs: 0 },
    },
  });
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(action)]);
  const proxy = await startProxy(t, config);
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const received = await client.closed();
  assert.match(received, /begun/);
  assert.ok(!received.endsWith("0\r\n\r\n"), "not as if it were whole");
  await waitFor(() => proxy.records.length === 1);
  assert.equal(proxy.records[0]?.details, "max_duration_timeout");
  assert.equal(proxy.counters.get("http.test.downstream_rq_max_duration_reached"), 1);
});

test("the connection manager's stream duration holds for routes without one", async (t) => {
  const port = await startHttp(t, (request) => request.resume());
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))], {
    maxStreamDurationMs: 40,
  });
  const proxy = await startProxy(t, config);
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.deepEqual([response.status, await response.text()], [504, "downstream duration timeout"]);
});

test("a route's idle timeout counts in place of the connection manager's", async (t) => {
  const port = await startHttp(t, (request) => request.resume());
  const config = httpConfig(
    [cluster("a", [endpoint(port)])],
    [route(forwardTo("a", { idleTimeoutMs: 20 }))],
  );
  const proxy = await startProxy(t, config);
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.deepEqual([response.status, await response.text()], [504, "stream timeout"]);
  assert.equal(proxy.records[0]?.flags, "SI");
});

test("a try without progress is given up and tried again, one with progress is not", async (t) => {
  let tries = 0;
  const port = await startHttp(t, (request, response) => {
    request.resume();
    tries += 1;
    if (tries === 1) return;
    let pieces = 0;
    const write = (): void => {
      pieces += 1;
      response.write("piece ");
      if (pieces === 8) response.end("end");
      else timer = setTimeout(write, 20);
    };
    let timer = setTimeout(write, 1);
    response.on("close", () => clearTimeout(timer));
  });
  const retry = retryPolicy("5xx", { perTryIdleTimeoutMs: 80 });
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a", { retry }))]);
  const proxy = await startProxy(t, config);
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.match(await response.text(), /end$/);
  assert.equal(tries, 2);
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_per_try_idle_timeout"), 1);
});

test("a retry waits as long as the response asks for", async (t) => {
  const at: number[] = [];
  const port = await startHttp(t, (_, response) => {
    at.push(performance.now());
    if (at.length === 1) response.writeHead(503, { "retry-after": "1" });
    response.end("ok");
  });
  const retry = retryPolicy("5xx", {
    rateLimitedBackoff: {
      maxIntervalMs: 10_000,
      resetHeaders: [{ name: "retry-after", format: "seconds" }],
    },
  });
  const config = httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a", { retry }))]);
  const proxy = await startProxy(t, config, () => 0);
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  assert.equal(response.status, 200);
  assert.ok((at[1] ?? 0) - (at[0] ?? 0) >= 999, "came back too early");
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_retry_backoff_ratelimited"), 1);
});

test("retries go to the other priority, and keep away from canaries", async (t) => {
  const asked: string[] = [];
  const host = (name: string, status: number) =>
    startHttp(t, (_, response) => {
      asked.push(name);
      response.statusCode = status;
      response.end(name);
    });
  const first = await host("first", 503);
  const canary = await host("canary", 200);
  const second = await host("second", 200);
  const hosts = [
    endpoint(first),
    endpoint(canary, { priority: 1, isCanary: true }),
    endpoint(second, { priority: 1 }),
  ];
  const retry = retryPolicy("5xx", {
    omitsCanaryHosts: true,
    previousPriorities: { updateFrequency: 1 },
    hostSelectionRetryMaxAttempts: 20,
  });
  const config = httpConfig([cluster("a", hosts)], [route(forwardTo("a", { retry }))]);
  const proxy = await startProxy(t, config);
  for (let i = 0; i < 5; i += 1) {
    const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
    assert.equal(await response.text(), "second");
  }
  assert.ok(!asked.includes("canary"));
});
