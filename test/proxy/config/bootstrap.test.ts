import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBootstrap, planBootstrap } from "../../../src/proxy/config/bootstrap.ts";

const yaml = `
node: { id: n1, cluster: c1, metadata: { NAME: pod-1 } }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services:
      - envoy_grpc: { cluster_name: xds }
        initial_metadata: [{ key: authorization, value: Bearer t }]
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
    - name: xds
      connect_timeout: 1s
      load_assignment:
        cluster_name: xds
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 15010 } } } }] }]
stats_flush_interval: 1s
stats_sinks:
  - name: envoy.stat_sinks.metrics_service
    typed_config:
      "@type": type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig
      transport_api_version: V3
      grpc_service: { envoy_grpc: { cluster_name: xds } }
`;

test("plans ADS, admin and the metrics stream of a YAML bootstrap", () => {
  const plan = planBootstrap(parseBootstrap(yaml));
  assert.equal(plan.ads?.protocol, "delta");
  assert.equal(plan.ads?.target.clusterName, "xds");
  assert.deepEqual(plan.ads?.target.initialMetadata(), [["authorization", "Bearer t"]]);
  assert.deepEqual(plan.admin, { address: "127.0.0.1", port: 0 });
  assert.equal(plan.metricsService?.clusterName, "xds");
  assert.equal(plan.statsFlushIntervalMs, 1000);
  assert.ok(plan.usesCds && plan.usesLds);
});

const bad: readonly [name: string, text: string, ...messages: RegExp[]][] = [
  ["text that is neither JSON nor YAML", "{ a: [", /not JSON or YAML/],
  ["a document that is no object", "7", /must be an object/],
  [
    "several wrong fields at once",
    "admin: { adress: {} }\nnode: { id: 7 }",
    /admin\.adress: unknown field/,
    /node\.id: must be a string/,
  ],
  [
    "an admin address that others can reach",
    yaml.replace("address: 127.0.0.1, port_value: 0", "address: 0.0.0.0, port_value: 0"),
    /admin\.address\.socket_address\.address: must be a loopback address/,
  ],
  [
    "ADS without ads_config",
    "dynamic_resources: { cds_config: { ads: {} } }",
    /dynamic_resources\.ads_config: is required/,
  ],
  [
    "REST xDS",
    yaml.replace("DELTA_GRPC", "REST"),
    /ads_config\.api_type: must be GRPC or DELTA_GRPC/,
  ],
];
for (const [name, text, ...messages] of bad) {
  test(`refuses ${name}`, () => {
    for (const message of messages) {
      assert.throws(() => planBootstrap(parseBootstrap(text)), {
        code: "SERIN_INVALID_BOOTSTRAP",
        message,
      });
    }
  });
}

test("refuses a gRPC service whose cluster is missing", () => {
  const text = yaml.replace("    - name: xds\n", "    - name: other\n");
  assert.throws(() => planBootstrap(parseBootstrap(text)), {
    code: "SERIN_INVALID_BOOTSTRAP",
    message: /static_resources\.clusters: has no cluster "xds"/,
  });
});
