import assert from "node:assert/strict";
import { test } from "node:test";
import { findTool, skipWithout } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, resourceJson } from "../support/accept.ts";
import { gatewayApi, kubernetesGateway, mesh, service } from "../support/objects.ts";
import { type Json, nodeOf, translated } from "../support/translated.ts";

const NODE = nodeOf(
  "web-serin-1-a",
  "127.16.0.9",
  { LABELS: { "gateway.networking.k8s.io/gateway-name": "web" }, HTTP_PROXY_PORT: "" },
  "router",
);
const TCP = { name: "tcp", port: 9000, protocol: "TCP" };
const TLS = { name: "tls", port: 9443, protocol: "TLS", tls: { mode: "Passthrough" } };
const PLAIN = { port: 7, name: "tcp" };
const backends = ["a", "b"].map((name) =>
  service({ name, clusterIp: `10.9.0.${name === "a" ? 1 : 2}`, ports: [PLAIN], pods: [] }),
);
const to = (name: string, weight = 1) => ({ name, port: 7, weight });
const route = (
  kind: string,
  name: string,
  backendRefs: readonly object[],
  more: object = {},
  createdAt = "2026-01-01T00:00:00Z",
) =>
  gatewayApi(
    kind,
    { name, createdAt },
    { parentRefs: [{ name: "web" }], rules: [{ backendRefs }], ...more },
  );
const cluster = (name: string) => `outbound|7||${name}.default.svc.cluster.local`;

/** By server name: the clusters, with their weights, that connections lead to. */
function chainsOf(
  listener: string,
  objects: Parameters<typeof translated>[0],
  node = NODE,
): readonly (readonly [string, unknown])[] {
  const set = translated(objects, node);
  acceptedByOurProxy(set);
  const { filter_chains } = resourceJson(set, "envoy.config.listener.v3.Listener", listener) as {
    readonly filter_chains: readonly Json[];
  };
  return filter_chains.map((chain) => {
    const { server_names = [] } = (chain["filter_chain_match"] ?? {}) as {
      server_names?: string[];
    };
    const filters = chain["filters"] as readonly { readonly typed_config: Json }[];
    const config = filters.at(-1)?.typed_config ?? {};
    const weighted = config["weighted_clusters"] as
      | { readonly clusters: readonly { readonly name: string; readonly weight: number }[] }
      | undefined;
    const to = weighted?.clusters.map(({ name, weight }) => `${weight} ${name}`);
    return [server_names.join(), to ?? config["cluster"]] as const;
  });
}

test("a TCPRoute: by weight, the oldest of a listener; invalid backends lead nowhere", () => {
  const at = (...tcpRoutes: ReturnType<typeof route>[]) =>
    chainsOf(
      "127.16.0.9_9000",
      mesh(...backends, kubernetesGateway({ name: "web" }, [TCP]), { tcpRoutes }),
    );
  assert.deepEqual(at(route("TCPRoute", "r", [to("a", 3), to("b")])), [
    ["", [`3 ${cluster("a")}`, `1 ${cluster("b")}`]],
  ]);
  assert.deepEqual(at(route("TCPRoute", "r", [to("a"), to("gone")])), [
    ["", [`1 ${cluster("a")}`, "1 BlackHoleCluster"]],
  ]);
  assert.deepEqual(at(route("TCPRoute", "r", [to("a", 0)])), [["", "BlackHoleCluster"]]);
  const young = route("TCPRoute", "a", [to("a")], {}, "2026-05-01T00:00:00Z");
  assert.deepEqual(at(young, route("TCPRoute", "b", [to("b")])), [["", cluster("b")]]);
});

test("TLSRoutes: by server name, the oldest of a name", () => {
  const tlsRoutes = [
    route("TLSRoute", "two", [to("b")], { hostnames: ["a.com", "b.com"] }, "2026-05-01T00:00:00Z"),
    route("TLSRoute", "one", [to("a")], { hostnames: ["a.com", "*.c.com"] }),
  ];
  const objects = mesh(...backends, kubernetesGateway({ name: "web" }, [TLS]), { tlsRoutes });
  assert.deepEqual(chainsOf("127.16.0.9_9443", objects).toSorted(), [
    ["*.c.com", cluster("a")],
    ["a.com", cluster("a")],
    ["b.com", cluster("b")],
  ]);
});

test("a TCPRoute of a Service, for sidecars whose traffic is redirected", () => {
  const parentRefs = [{ group: "", kind: "Service", name: "a", port: 7 }];
  const objects = mesh(...backends, {
    tcpRoutes: [route("TCPRoute", "r", [to("a", 9), to("b")], { parentRefs })],
  });
  const client = nodeOf("client-1-a", "10.0.0.9", { INTERCEPTION_MODE: "REDIRECT" });
  assert.deepEqual(chainsOf("10.9.0.1_7", objects, client), [
    ["", [`9 ${cluster("a")}`, `1 ${cluster("b")}`]],
  ]);
  assert.deepEqual(chainsOf("10.9.0.2_7", objects, client), [["", cluster("b")]]);
});

test("real Envoy takes them", { skip: skipWithout("envoy"), timeout: 60_000 }, async () => {
  const objects = mesh(...backends, kubernetesGateway({ name: "web" }, [TCP, TLS]), {
    tcpRoutes: [route("TCPRoute", "r", [to("a"), to("gone")])],
    tlsRoutes: [route("TLSRoute", "t", [to("b")])],
  });
  await acceptedByEnvoy(findTool("envoy") ?? "", translated(objects, NODE));
});
