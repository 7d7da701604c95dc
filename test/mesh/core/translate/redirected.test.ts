import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { LISTENER_TYPE, ROUTE_TYPE } from "../../../../src/xds/index.ts";
import { findTool, skipWithout } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, namesOf, resourceJson } from "../support/accept.ts";
import {
  bookinfo,
  mesh,
  meshConfig,
  peerAuthentication,
  service,
  serviceEntry,
  sidecar,
  virtualService,
} from "../support/objects.ts";
import { type Json, nodeOf, translated } from "../support/translated.ts";

const NODE = nodeOf("app-v1-5d8f-a", "10.244.0.9", {
  INTERCEPTION_MODE: "REDIRECT",
  LABELS: { app: "app" },
});
const PODS = [{ name: "app-v1-5d8f-a", ip: "10.244.0.9", labels: { app: "app" } }];
const COUNT = { port: 27_017, name: "what" };

/** A pod behind a service with a port of every kind, beside bookinfo. */
const everything = (): MeshObjects =>
  mesh(
    bookinfo(),
    service({
      name: "app",
      clusterIp: "10.96.0.5",
      ports: [
        { port: 80, targetPort: 9080, name: "http" },
        { port: 81, targetPort: 9081, name: "grpc" },
        { port: 82, targetPort: 9082, name: "tcp" },
        { port: 84, targetPort: 9084, name: "https" },
        { port: 85, targetPort: 9085, name: "what" },
        { port: 15_001, targetPort: 9086, name: "tcp-own" },
      ],
      pods: PODS,
    }),
    service({ name: "headless", ports: [COUNT, { port: 85, name: "x" }], pods: [] }),
    {
      serviceEntries: [
        serviceEntry(
          { name: "outside" },
          {
            hosts: ["a.example.com", "b.example.com"],
            ports: [{ number: 443, name: "tls", protocol: "TLS" }],
            resolution: "DNS",
          },
        ),
      ],
    },
  );

const listener = (objects: MeshObjects, name: string): Json =>
  resourceJson(translated(objects, NODE, true), "envoy.config.listener.v3.Listener", name) as Json;

/** A chain in short: what it matches and where it leads. */
function short(chain: Json): string {
  const match = (chain["filter_chain_match"] ?? {}) as Json;
  const filter = (chain["filters"] as Json[]).at(-1)?.["typed_config"] as Json;
  const rds = filter["rds"] as Json | undefined;
  const routes = filter["route_config"] as Json | undefined;
  return [
    match["destination_port"] ?? "",
    match["transport_protocol"] ?? "",
    ((match["application_protocols"] ?? []) as string[]).join(","),
    ((match["server_names"] ?? []) as string[]).join(","),
    chain["transport_socket"] === undefined ? "" : "mtls",
    rds?.["route_config_name"] ?? routes?.["name"] ?? filter["cluster"],
  ]
    .filter((part) => part !== "")
    .join(" ");
}
const chains = (json: Json): readonly string[] => [
  ...(json["filter_chains"] as Json[]).map(short),
  ...(json["default_filter_chain"] ? [`else ${short(json["default_filter_chain"] as Json)}`] : []),
];
const inspectors = (json: Json): readonly string[] =>
  ((json["listener_filters"] ?? []) as Json[]).map((each) =>
    [String(each["name"]).split(".").at(-1), JSON.stringify(each["filter_disabled"] ?? "")].join(
      " ",
    ),
  );
const domains = (objects: MeshObjects, routes: string): readonly unknown[] => {
  const set = translated(objects, NODE);
  const json = resourceJson(set, "envoy.config.route.v3.RouteConfiguration", routes) as Json;
  return (json["virtual_hosts"] as Json[]).map(({ name, domains }) => [name, domains]);
};

test("there is a listener per HTTP port and per address that carries no HTTP", () => {
  const names = namesOf(translated(everything(), NODE), LISTENER_TYPE);
  assert.deepEqual(names, [
    "0.0.0.0_27017",
    "0.0.0.0_443",
    "0.0.0.0_80",
    "0.0.0.0_81",
    "0.0.0.0_85",
    "0.0.0.0_9080",
    "10.96.0.5_82",
    "10.96.0.5_84",
    "10.96.0.5_85",
    "virtualInbound",
    "virtualOutbound",
  ]);
  for (const name of names.filter((each) => !each.startsWith("virtual"))) {
    assert.equal(listener(everything(), name)["bind_to_port"], false, name);
  }
});

