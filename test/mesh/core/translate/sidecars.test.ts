import assert from "node:assert/strict";
import { test } from "node:test";
import { CLUSTER_TYPE } from "../../../../src/xds/index.ts";
import { namesOf, resourceJson } from "../support/accept.ts";
import { bookinfo, destinationRule, mesh, sidecar, virtualService } from "../support/objects.ts";
import { type Json, modelOf, PRODUCTPAGE, REVIEWS_V1, translated } from "../support/translated.ts";

const REVIEWS = "outbound|9080||reviews.default.svc.cluster.local";
const PAGE = "outbound|9080||productpage.default.svc.cluster.local";
const ROOT = "istio-system";
const of = (name: string, hosts: readonly string[], more: object = {}, namespace = "default") =>
  sidecar({ name, namespace }, { egress: [{ hosts }], ...more });
const outbound = (objects: object, node = PRODUCTPAGE): readonly string[] =>
  namesOf(translated(mesh(bookinfo(), objects), node), CLUSTER_TYPE).filter((name) =>
    name.startsWith("outbound|"),
  );
const selecting = (labels: object) => ({ workloadSelector: { labels } });

for (const [what, sidecars, expected] of [
  ["none: everything", [], [PAGE, REVIEWS]],
  ["every host of the own namespace", [of("a", ["./*"])], [PAGE, REVIEWS]],
  ["one host", [of("a", ["./reviews.default.svc.cluster.local"])], [REVIEWS]],
  ["a wildcard", [of("a", ["*/*.default.svc.cluster.local"])], [PAGE, REVIEWS]],
  ["another namespace", [of("a", ["other/*"])], []],
  ["nothing", [of("a", ["~/*"])], []],
  [
    "the workload's own first",
    [of("a", ["~/*"]), of("z", ["./*"], selecting({ app: "productpage" }))],
    [PAGE, REVIEWS],
  ],
  [
    "not another workload's",
    [of("a", ["./*"]), of("z", ["~/*"], selecting({ app: "reviews" }))],
    [PAGE, REVIEWS],
  ],
  ["the mesh's", [of("a", ["~/*"], {}, ROOT)], []],
  ["the mesh's, of the client's namespace", [of("a", ["./*"], {}, ROOT)], [PAGE, REVIEWS]],
  [
    "the namespace's before the mesh's",
    [of("a", ["~/*"], {}, ROOT), of("b", ["./*"])],
    [PAGE, REVIEWS],
  ],
  ["the older of two", [of("a", ["./*"]), of("b", ["~/*"])], [PAGE, REVIEWS]],
  [
    "one without egress imports all",
    [sidecar({ name: "a" }, { outboundTrafficPolicy: {} })],
    [PAGE, REVIEWS],
  ],
] as const) {
  test(`a Sidecar imports: ${what}`, () => {
    assert.deepEqual(outbound({ sidecars }), expected);
  });
}

test("where an imported VirtualService leads is imported too", () => {
  const route = [{ destination: { host: "reviews" } }];
  const virtualServices = [
    virtualService({ name: "v" }, { hosts: ["a.example.com"], http: [{ route }] }),
  ];
  const sidecars = [of("a", ["./a.example.com"])];
  assert.deepEqual(outbound({ sidecars, virtualServices }), [REVIEWS]);
});

test("proxies of one namespace with different Sidecars have different views at the same time", () => {
  const sidecars = [of("z", ["~/*"], selecting({ app: "productpage" }))];
  assert.deepEqual(outbound({ sidecars }, PRODUCTPAGE), []);
  assert.deepEqual(outbound({ sidecars }, REVIEWS_V1), [PAGE, REVIEWS]);
});

test("ingress listeners replace the application's ports and lead to another one", () => {
  const ingress = [{ port: { number: 8000, protocol: "HTTP" }, defaultEndpoint: "127.0.0.1:9080" }];
  const set = translated(
    mesh(bookinfo(), { sidecars: [sidecar({ name: "a" }, { ingress })] }),
    REVIEWS_V1,
  );
  const inbound = namesOf(set, CLUSTER_TYPE).filter((name) => name.startsWith("inbound"));
  assert.deepEqual(inbound, ["inbound|8000||"]);
  const text = JSON.stringify(
    resourceJson(set, "envoy.config.cluster.v3.Cluster", "inbound|8000||"),
  );
  assert.match(text, /"address":"127.48.0.3","port_value":9080/);
});

test("a DestinationRule that selects workloads is for those of its namespace, and comes first", () => {
  const rule = (name: string, more: object, namespace = "default") =>
    destinationRule({ name, namespace }, { host: "reviews.default.svc.cluster.local", ...more });
  const pool = (maxConnections: number) => ({
    trafficPolicy: { connectionPool: { tcp: { maxConnections } } },
  });
  const page = { workloadSelector: { matchLabels: { app: "productpage" } } };
  const objects = mesh(bookinfo(), {
    destinationRules: [
      rule("all", pool(1)),
      rule("page", { ...pool(2), ...page }),
      rule("elsewhere", { ...pool(3), ...page }, "other"),
    ],
  });
  const limit = (node: typeof PRODUCTPAGE): unknown => {
    const set = translated(objects, node);
    const cluster = resourceJson(set, "envoy.config.cluster.v3.Cluster", REVIEWS) as Json;
    const { thresholds } = cluster["circuit_breakers"] as { thresholds: Json[] };
    return thresholds[0]?.["max_connections"];
  };
  assert.equal(limit(PRODUCTPAGE), 2);
  assert.equal(limit(REVIEWS_V1), 1);
});

for (const [what, spec, message] of [
  ["nothing", {}, /empty configuration/],
  ["no namespace", { egress: [{ hosts: ["reviews"] }] }, /must be namespace\/dnsName/],
  ["no hosts", { egress: [{ hosts: [] }] }, /egress/],
  ["no port before others", { egress: [{ hosts: ["./*"] }, { hosts: ["./*"] }] }, /last listener/],
  [
    "a far endpoint",
    { ingress: [{ port: { number: 1 }, defaultEndpoint: "8.8.8.8:80" }] },
    /defaultEndpoint/,
  ],
] as const) {
  test(`a Sidecar is refused: ${what}`, () => {
    const { problems } = modelOf(mesh(bookinfo(), { sidecars: [sidecar({ name: "a" }, spec)] }));
    assert.match(problems.map((each) => each.message).join("\n"), message);
  });
}
