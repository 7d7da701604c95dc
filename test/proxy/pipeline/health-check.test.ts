import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterConfig } from "../../../src/proxy/config/runtime-config.ts";
import type {
  HealthCheckConfig,
  HttpProbeConfig,
  TcpProbeConfig,
} from "../../../src/proxy/core/health-check.ts";
import {
  closedPort,
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  type ProxyFixture,
  route,
  startHttp,
  startProxy,
  startTcp,
  waitFor,
} from "../../support/proxy-fixture.ts";

const HTTP: HttpProbeConfig = {
  kind: "http",
  method: "GET",
  path: "/health",
  host: "",
  headers: [],
  removedHeaders: new Set(),
  isExpected: (status) => status === 200,
  isRetriable: () => false,
  receive: [],
  bodyLimitBytes: 1024,
};

function checked(
  probe: HttpProbeConfig | TcpProbeConfig = HTTP,
  options: Partial<HealthCheckConfig> = {},
): Pick<ClusterConfig, "healthCheck"> {
  const everyMs = 10;
  return {
    healthCheck: {
      timeoutMs: 1000,
      intervalMs: everyMs,
      healthyEdgeIntervalMs: everyMs,
      unhealthyIntervalMs: everyMs,
      unhealthyEdgeIntervalMs: everyMs,
      noTrafficIntervalMs: everyMs,
      noTrafficHealthyIntervalMs: everyMs,
      initialJitterMs: 0,
      intervalJitterMs: 0,
      intervalJitterPercent: 0,
      unhealthyThreshold: 2,
      healthyThreshold: 2,
      reusesConnection: true,
      altPort: undefined,
      alpnProtocols: [],
      probe,
      ...options,
    },
  };
}

async function get(proxy: ProxyFixture): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  return `${response.status} ${await response.text()}`;
}

const stat = (proxy: ProxyFixture, name: string): number =>
  proxy.counters.get(`cluster.c.${name}`) ?? 0;

const healthy = (proxy: ProxyFixture, count: number): Promise<void> =>
  waitFor(
    () => stat(proxy, "membership_healthy") === count,
    () => `membership_healthy ${stat(proxy, "membership_healthy")}, not ${count}`,
  );

test("a host takes requests once it has passed its check, and no more when it fails it", async (t) => {
  let status = 503;
  const port = await startHttp(t, (request, response) => {
    response.statusCode = request.url === "/health" ? status : 200;
    response.end("here");
  });
  const config = httpConfig([cluster("c", [endpoint(port)], checked())], [route(forwardTo("c"))]);
  const proxy = await startProxy(t, config);
  await waitFor(() => stat(proxy, "health_check.failure") >= 2);
  assert.equal(await get(proxy), "503 no healthy upstream");
  assert.equal(stat(proxy, "membership_total"), 1);
  status = 200;
  await healthy(proxy, 1);
  assert.equal(await get(proxy), "200 here");
  assert.equal(stat(proxy, "health_check.healthy"), 1);
  status = 500;
  await healthy(proxy, 0);
  assert.equal(await get(proxy), "503 no healthy upstream");
  assert.equal(stat(proxy, "health_check.network_failure"), 0);
});

test("a host that cannot be reached is out, its neighbour is not", async (t) => {
  const good = await startHttp(t, (_, response) => response.end("good"));
  const hosts = [endpoint(good), endpoint(await closedPort())];
  const proxy = await startProxy(
    t,
    httpConfig([cluster("c", hosts, checked())], [route(forwardTo("c"))]),
  );
  await healthy(proxy, 1);
  await waitFor(() => stat(proxy, "health_check.network_failure") > 0);
  for (let i = 0; i < 4; i += 1) assert.equal(await get(proxy), "200 good");
});

test("a host that does not answer in time fails", async (t) => {
  let isSilent = false;
  const port = await startHttp(t, (request, response) => {
    if (request.url !== "/health" || !isSilent) response.end("here");
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("c", [endpoint(port)], checked(HTTP, { timeoutMs: 50 }))],
      [route(forwardTo("c"))],
    ),
  );
  await healthy(proxy, 1);
  isSilent = true;
  await healthy(proxy, 0);
  assert.ok(stat(proxy, "health_check.network_failure") >= 2);
  isSilent = false;
  await healthy(proxy, 1);
});

test("the request of a check is the configured one, on one connection", async (t) => {
  const seen: unknown[] = [];
  const sockets = new Set<unknown>();
  const port = await startHttp(t, (request, response) => {
    sockets.add(request.socket);
    const { method, url, headers } = request;
    seen.push({ method, url, host: headers.host, agent: headers["user-agent"], x: headers["x-a"] });
    response.end("fine");
  });
  const probe: HttpProbeConfig = {
    ...HTTP,
    method: "POST",
    path: "/up?deep=1",
    headers: [["x-a", "1"]],
    receive: [Buffer.from("fi"), Buffer.from("e")],
  };
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("c", [endpoint(port, { hostname: "host.test" })], checked(probe))],
      [route(forwardTo("c"))],
    ),
  );
  await waitFor(() => seen.length >= 3);
  assert.deepEqual(seen[0], {
    method: "POST",
    url: "/up?deep=1",
    host: "host.test",
    agent: "Envoy/HC",
    x: "1",
  });
  assert.equal(sockets.size, 1);
  await healthy(proxy, 1);
});

