import assert from "node:assert/strict";
import { test } from "node:test";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { compileEndpoints } from "../../../src/proxy/core/compile/endpoint.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { message } from "../ads/resources.ts";

const context = { readFile: () => Buffer.alloc(0), environment: {} } as never;

function compile(more: object) {
  const json = { name: "c", type: "STATIC", ...more };
  const cluster = message("envoy.config.cluster.v3.Cluster", json);
  return compileResource("Cluster c", (scope) => compileCluster(cluster, context, scope));
}

const check = (more: object) => ({
  health_checks: [
    {
      timeout: "1s",
      interval: "2s",
      healthy_threshold: 1,
      unhealthy_threshold: 1,
      http_health_check: { path: "/" },
      ...more,
    },
  ],
});
const slow = (more: object) => ({
  round_robin_lb_config: { slow_start_config: { slow_start_window: "10s", ...more } },
});

for (const [name, json, expected] of [
  [
    "a check without a kind",
    check({ http_health_check: null }),
    /health_checks\[0\]: must set one of/,
  ],
  [
    "a gRPC check",
    check({ http_health_check: null, custom_health_check: { name: "x" } }),
    /health_checks\[0\]\.custom_health_check: is not supported/,
  ],
  [
    "an HTTP/2 check",
    check({ http_health_check: { path: "/", codec_client_type: "HTTP3" } }),
    /http_health_check\.codec_client_type: must be HTTP1 or HTTP2/,
  ],
  [
    "a check without a path",
    check({ http_health_check: {} }),
    /http_health_check\.path: must not be/,
  ],
  [
    "a check without an interval",
    check({ interval: null }),
    /health_checks\[0\]\.interval: is required/,
  ],
  [
    "a check without a timeout",
    check({ timeout: null }),
    /health_checks\[0\]\.timeout: is required/,
  ],
  [
    "a check without thresholds",
    check({ healthy_threshold: null }),
    /health_checks\[0\]\.healthy_threshold: is required/,
  ],
  [
    "an empty range of statuses",
    check({ http_health_check: { path: "/", expected_statuses: [{ start: 300, end: 300 }] } }),
    /expected_statuses\[0\]: must not be empty/,
  ],
  [
    "bytes that are none",
    check({ http_health_check: null, tcp_health_check: { receive: [{ text: "0g" }] } }),
    /tcp_health_check\.receive\[0\]\.text: must be hexadecimal/,
  ],
  [
    "an aggression of 0",
    slow({ aggression: { default_value: 0 } }),
    /aggression\.default_value: must/,
  ],
  [
    "a weight above all",
    slow({ min_weight_percent: { value: 101 } }),
    /min_weight_percent: must be/,
  ],
  [
    "limits per host that we lack",
    { circuit_breakers: { per_host_thresholds: [{ max_requests: 1 }] } },
    /circuit_breakers\.per_host_thresholds\[0\]\.max_requests: is not supported/,
  ],
] as const) {
  test(`refuses ${name}`, () => assert.throws(() => compile(json), expected));
}

test("intervals default to the interval, without traffic to a minute", () => {
  const config = compile(check({})).build(
    { endpoints: [], overprovisioningFactor: 140 },
    () => undefined,
  );
  const { healthCheck } = config;
  assert.deepEqual(
    [
      healthCheck?.healthyEdgeIntervalMs,
      healthCheck?.unhealthyIntervalMs,
      healthCheck?.unhealthyEdgeIntervalMs,
      healthCheck?.noTrafficIntervalMs,
      healthCheck?.noTrafficHealthyIntervalMs,
    ],
    [2000, 2000, 2000, 60_000, 60_000],
  );
});

for (const [name, json, expected] of [
  ["a factor of 0", { policy: { overprovisioning_factor: 0 } }, /overprovisioning_factor: must be/],
  [
    "a priority beyond all",
    { endpoints: [{ priority: 129 }] },
    /endpoints\[0\]\.priority: must be at/,
  ],
] as const) {
  test(`refuses ${name}`, () => {
    const assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment", {
      cluster_name: "c",
      ...json,
    });
    assert.throws(
      () => compileResource("c", (scope) => compileEndpoints(assignment, scope)),
      expected,
    );
  });
}
