import assert from "node:assert/strict";
import { test } from "node:test";
import { LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE } from "../../../../src/xds/index.ts";
import { createAuthority } from "../../../support/certificates.ts";
import { findTool } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, namesOf, resourceJson } from "../support/accept.ts";
import {
  bookinfo,
  gateway,
  mesh,
  meshConfig,
  pod,
  secret,
  virtualService,
} from "../support/objects.ts";
import { type Json, modelOf, nodeOf, translated } from "../support/translated.ts";

const LABELS = { istio: "ingressgateway" };
const NODE = nodeOf("gw-1-x", "127.16.0.9", { LABELS, HTTP_PROXY_PORT: "" }, "router");
const OTHER = nodeOf("gw-2-x", "127.16.0.8", { LABELS, NAMESPACE: "other" }, "router");
const server = (number: number, protocol: string, name: string, hosts: string[], tls?: object) => ({
  port: { number, protocol, name },
  hosts,
  ...(tls === undefined ? {} : { tls }),
});
const SERVERS = [
  server(80, "HTTP", "http", ["*"]),
  server(443, "HTTPS", "a", ["a.example.com"], { mode: "SIMPLE", credentialName: "a" }),
  server(443, "HTTPS", "b", ["*.b.com"], {
    ...{ mode: "MUTUAL", credentialName: "a", subjectAltNames: ["client"] },
    ...{ minProtocolVersion: "TLSV1_2", maxProtocolVersion: "TLSV1_3" },
    cipherSuites: ["ECDHE-ECDSA-AES128-GCM-SHA256"],
  }),
  server(443, "HTTPS", "c", ["c.example.com"], { mode: "OPTIONAL_MUTUAL", credentialName: "a" }),
  server(443, "HTTPS", "d", ["d.example.com"], { mode: "ISTIO_MUTUAL" }),
  server(443, "TLS", "e", ["e.example.com"], { mode: "PASSTHROUGH" }),
  server(443, "TLS", "f", ["f.example.com"], { mode: "SIMPLE", credentialName: "a" }),
  server(15443, "TLS", "g", ["*.local"], { mode: "AUTO_PASSTHROUGH" }),
  server(3306, "TCP", "mysql", ["*"]),
];
const route = [{ destination: { host: "reviews", port: { number: 9080 } } }];
const split = [
  { destination: { host: "reviews", port: { number: 9080 } }, weight: 3 },
  { destination: { host: "productpage", port: { number: 9080 } }, weight: 1 },
];
const VIRTUAL_SERVICE = virtualService(
  { name: "v" },
  {
    hosts: ["a.example.com", "e.example.com", "f.example.com"],
    gateways: ["gw"],
    http: [{ route }],
    tls: [{ match: [{ sniHosts: ["e.example.com"], port: 443 }], route: split }],
    tcp: [{ match: [{ port: 3306 }, { port: 443 }], route }],
  },
);
const authority = await createAuthority("gateways");
const leaf = await authority.issue("spiffe://x,DNS:a.example.com");
const CREDENTIAL = {
  "tls.crt": leaf.certificatePem,
  "tls.key": leaf.keyPem,
  "ca.crt": authority.certificatePem,
};
const of = (servers: readonly object[], more: object = {}) =>
  mesh(bookinfo(), {
    gateways: [gateway({ name: "gw" }, { selector: LABELS, servers })],
    virtualServices: [VIRTUAL_SERVICE],
    secrets: [secret({ name: "a" }, CREDENTIAL)],
    pods: [pod({ name: "gw-1-x", ip: "127.16.0.9", labels: LABELS, ports: [] })],
    ...more,
  });
const listener = (set: ReturnType<typeof translated>, name: string) =>
  resourceJson(set, "envoy.config.listener.v3.Listener", name) as { filter_chains: Json[] };

test("every kind of server, as our proxy and Envoy take it", async () => {
  const set = translated(of(SERVERS), NODE);
  assert.deepEqual(namesOf(set, LISTENER_TYPE), [
    "127.16.0.9_15443",
    "127.16.0.9_3306",
    "127.16.0.9_443",
    "127.16.0.9_80",
  ]);
  assert.deepEqual(namesOf(set, ROUTE_TYPE), [
    "http.80",
    "https.443.a.gw.default",
    "https.443.b.gw.default",
    "https.443.c.gw.default",
    "https.443.d.gw.default",
  ]);
  const names = listener(set, "127.16.0.9_443").filter_chains.map(
    (chain) => (chain["filter_chain_match"] as Json)["server_names"],
  );
  assert.deepEqual(names, [
    ["a.example.com"],
    ["*.b.com"],
    ["c.example.com"],
    ["d.example.com"],
    ["e.example.com"],
    ["f.example.com"],
  ]);
  const passed = JSON.stringify(listener(set, "127.16.0.9_15443"));
  assert.match(passed, /outbound_\.9080_\._\.reviews\.default\.svc\.cluster\.local/);
  acceptedByOurProxy(set);
  const envoy = findTool("envoy");
  if (envoy !== undefined) await acceptedByEnvoy(envoy, set);
});