test("every redirected connection arrives at one listener, and what nobody knows goes on", () => {
  const json = listener(everything(), "virtualOutbound");
  assert.deepEqual(chains(json), ["15001 BlackHoleCluster", "PassthroughCluster"]);
  assert.equal(json["use_original_dst"], true);
  assert.deepEqual(json["address"], {
    socket_address: { address: "0.0.0.0", port_value: 15001 },
  });
  const set = translated(everything(), NODE);
  const cluster = resourceJson(
    set,
    "envoy.config.cluster.v3.Cluster",
    "PassthroughCluster",
  ) as Json;
  assert.equal(cluster["type"], "ORIGINAL_DST");
});

test("REGISTRY_ONLY lets nothing out that nobody knows", () => {
  const closed = {
    meshConfigs: [meshConfig({ outboundTrafficPolicy: { mode: "REGISTRY_ONLY" } })],
  };
  const objects = mesh(everything(), closed);
  assert.deepEqual(chains(listener(objects, "virtualOutbound")), [
    "15001 BlackHoleCluster",
    "BlackHoleCluster",
  ]);
  assert.equal(chains(listener(objects, "0.0.0.0_9080")).at(-1), "else BlackHoleCluster");
  assert.match(JSON.stringify(domains(objects, "9080")), /block_all/);
});

const OUTBOUND: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    "0.0.0.0_9080",
    ["raw_buffer http/1.1,h2c 9080", "else PassthroughCluster"],
    ['tls_inspector ""', 'http_inspector ""'],
  ],
  ["10.96.0.5_82", ["outbound|82||app.default.svc.cluster.local"], []],
  ["10.96.0.5_84", ["outbound|84||app.default.svc.cluster.local"], []],
  [
    "10.96.0.5_85",
    [
      "raw_buffer http/1.1,h2c app.default.svc.cluster.local:85",
      "else outbound|85||app.default.svc.cluster.local",
    ],
    ['tls_inspector ""', 'http_inspector ""'],
  ],
  // Server-first by its number, without an address.
  ["0.0.0.0_27017", ["outbound|27017||headless.default.svc.cluster.local"], ['tls_inspector ""']],
  [
    "0.0.0.0_443",
    [
      "tls a.example.com outbound|443||a.example.com",
      "tls b.example.com outbound|443||b.example.com",
      "else PassthroughCluster",
    ],
    ['tls_inspector ""'],
  ],
];
for (const [name, expected, filters] of OUTBOUND) {
  test(`outbound ${name}`, () => {
    const json = listener(everything(), name);
    assert.deepEqual(chains(json), expected);
    assert.deepEqual(inspectors(json), filters);
  });
}

test("TCP and TLS routes of VirtualServices count at a service's address", () => {
  const to = (host: string) => [{ destination: { host, port: { number: 9080 } } }];
  const objects = mesh(everything(), {
    virtualServices: [
      virtualService(
        { name: "app" },
        {
          hosts: ["app"],
          tcp: [{ match: [{ port: 82 }], route: to("reviews") }],
          tls: [
            {
              match: [{ port: 84, sniHosts: ["app.default.svc.cluster.local"] }],
              route: to("productpage"),
            },
          ],
        },
      ),
    ],
  });
  assert.deepEqual(chains(listener(objects, "10.96.0.5_82")), [
    "outbound|9080||reviews.default.svc.cluster.local",
  ]);
  assert.deepEqual(chains(listener(objects, "10.96.0.5_84")), [
    "tls app.default.svc.cluster.local outbound|9080||productpage.default.svc.cluster.local",
    "else outbound|84||app.default.svc.cluster.local",
  ]);
});

test("the routes of a port know every name of its services, with the port or without", () => {
  const [first, second, last] = domains(everything(), "9080") as [string, string[]][];
  assert.equal(first?.[0], "productpage.default.svc.cluster.local:9080");
  assert.deepEqual(second?.[1], [
    ...["reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local:9080"],
    ...["reviews", "reviews:9080", "reviews.default", "reviews.default:9080"],
    ...["reviews.default.svc", "reviews.default.svc:9080", "127.96.0.3", "127.96.0.3:9080"],
  ]);
  assert.deepEqual(last, ["allow_any", ["*"]]);
  assert.deepEqual(
    domains(everything(), "app.default.svc.cluster.local:85").map((each) => (each as string[])[0]),
    ["app.default.svc.cluster.local:85", "allow_any"],
  );
  assert.ok(!namesOf(translated(everything(), NODE), ROUTE_TYPE).includes("http_proxy"));
});

