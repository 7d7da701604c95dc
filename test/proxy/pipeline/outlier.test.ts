import assert from "node:assert/strict";
import { test } from "node:test";
import type { OutlierDetectionConfig } from "../../../src/proxy/core/outlier.ts";
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
} from "../../support/proxy-fixture.ts";

const QUICK: OutlierDetectionConfig = {
  consecutive5xx: 3,
  consecutiveGatewayFailure: 5,
  consecutiveLocalOriginFailure: 5,
  splitLocalOrigin: false,
  intervalMs: 20,
  baseEjectionTimeMs: 200,
  maxEjectionTimeMs: 300_000,
  maxEjectionTimeJitterMs: 0,
  maxEjectionPercent: 50,
  alwaysEjectOneHost: false,
  readmitsOnHealthCheck: true,
  successRateMinimumHosts: 5,
  successRateRequestVolume: 100,
  successRateStdevFactor: 1900,
  failurePercentageThreshold: 85,
  failurePercentageMinimumHosts: 5,
  failurePercentageRequestVolume: 50,
  enforcing: {
    consecutive_5xx: 100,
    consecutive_gateway_failure: 0,
    consecutive_local_origin_failure: 100,
    success_rate: 100,
    local_origin_success_rate: 100,
    failure_percentage: 0,
    local_origin_failure_percentage: 0,
  },
};

const status = async (proxy: ProxyFixture): Promise<number> => {
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
  await response.arrayBuffer();
  return response.status;
};

test("a host that answers 5xx in a row gets no more requests, and gets them again once it is well", async (t) => {
  let isSick = true;
  const good = await startHttp(t, (_, response) => response.end("ok"));
  const bad = await startHttp(t, (_, response) => {
    response.statusCode = isSick ? 500 : 201;
    response.end();
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("c", [endpoint(good), endpoint(bad)], { outlierDetection: QUICK })],
      [route(forwardTo("c"))],
    ),
  );
  const first: number[] = [];
  for (let i = 0; i < 6; i += 1) first.push(await status(proxy));
  assert.equal(first.filter((code) => code === 500).length, 3);
  assert.equal(proxy.counters.get("cluster.c.outlier_detection.ejections_active"), 1);
  assert.equal(
    proxy.counters.get("cluster.c.outlier_detection.ejections_enforced_consecutive_5xx"),
    1,
  );
  for (let i = 0; i < 6; i += 1) assert.equal(await status(proxy), 200);

  isSick = false;
  const deadlineMs = performance.now() + 10_000;
  while ((await status(proxy)) !== 201) assert.ok(performance.now() < deadlineMs, "never back");
  assert.equal(proxy.counters.get("cluster.c.outlier_detection.ejections_active"), 0);
});

test("a host that cannot be reached is put out as well", async (t) => {
  const good = await startHttp(t, (_, response) => response.end("ok"));
  const proxy = await startProxy(
    t,
    httpConfig(
      [
        cluster("c", [endpoint(good), endpoint(await closedPort())], {
          outlierDetection: { ...QUICK, baseEjectionTimeMs: 60_000 },
        }),
      ],
      [route(forwardTo("c"))],
    ),
  );
  const codes: number[] = [];
  for (let i = 0; i < 20; i += 1) codes.push(await status(proxy));
  assert.deepEqual(
    [codes.filter((code) => code === 503).length, codes.slice(6).every((code) => code === 200)],
    [3, true],
  );
});