test("Secrets are those of the gateway pod's namespace, and only what its servers name", () => {
  const more = { secrets: [secret({ name: "a" }, CREDENTIAL), secret({ name: "z" }, CREDENTIAL)] };
  assert.deepEqual(namesOf(translated(of(SERVERS, more), NODE), SECRET_TYPE), [
    "kubernetes://a",
    "kubernetes://a-cacert",
  ]);
  assert.deepEqual(namesOf(translated(of(SERVERS, more), OTHER), SECRET_TYPE), []);
});

test("a server whose Secret is missing is left out and said, the others of its port are served", () => {
  const servers = [
    SERVERS[1],
    server(443, "HTTPS", "x", ["x.com"], { mode: "SIMPLE", credentialName: "x" }),
  ];
  const objects = of(servers.filter((each) => each !== undefined));
  assert.equal(listener(translated(objects, NODE), "127.16.0.9_443").filter_chains.length, 1);
  const problems = modelOf(objects).problems.map(({ message }) => message);
  assert.deepEqual(problems, [
    "spec.servers[1] is not served: there is no Secret default/x with a tls.crt and its tls.key",
  ]);
  const keyless = { ...CREDENTIAL, "tls.key": "no PEM" };
  const broken = of([SERVERS[1] ?? {}], { secrets: [secret({ name: "a" }, keyless)] });
  assert.deepEqual(namesOf(translated(broken, NODE), LISTENER_TYPE), []);
});

test("of two servers for one name the first counts, for Envoy refuses both together", () => {
  const twice = [SERVERS[1], { ...SERVERS[1], port: { ...SERVERS[1]?.port, name: "again" } }];
  const set = translated(of(twice as object[]), NODE);
  assert.equal(listener(set, "127.16.0.9_443").filter_chains.length, 1);
});

test("VirtualServices that are not exported to the gateway's namespace do not count", () => {
  const hidden = virtualService(
    { name: "v" },
    { hosts: ["a.example.com"], gateways: ["default/gw"], exportTo: ["."], http: [{ route }] },
  );
  const objects = of([SERVERS[0] ?? {}], { virtualServices: [hidden] });
  const hosts = (node: typeof NODE) =>
    (
      resourceJson(
        translated(objects, node),
        "envoy.config.route.v3.RouteConfiguration",
        "http.80",
      ) as { virtual_hosts?: Json[] }
    ).virtual_hosts?.length ?? 0;
  assert.equal(hosts(NODE), 1);
  assert.equal(hosts(OTHER), 0);
});

for (const [normalization, expected] of [
  ["NONE", {}],
  ["BASE", { normalize_path: true }],
  ["MERGE_SLASHES", { normalize_path: true, merge_slashes: true }],
  [
    "DECODE_AND_MERGE_SLASHES",
    {
      ...{ normalize_path: true, merge_slashes: true },
      path_with_escaped_slashes_action: "UNESCAPE_AND_FORWARD",
    },
  ],
  ["SOMETIMES", { normalize_path: true }],
] as const) {
  test(`the mesh's pathNormalization ${normalization}`, () => {
    const meshConfigs = [meshConfig({ pathNormalization: { normalization } })];
    const objects = of([SERVERS[0] ?? {}], { meshConfigs });
    const text = JSON.stringify(listener(translated(objects, NODE), "127.16.0.9_80"));
    const found = Object.fromEntries(
      [
        ...text.matchAll(
          /"(normalize_path|merge_slashes|path_with_escaped_slashes_action)":(true|"\w+")/g,
        ),
      ].map(([, key, value]) => [key, JSON.parse(value ?? "")]),
    );
    assert.deepEqual(found, expected);
    const said = modelOf(objects)
      .problems.map(({ message }) => message)
      .join();
    assert.equal(/must be one of NONE/.test(said), normalization === "SOMETIMES");
  });
}
