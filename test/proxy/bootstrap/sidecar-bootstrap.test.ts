import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseBootstrap, planBootstrap } from "../../../src/proxy/config/bootstrap.ts";
import { sidecarBootstrap } from "../../../src/proxy/sidecar-bootstrap.ts";
import { structToJson, toJson } from "../../../src/xds/index.ts";

const env = {
  POD_NAME: "reviews-v1-7d5b8c9f4-x2x9z",
  POD_NAMESPACE: "default",
  POD_IP: "127.16.0.7",
  SERVICE_ACCOUNT: "bookinfo-reviews",
  SERIN_XDS_ADDRESS: "127.0.0.1:15010",
  ISTIO_META_LABELS: '{"app":"reviews","version":"v1"}',
  ISTIO_META_INTERCEPTION_MODE: "NONE",
  ISTIO_META_HTTP_PROXY_PORT: "15001",
  ISTIO_META_OWNER: "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1",
};

test("the node is named and described as Istio's agent does it", () => {
  const { node } = sidecarBootstrap(env);
  assert.equal(
    node?.id,
    "sidecar~127.16.0.7~reviews-v1-7d5b8c9f4-x2x9z.default~default.svc.cluster.local",
  );
  assert.equal(node.cluster, "reviews.default");
  const metadata = structToJson(node.metadata);
  assert.deepEqual(
    [metadata["WORKLOAD_NAME"], metadata["SERVICE_ACCOUNT"], metadata["HTTP_PROXY_PORT"]],
    ["reviews-v1", "bookinfo-reviews", "15001"],
  );
  assert.deepEqual(metadata["LABELS"], { app: "reviews", version: "v1" });
});

test("it is a bootstrap that the parser takes back", () => {
  const json = toJson("envoy.config.bootstrap.v3.Bootstrap", sidecarBootstrap(env));
  const plan = planBootstrap(parseBootstrap(JSON.stringify(json)));
  assert.equal(plan.ads?.protocol, "delta");
  assert.deepEqual(plan.admin, { address: "127.16.0.7", port: 15000 });
  assert.equal(plan.metricsService?.clusterName, "xds-grpc");
  assert.equal(plan.statsFlushIntervalMs, 1000);
});

for (const [podIp, admin] of [
  ["10.244.1.7", "127.0.0.1"],
  ["fd00::7", "::1"],
] as const) {
  test(`the admin interface of a pod at ${podIp} is on the pod's loopback`, () => {
    const plan = planBootstrap(sidecarBootstrap({ ...env, POD_IP: podIp }));
    assert.deepEqual(plan.admin, { address: admin, port: 15000 });
  });
}

test("the token is read anew for every stream", () => {
  const dir = mkdtempSync(join(tmpdir(), "serin-token-"));
  try {
    const path = join(dir, "token");
    writeFileSync(path, "one\n");
    const plan = planBootstrap(sidecarBootstrap({ ...env, SERIN_TOKEN_PATH: path }));
    assert.deepEqual(plan.ads?.target.initialMetadata(), [["authorization", "Bearer one"]]);
    writeFileSync(path, "two\n");
    assert.deepEqual(plan.ads?.target.initialMetadata(), [["authorization", "Bearer two"]]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

const bad: readonly [string, Record<string, string>, RegExp][] = [
  ["missing variables", { POD_NAME: "a" }, /POD_NAMESPACE: .*; POD_IP: /],
  ["an address without port", { ...env, SERIN_XDS_ADDRESS: "localhost" }, /must be host:port/],
  [
    "a token that is not there",
    { ...env, SERIN_TOKEN_PATH: "/no/token" },
    /cannot read \/no\/token/,
  ],
];
for (const [name, variables, message] of bad) {
  test(`refuses ${name}`, () => {
    assert.throws(() => sidecarBootstrap(variables), { code: "SERIN_INVALID_BOOTSTRAP", message });
  });
}

test("a name of another control plane host is resolved by DNS", () => {
  const bootstrap = sidecarBootstrap({ ...env, SERIN_XDS_ADDRESS: "serin.istio-system.svc:15010" });
  assert.equal(bootstrap.static_resources?.clusters?.[0]?.type, 1);
});