const ALPN = "istio-http/1.0,istio-http/1.1,istio-h2";
test("inbound connections get the chains of their port, or those of all other ports", () => {
  const json = listener(everything(), "virtualInbound");
  assert.deepEqual(chains(json), [
    "15006 BlackHoleCluster",
    `9080 tls ${ALPN},istio,istio-peer-exchange mtls inbound|9080||`,
    "9080 raw_buffer inbound|9080||",
    "9080 tls inbound|9080||",
    `9081 tls ${ALPN},istio,istio-peer-exchange mtls inbound|9081||`,
    "9081 raw_buffer inbound|9081||",
    "9081 tls inbound|9081||",
    "9082 tls istio,istio-peer-exchange mtls inbound|9082||",
    "9082 raw_buffer inbound|9082||",
    "9082 tls inbound|9082||",
    "9084 tls istio,istio-peer-exchange mtls inbound|9084||",
    "9084 raw_buffer inbound|9084||",
    "9084 tls inbound|9084||",
    `9085 tls ${ALPN} mtls inbound|9085||`,
    "9085 tls istio,istio-peer-exchange mtls inbound|9085||",
    "9085 raw_buffer http/1.0,http/1.1,h2c inbound|9085||",
    "9085 raw_buffer inbound|9085||",
    "9085 tls inbound|9085||",
    "9086 tls istio,istio-peer-exchange mtls inbound|9086||",
    "9086 raw_buffer inbound|9086||",
    "9086 tls inbound|9086||",
    `tls ${ALPN} mtls InboundPassthroughCluster`,
    "tls istio,istio-peer-exchange mtls InboundPassthroughCluster",
    "raw_buffer http/1.0,http/1.1,h2c InboundPassthroughCluster",
    "raw_buffer InboundPassthroughCluster",
    "tls InboundPassthroughCluster",
  ]);
  const [, , http] = inspectors(json);
  assert.match(http ?? "", /^http_inspector \{"or_match".*"start":9080,"end":9081/);
  assert.doesNotMatch(http ?? "", /"start":9085/, "nobody said what it speaks");
});

test("STRICT and a port's own DISABLE count for redirected ports", () => {
  const objects = mesh(everything(), {
    peerAuthentications: [
      peerAuthentication(
        { name: "p" },
        {
          selector: { matchLabels: { app: "app" } },
          mtls: { mode: "STRICT" },
          portLevelMtls: { 9082: { mode: "DISABLE" } },
        },
      ),
    ],
  });
  const json = listener(objects, "virtualInbound");
  const plain = chains(json).filter((each) => !each.includes("mtls"));
  assert.deepEqual(plain, [
    "15006 BlackHoleCluster",
    "9082 raw_buffer inbound|9082||",
    "9082 tls inbound|9082||",
  ]);
  assert.deepEqual(inspectors(json), [
    'original_dst ""',
    'tls_inspector {"destination_port_range":{"start":9082,"end":9083}}',
  ]);
});

test("inbound connections go on to where they were going, from Istio's address", () => {
  const set = translated(everything(), NODE);
  for (const name of ["inbound|9080||", "InboundPassthroughCluster"]) {
    const json = resourceJson(set, "envoy.config.cluster.v3.Cluster", name) as Json;
    assert.equal(json["type"], "ORIGINAL_DST", name);
    assert.match(JSON.stringify(json["upstream_bind_config"]), /"127\.0\.0\.6"/, name);
  }
});

test("a Sidecar's ingress leads to the port that it names", () => {
  const ingress = {
    port: { number: 9080, protocol: "HTTP", name: "h" },
    defaultEndpoint: "127.0.0.1:7000",
  };
  const objects = mesh(everything(), {
    sidecars: [sidecar({ name: "s" }, { ingress: [ingress] })],
  });
  const set = translated(objects, NODE);
  const text = JSON.stringify(
    resourceJson(set, "envoy.config.cluster.v3.Cluster", "inbound|9080||"),
  );
  assert.match(text, /"port_value":7000/);
});

const strict = {
  peerAuthentications: [peerAuthentication({ name: "p" }, { mtls: { mode: "STRICT" } })],
};
for (const [what, objects] of [
  ["PERMISSIVE", everything()],
  ["STRICT", mesh(everything(), strict)],
  ["no services", mesh()],
] as const) {
  test(`both proxies accept redirection, ${what}`, { skip: skipWithout("envoy") }, async () => {
    const set = translated(objects, NODE, true);
    acceptedByOurProxy(set);
    await acceptedByEnvoy(findTool("envoy") ?? "", set);
  });
}
