import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { publishControlPlane } from "../../src/cli/control-plane.ts";
import { compareDumps } from "../../src/cli/output/sync-diff.ts";
import { type ControlPlane, startControlPlane } from "../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { eventually } from "../embedded/api-server/test-server.ts";
import { connectProxy } from "../mesh/ads/proxy-client.ts";
import { connectRefusing } from "../mesh/ads/refusing-client.ts";
import { startCluster, type TestCluster } from "./cluster.ts";
import { runCommand } from "./run-command.ts";

const logger = createLogger("test", "silent");
const POD = "productpage-v1-6b4c8d7f9-qwert";
const REASON = "http_proxy: no such thing";

async function world(
  t: TestContext,
): Promise<{ readonly cluster: TestCluster; readonly plane: ControlPlane }> {
  const cluster = await startCluster(t);
  const { store } = cluster;
  await store.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "istio-system" },
  });
  const plane = await startControlPlane({
    store,
    telemetry: { ingest: () => {}, forget: () => {} },
    logger,
    clock: systemClock,
    host: "127.0.0.1",
    ports: { xds: 0, debug: 0, webhook: 0 },
    rootNamespace: "istio-system",
    trustDomain: "cluster.local",
    interceptionMode: "NONE",
    accessLog: false,
  });
  t.after(() => plane.stop());
  return { cluster, plane };
}

/** A pod with a sidecar whose admin interface is on this address. */
function pod(name: string, podIP: string): KubeObject {
  const containers = [
    { name: "app", image: "app" },
    { name: "istio-proxy", image: "proxy" },
  ];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { containers },
    status: { podIP, podIPs: [{ ip: podIP }], phase: "Running" },
  };
}

/** Serves a config_dump where commands look for it; on an address of 127/8 that no other test has. */
async function serveAdmin(t: TestContext, ip: string, dump: () => string): Promise<void> {
  const server = createServer((_request, response) => response.end(dump()));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(15_000, ip, resolve);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  assert.equal((server.address() as AddressInfo).port, 15_000);
}

test("proxy-status tells who has what, who refused it, and what one proxy has instead", async (t) => {
  const { cluster, plane } = await world(t);
  const { store, kubeconfigPath } = cluster;
  const env = { KUBECONFIG: kubeconfigPath };
  const unknown = await runCommand(["proxy-status"], env);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no ConfigMap istio-system\/serin-control-plane .*--control-plane/);

  await publishControlPlane(store, "127.0.0.1", { ...plane.ports, debug: 1 });
  assert.match((await runCommand(["ps"], env)).stderr, /127\.0\.0\.1:1 does not answer/);
  await publishControlPlane(store, "127.0.0.1", plane.ports);
  const none = await runCommand(["ps"], env);
  assert.deepEqual([none.code, none.stdout.trim().split(/ {2,}/)[0]], [0, "NAME"]);

  const good = connectProxy(plane.ports.xds, { pod: POD });
  t.after(() => good.stop());
  const bad = connectRefusing(plane.ports.xds, REASON);
  t.after(() => bad.stop());
  let table = "";
  await eventually("both proxies are in the table, one with an error", async () => {
    const shown = await runCommand(["ps"], env);
    table = shown.stdout;
    return shown.code === 1 && table.includes("ERROR") && / SYNCED +SYNCED +/.test(table);
  });
  const [header = "", ...lines] = table.split("\n");
  assert.match(header, /^NAME +CLUSTER +CDS +LDS +EDS +RDS +SDS +ISTIOD +VERSION$/);
  assert.match(lines[0] ?? "", new RegExp(`^${POD}\\.default .* serin-control-plane +-$`));
  assert.match(lines[1] ?? "", /^refuser\.default +- .*ERROR +NOT SENT +serin-control-plane/);
  assert.equal(lines[3], `refuser.default refused RDS: ${REASON}`);
  const json = JSON.parse((await runCommand(["ps", "-o", "json"], env)).stdout);
  assert.deepEqual(
    json.map((each: Record<string, unknown>) => [each["proxy"], each["route_status"]]),
    [
      [`${POD}.default`, "SYNCED"],
      ["refuser.default", "ERROR"],
    ],
  );
  assert.equal((await runCommand(["ps", "-n", "shop"], env)).stdout.trim().split("\n").length, 1);

  const debug = `http://127.0.0.1:${plane.ports.debug}/debug`;
  const clients = (await (await fetch(`${debug}/adsz`)).json()) as Record<string, unknown>;
  assert.equal(clients["totalClients"], 2);
  assert.equal((await fetch(`${debug}/config_dump?proxyID=nobody.default`)).status, 404);
  const expected = await (await fetch(`${debug}/config_dump?proxyID=${POD}.default`)).text();
  let dump = expected;
  const ip = "127.61.7.201";
  await serveAdmin(t, ip, () => dump);
  for (const [name, address] of [
    [POD, ip],
    ["stranger", "127.61.7.202"],
  ] as const) {
    const created = await store.create(RESOURCES.pod, pod(name, address));
    const { status } = pod(name, address);
    await store.update(RESOURCES.pod, { ...created, status }, { subresource: "status" });
  }
  const same = await runCommand(["ps", `${POD}.default`], env);
  assert.deepEqual(
    [same.code, same.stdout],
    [0, "Clusters Match\nListeners Match\nRoutes Match\nEndpoints Match\n"],
    same.stderr,
  );
  dump = expected.replace('"PassthroughCluster"', '"OtherCluster"');
  const other = await runCommand(["ps", POD], env);
  assert.equal(other.code, 1);
  assert.match(other.stdout, /^--- Control plane Clusters OtherCluster\n\+\+\+ Proxy Clusters /);
  assert.match(other.stdout, /^-.*"PassthroughCluster"/m);
  assert.match(other.stdout, /^Listeners Match$/m);
  const asJson = JSON.parse((await runCommand(["ps", POD, "-o", "json"], env)).stdout);
  assert.deepEqual(
    asJson.types.map((each: { isSame: boolean }) => each.isSame),
    [false, true, true, true],
  );
  const stranger = await runCommand(["ps", "stranger"], env);
  assert.deepEqual(
    [stranger.code, /stranger is not connected to the control plane/.test(stranger.stderr)],
    [1, true],
  );
});

