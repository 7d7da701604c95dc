import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../src/api/index.ts";
import { CLUSTER_TYPE, ENDPOINT_TYPE } from "../../../../src/xds/index.ts";
import { findTool } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, namesOf, resourceJson } from "../support/accept.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  service,
  serviceEntry,
  workloadEntry,
} from "../support/objects.ts";
import {
  type Json,
  modelOf,
  nodeOf,
  PRODUCTPAGE,
  translated,
  virtualHostJson,
} from "../support/translated.ts";

const HTTP = { number: 80, name: "http", protocol: "HTTP" };
const ELSEWHERE = nodeOf("other-1-x", "127.16.0.77", { NAMESPACE: "other" });

const external = (spec: object, name = "api", namespace = "default"): KubeObject =>
  serviceEntry({ name, namespace }, { hosts: ["api.example.com"], ports: [HTTP], ...spec });
const withEntries = (entries: readonly KubeObject[], more: object = {}) =>
  mesh(bookinfo(), { serviceEntries: entries, ...more });
const clusterOf = (set: ReturnType<typeof translated>, name = "outbound|80||api.example.com") =>
  resourceJson(set, "envoy.config.cluster.v3.Cluster", name) as Json;
const addresses = (assignment: unknown): unknown[] =>
  ((assignment as Json)["endpoints"] as Json[] | undefined)?.flatMap((locality) =>
    (locality["lb_endpoints"] as Json[]).map((each) => {
      const socket = ((each["endpoint"] as Json)["address"] as Json)["socket_address"] as Json;
      return `${socket["address"]}:${socket["port_value"]}`;
    }),
  ) ?? [];
const endpointsOf = (set: ReturnType<typeof translated>, name = "outbound|80||api.example.com") =>
  addresses(resourceJson(set, "envoy.config.endpoint.v3.ClusterLoadAssignment", name));
const problemsOf = (...entries: readonly KubeObject[]) =>
  modelOf(withEntries(entries)).problems.map(({ message }) => message);

test("STATIC: addresses with ports by name, as EDS; no mutual TLS outside of the mesh", () => {
  const endpoints = [{ address: "10.0.0.1", ports: { http: 8080 } }, { address: "10.0.0.2" }];
  const set = translated(withEntries([external({ resolution: "STATIC", endpoints })]));
  const cluster = clusterOf(set);
  assert.equal(cluster["type"], "EDS");
  assert.equal(cluster["transport_socket_matches"], undefined);
  assert.deepEqual(endpointsOf(set), ["10.0.0.1:8080", "10.0.0.2:80"]);
  const host = virtualHostJson(set, "api.example.com");
  assert.deepEqual(host["domains"], ["api.example.com", "api.example.com:80"]);
});

test("MESH_INTERNAL: mutual TLS to who has an account or says so, weights, subsets by labels", () => {
  const endpoints = [
    { address: "10.0.0.1", serviceAccount: "vm", weight: 3, labels: { version: "v1" } },
    { address: "10.0.0.2", labels: { version: "v2" } },
  ];
  const entry = external({ resolution: "STATIC", location: "MESH_INTERNAL", endpoints });
  const rule = destinationRule(
    { name: "api" },
    { host: "api.example.com", subsets: [{ name: "v2", labels: { version: "v2" } }] },
  );
  const set = translated(withEntries([entry], { destinationRules: [rule] }));
  const assignment = resourceJson(
    set,
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "outbound|80||api.example.com",
  ) as { endpoints: { load_balancing_weight: number; lb_endpoints: Json[] }[] };
  const [locality] = assignment.endpoints;
  assert.equal(locality?.load_balancing_weight, 4);
  assert.deepEqual(
    locality?.lb_endpoints.map((each) => [each["load_balancing_weight"], "metadata" in each]),
    [
      [3, true],
      [1, false],
    ],
  );
  assert.ok(clusterOf(set)["transport_socket_matches"]);
  assert.deepEqual(endpointsOf(set, "outbound|80|v2|api.example.com"), ["10.0.0.2:80"]);
});