test("without reuse every check has its own connection", async (t) => {
  const sockets = new Set<unknown>();
  const port = await startHttp(t, (request, response) => {
    sockets.add(request.socket);
    response.end();
  });
  await startProxy(
    t,
    httpConfig([cluster("c", [endpoint(port)], checked(HTTP, { reusesConnection: false }))], []),
  );
  await waitFor(() => sockets.size >= 3);
});

test("a body without what is looked for fails the check", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("ill"));
  const probe = { ...HTTP, receive: [Buffer.from("well")] };
  const proxy = await startProxy(
    t,
    httpConfig([cluster("c", [endpoint(port)], checked(probe))], [route(forwardTo("c"))]),
  );
  await waitFor(() => stat(proxy, "health_check.failure") >= 2);
  assert.equal(stat(proxy, "membership_healthy"), 0);
});

test("a host that calls itself degraded serves when the others cannot", async (t) => {
  let otherStatus = 200;
  const other = await startHttp(t, (request, response) => {
    response.statusCode = request.url === "/health" ? otherStatus : 200;
    response.end("other");
  });
  const degraded = await startHttp(t, (_, response) => {
    response.setHeader("x-envoy-degraded", "1");
    response.end("degraded");
  });
  const hosts = [endpoint(other), endpoint(degraded)];
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("c", hosts, { ...checked(), overprovisioningFactor: 200 })],
      [route(forwardTo("c"))],
    ),
  );
  await healthy(proxy, 1);
  await waitFor(() => stat(proxy, "membership_degraded") === 1);
  for (let i = 0; i < 4; i += 1) assert.equal(await get(proxy), "200 other");
  otherStatus = 500;
  await healthy(proxy, 0);
  for (let i = 0; i < 4; i += 1) assert.equal(await get(proxy), "200 degraded");
});

test("a TCP check sends its bytes and waits for the answer", async (t) => {
  let answer = "PONG\r\n";
  const port = await startTcp(t, (socket) => {
    socket.on("data", (bytes) => {
      if (bytes.toString().includes("PING")) socket.write(answer);
    });
  });
  const probe: TcpProbeConfig = {
    kind: "tcp",
    send: Buffer.from("PING\r\n"),
    receive: [Buffer.from("PO"), Buffer.from("G")],
  };
  const proxy = await startProxy(
    t,
    httpConfig([cluster("c", [endpoint(port)], checked(probe, { timeoutMs: 50 }))], []),
  );
  await healthy(proxy, 1);
  answer = "-ERR\r\n";
  await healthy(proxy, 0);
});

test("a TCP check without bytes is content with a connection", async (t) => {
  const port = await startTcp(t, () => {});
  const probe: TcpProbeConfig = { kind: "tcp", send: undefined, receive: [] };
  const hosts = [endpoint(port), endpoint(await closedPort())];
  const proxy = await startProxy(t, httpConfig([cluster("c", hosts, checked(probe))], []));
  await healthy(proxy, 1);
});

test("a host that the control plane takes out serves while it passes its checks", async (t) => {
  let status = 200;
  const port = await startHttp(t, (request, response) => {
    response.statusCode = request.url === "/health" ? status : 200;
    response.end("here");
  });
  const routes = [route(forwardTo("c"))];
  const options = checked();
  const proxy = await startProxy(t, httpConfig([cluster("c", [endpoint(port)], options)], routes));
  await healthy(proxy, 1);
  await proxy.apply(httpConfig([cluster("c", [], options)], routes));
  assert.equal(await get(proxy), "200 here");
  status = 500;
  await healthy(proxy, 0);
  await waitFor(() => stat(proxy, "membership_total") === 0);
  assert.equal(await get(proxy), "503 no healthy upstream");
});

test("with ignore_health_on_host_removal it is out at once", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("here"));
  const routes = [route(forwardTo("c"))];
  const options = { ...checked(), ignoreHealthOnHostRemoval: true };
  const proxy = await startProxy(t, httpConfig([cluster("c", [endpoint(port)], options)], routes));
  await healthy(proxy, 1);
  await proxy.apply(httpConfig([cluster("c", [], options)], routes));
  assert.equal(await get(proxy), "503 no healthy upstream");
  const attempts = stat(proxy, "health_check.attempt");
  await proxy.apply(httpConfig([], []));
  assert.equal(stat(proxy, "health_check.attempt"), attempts);
  assert.equal(stat(proxy, "health_check.healthy"), 0);
});

test("an endpoint that asks not to be checked is not", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("here"));
  const healthCheck = { port: undefined, hostname: "", isDisabled: true };
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("c", [endpoint(port, { healthCheck })], checked())],
      [route(forwardTo("c"))],
    ),
  );
  assert.equal(await get(proxy), "200 here");
  assert.equal(stat(proxy, "health_check.attempt"), 0);
});

test("checks may go to another port", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("here"));
  const health = await startHttp(t, (_, response) => response.end());
  const proxy = await startProxy(
    t,
    httpConfig(
      [
        cluster(
          "c",
          [
            endpoint(port, { healthCheck: { port: health, hostname: "", isDisabled: false } }),
            endpoint(await closedPort(), { address: "127.0.0.2" }),
          ],
          checked(),
        ),
      ],
      [route(forwardTo("c"))],
    ),
  );
  await healthy(proxy, 1);
  assert.equal(await get(proxy), "200 here");
});