test("resources are compared by name, whatever their order and the order of their fields", () => {
  const dump = (...clusters: readonly object[]) => ({
    configs: [{ dynamic_active_clusters: clusters.map((cluster) => ({ cluster })) }],
  });
  const a = { name: "a", type: "EDS" };
  const b = { name: "b", connect_timeout: "10s" };
  const [same] = compareDumps(dump(a, b), dump(b, { type: "EDS", name: "a" }));
  assert.deepEqual(same, { type: "Clusters", isSame: true, diff: "" });
  const [changed] = compareDumps(dump(a, b), dump(a, { ...b, connect_timeout: "1s" }));
  assert.equal(
    changed?.diff,
    '--- Control plane Clusters b\n+++ Proxy Clusters b\n@@ -1,4 +1,4 @@\n {\n-  "connect_timeout": "10s",\n+  "connect_timeout": "1s",\n   "name": "b"\n }\n',
  );
  const [missing] = compareDumps(dump(a, b), dump(a));
  assert.match(missing?.diff ?? "", /^-\{$/m);
});

test("of endpoints their addresses, places and weights count, as Envoy shows no more of what it was sent", () => {
  const host = (address: string, more: object = {}) => ({
    endpoint: { address: { socket_address: { address, port_value: 80 } }, ...more },
    load_balancing_weight: 1,
  });
  const dump = (hosts: readonly object[], more: object = {}, others: readonly object[] = []) => ({
    configs: [
      {
        dynamic_active_clusters: [
          { cluster: { name: "c", type: "EDS" } },
          { cluster: { name: "s" } },
        ],
      },
      {
        dynamic_endpoint_configs: [
          { endpoint_config: { cluster_name: "c", endpoints: [{ lb_endpoints: hosts }], ...more } },
          ...others,
        ],
      },
    ],
  });
  const expected = dump([host("10.0.0.1"), host("10.0.0.2")]);
  const added = { policy: { overprovisioning_factor: 140 } };
  const own = { endpoint_config: { cluster_name: "s", endpoints: [] } };
  const envoys = [host("10.0.0.2", { health_check_config: {} }), host("10.0.0.1")];
  assert.ok(compareDumps(expected, dump(envoys, added, [own]))[3]?.isSame);
  const missing = compareDumps(expected, dump([host("10.0.0.1")]))[3];
  assert.match(missing?.diff ?? "", /^-.*10\.0\.0\.2:80/m);
});

for (const [args, message] of [
  [["proxy-status", "a", "b"], /unexpected argument "b"/],
  [["ps", "-o", "xml"], /--output must be table, json, yaml/],
] as const) {
  test(`wrong usage exits 2: serin ${args.join(" ")}`, async () => {
    const { code, stderr } = await runCommand(args);
    assert.equal(code, 2);
    assert.match(stderr, message);
  });
}