for (const [resolution, type] of [
  ["DNS", "STRICT_DNS"],
  ["DNS_ROUND_ROBIN", "LOGICAL_DNS"],
] as const) {
  test(`${resolution}: proxies resolve the endpoint's name, or the host itself`, () => {
    const bare = clusterOf(translated(withEntries([external({ resolution })])));
    assert.equal(bare["type"], type);
    assert.deepEqual(addresses(bare["load_assignment"]), ["api.example.com:80"]);
    const endpoints = [{ address: "a.example.net", ports: { http: 8000 } }];
    const named = clusterOf(translated(withEntries([external({ resolution, endpoints })])));
    assert.deepEqual(addresses(named["load_assignment"]), ["a.example.net:8000"]);
    assert.equal(named["dns_refresh_rate"], "60s");
  });
}

test("NONE: to the original destination where there is one, else to the host asked for", () => {
  const objects = withEntries([external({ hosts: ["*.example.com"] })]);
  const name = "outbound|80||*.example.com";
  const bound = translated(objects);
  assert.equal(
    (clusterOf(bound, name)["cluster_type"] as Json)["name"],
    "envoy.clusters.dynamic_forward_proxy",
  );
  const domains = virtualHostJson(bound, "*.example.com")["domains"];
  assert.deepEqual(domains, ["*.example.com", "*.example.com:80"]);
  const redirected = nodeOf("x-1-x", "10.0.0.9", {
    INTERCEPTION_MODE: "REDIRECT",
    HTTP_PROXY_PORT: "",
  });
  const cluster = clusterOf(translated(objects, redirected), name);
  assert.equal(cluster["type"], "ORIGINAL_DST");
  assert.equal(cluster["lb_policy"], "CLUSTER_PROVIDED");
});

test("workloadSelector: ready pods and WorkloadEntries of the namespace, at the target port", () => {
  const entry = external({
    location: "MESH_INTERNAL",
    resolution: "STATIC",
    workloadSelector: { labels: { app: "reviews" } },
    ports: [{ ...HTTP, targetPort: 9080 }],
  });
  const workloads = [
    workloadEntry(
      { name: "vm" },
      { address: "10.9.9.9", ports: { http: 7000 }, labels: { app: "reviews" } },
    ),
    workloadEntry({ name: "not" }, { address: "10.9.9.8", labels: { app: "ratings" } }),
    workloadEntry(
      { name: "far", namespace: "other" },
      { address: "10.9.9.7", labels: { app: "reviews" } },
    ),
  ];
  const objects = withEntries([entry], { workloadEntries: workloads });
  const ready = { conditions: [{ type: "Ready", status: "True" }] };
  const pods = objects.pods.map((pod, i) =>
    i === 1 ? { ...pod, status: { ...(pod["status"] as object), ...ready } } : pod,
  );
  assert.deepEqual(endpointsOf(translated({ ...objects, pods })), [
    "10.9.9.9:7000",
    "127.16.0.3:9080",
  ]);
});

test("a Kubernetes service takes the WorkloadEntries that its selector fits", () => {
  const legacy = service({ name: "legacy", ports: [{ port: 80, name: "http" }], pods: [] });
  const services = (legacy.services ?? []).map((each) => ({
    ...each,
    spec: { ...(each["spec"] as object), selector: { app: "legacy" } },
  }));
  const vm = workloadEntry({ name: "vm" }, { address: "10.8.8.8", labels: { app: "legacy" } });
  const set = translated(mesh(bookinfo(), { services, workloadEntries: [vm] }));
  assert.deepEqual(endpointsOf(set, "outbound|80||legacy.default.svc.cluster.local"), [
    "10.8.8.8:80",
  ]);
});

test("exportTo: others do not see it, and a namespace's own comes before others'", () => {
  const at = (address: string) => ({ resolution: "STATIC", endpoints: [{ address }] });
  const objects = withEntries([
    external({ ...at("10.0.0.1"), exportTo: ["."] }),
    external({ ...at("10.0.0.2"), exportTo: ["other"] }, "theirs", "third"),
  ]);
  assert.deepEqual(endpointsOf(translated(objects, PRODUCTPAGE)), ["10.0.0.1:80"]);
  assert.deepEqual(endpointsOf(translated(objects, ELSEWHERE)), ["10.0.0.2:80"]);
  const third = nodeOf("x-1-x", "127.16.0.78", { NAMESPACE: "third" });
  assert.ok(!namesOf(translated(objects, third), ENDPOINT_TYPE).some((n) => n.includes("api.")));
});

