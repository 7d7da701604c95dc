import assert from "node:assert/strict";
import { test } from "node:test";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { requestedDestination } from "../../../src/proxy/core/original-dst.ts";
import { packAny } from "../../../src/xds/index.ts";

for (const [authority, expected] of [
  ["a.example.com", { address: "a.example.com", port: 80 }],
  ["a.example.com:8080", { address: "a.example.com", port: 8080 }],
  ["10.0.0.1", { address: "10.0.0.1", port: 80 }],
  ["[fd00::1]:81", { address: "fd00::1", port: 81 }],
  ["[fd00::1]", { address: "fd00::1", port: 80 }],
  ["", undefined],
  ["a b", undefined],
  ["a.example.com:0", undefined],
  ["a.example.com:70000", undefined],
  ["fd00::1", undefined],
] as const) {
  test(`a request for ${JSON.stringify(authority)} goes to ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(requestedDestination(authority, 80), expected);
  });
}

const CONTEXT = { readFile: () => Buffer.alloc(0), environment: () => undefined, timeOriginMs: 0 };
const FORWARD_PROXY = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
const compiled = (fields: object, config: object): unknown =>
  compileResource("Cluster x", (scope) =>
    compileCluster(
      {
        name: "x",
        lb_policy: 6,
        cluster_type: {
          name: "envoy.clusters.dynamic_forward_proxy",
          typed_config: packAny(FORWARD_PROXY, config),
        },
        ...fields,
      },
      CONTEXT,
      scope,
    ),
  );

test("a dynamic forward proxy cluster is taken, with its own load balancer only", () => {
  const config = { dns_cache_config: { name: "a" } };
  assert.ok(compiled({}, config));
  assert.throws(() => compiled({ lb_policy: 1 }, config), /lb_policy/);
  assert.throws(() => compiled({}, {}), /dns_cache_config\.name/);
  assert.throws(
    () => compiled({}, { ...config, sub_clusters_config: {} }),
    /sub_clusters_config: is not supported/,
  );
});