test("a host that a Kubernetes service has stays that service's, and the entry says so", () => {
  const reviews = "reviews.default.svc.cluster.local";
  const messages = problemsOf(external({ hosts: [reviews], resolution: "DNS" }));
  assert.match(messages.join(), /already has the Service default\/reviews/);
});

test("TLS origination: the host is the server name, and certificates are verified", () => {
  const rule = destinationRule(
    { name: "api" },
    { host: "api.example.com", trafficPolicy: { tls: { mode: "SIMPLE" } } },
  );
  const objects = withEntries([external({ resolution: "DNS" })], { destinationRules: [rule] });
  const text = JSON.stringify(clusterOf(translated(objects))["transport_socket"]);
  assert.match(text, /"sni":"api.example.com"/);
  assert.match(text, /"name":"file-root:system"/);
  assert.match(text, /"san_type":"DNS","matcher":\{"exact":"api.example.com"\}/);
});

test("several hosts, tcp and https ports make clusters; only HTTP ports make routes", async () => {
  const entry = external({
    hosts: ["a.example.com", "b.example.com"],
    addresses: ["240.0.0.1"],
    resolution: "DNS",
    ports: [HTTP, { number: 443, name: "tls", protocol: "TLS" }, { number: 9, name: "tcp-9" }],
  });
  const set = translated(withEntries([entry, external({ hosts: ["*.z.com"] }, "none")]));
  for (const port of [80, 443, 9]) {
    assert.ok(set.get(CLUSTER_TYPE)?.has(`outbound|${port}||a.example.com`));
    assert.ok(set.get(CLUSTER_TYPE)?.has(`outbound|${port}||b.example.com`));
  }
  assert.throws(() => virtualHostJson(set, "a.example.com:443"));
  assert.ok((virtualHostJson(set, "a.example.com")["domains"] as string[]).includes("240.0.0.1"));
  acceptedByOurProxy(set);
  const envoy = findTool("envoy");
  if (envoy !== undefined) await acceptedByEnvoy(envoy, set);
});

const ONE = [{ address: "10.0.0.1" }];
for (const [what, spec, message] of [
  ["host *", { hosts: ["*"] }, /invalid host \*/],
  ["no hosts", { hosts: [] }, /spec\.hosts/],
  ["endpoints with NONE", { endpoints: ONE }, /no endpoints should be provided/],
  ["STATIC without endpoints", { resolution: "STATIC" }, /endpoints must be provided/],
  [
    "STATIC with a name",
    { resolution: "STATIC", endpoints: [{ address: "a.example.com" }] },
    /must be an IP address for STATIC/,
  ],
  ["DNS with a wildcard", { hosts: ["*.a.com"], resolution: "DNS" }, /hosts must be FQDN/],
  [
    "two endpoints to one at a time",
    { resolution: "DNS_ROUND_ROBIN", endpoints: [...ONE, { address: "10.0.0.2" }] },
    /only be 0 or 1 endpoint/,
  ],
  [
    "a block with DNS",
    { resolution: "DNS", addresses: ["10.0.0.0/8"] },
    /CIDR addresses are allowed only/,
  ],
  ["one port twice", { ports: [HTTP, { ...HTTP, name: "b" }] }, /port 80 already defined/],
  [
    "a port of no name",
    { resolution: "STATIC", endpoints: [{ address: "10.0.0.1", ports: { x: 1 } }] },
    /endpoint port x is not defined/,
  ],
  [
    "selector and endpoints",
    { resolution: "STATIC", endpoints: ONE, workloadSelector: { labels: { a: "b" } } },
    /only one of workloadSelector or endpoints/,
  ],
  ["exportTo of no namespace", { exportTo: ["A_B"] }, /exportTo/],
] as const) {
  test(`refused: ${what}`, () => {
    assert.match(problemsOf(external(spec)).join("\n"), message);
  });
}
