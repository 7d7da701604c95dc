import assert from "node:assert/strict";
import { test } from "node:test";
import { describeIngress } from "../../../../src/mesh/core/explain/describe-ingress.ts";
import { describePod } from "../../../../src/mesh/core/explain/describe-pod.ts";
import { describeService, leadsTo } from "../../../../src/mesh/core/explain/describe-service.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import {
  authorizationPolicy,
  bookinfo,
  destinationRule,
  gateway,
  mesh,
  peerAuthentication,
  reviewsSubsets,
  service,
  virtualService,
} from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

const V1 = "default/reviews-v1-5d8f7b9c-abcd3";
const HOST = "reviews.default.svc.cluster.local";

function podOf(objects: MeshObjects, key = V1) {
  const model = modelOf(objects);
  const workload = model.workloads.get(key);
  assert.ok(workload !== undefined, key);
  return describePod(model, workload);
}

function serviceOf(objects: MeshObjects, host = HOST) {
  const model = modelOf(objects);
  const found = model.serviceByHost.get(host);
  assert.ok(found !== undefined, host);
  return describeService(model, found, undefined);
}

const split = virtualService(
  { name: "reviews" },
  {
    hosts: ["reviews"],
    http: [
      {
        name: "beta",
        match: [{ uri: { prefix: "/api" }, headers: { user: { exact: "jason" } } }, { port: 80 }],
        timeout: "3s",
        retries: { attempts: 3 },
        route: [{ destination: { host: "reviews", subset: "v2" } }],
      },
      {
        fault: { delay: { fixedDelay: "5s", percentage: { value: 10 } } },
        route: [
          { destination: { host: "reviews", subset: "v1" }, weight: 90 },
          { destination: { host: "reviews", subset: "v3" }, weight: 10 },
        ],
      },
    ],
  },
);

test("a pod's services, its subsets of them, and the routes that lead to it", () => {
  const found = podOf(
    mesh(bookinfo(), { destinationRules: [reviewsSubsets()], virtualServices: [split] }),
  );
  const [reviews] = found.services;
  assert.deepEqual(reviews?.ports, [
    { name: "http", port: 9080, protocol: "http", targetPort: 9080 },
  ]);
  assert.deepEqual(reviews?.destinationRule, {
    name: "default/reviews",
    host: HOST,
    matchingSubsets: ["v1"],
    otherSubsets: ["v2", "v3"],
    policy: undefined,
  });
  const routes = reviews?.virtualService?.routes.map(
    ({ route, matches, destinations, settings }) => [
      route,
      matches,
      destinations.map(({ subset, weight, isForPod }) => `${weight} ${subset} ${isForPod}`),
      settings,
    ],
  );
  assert.deepEqual(routes, [
    [
      "http[0] beta",
      ["path begins with /api, header user is jason", "port 80"],
      ["100 v2 false"],
      ["timeout 3s", "retries 3"],
    ],
    ["http[1]", [], ["90 v1 true", "10 v3 false"], ["delay 5s"]],
  ]);
  assert.deepEqual(
    [found.warnings, reviews?.warnings],
    [["it is not ready: no traffic is sent to it"], []],
  );
});

test("what a pod takes, port by port, and the policies that say so", () => {
  const policies = [
    peerAuthentication(
      { name: "default", namespace: "istio-system" },
      { mtls: { mode: "STRICT" } },
    ),
    peerAuthentication(
      { name: "own" },
      {
        selector: { matchLabels: { app: "reviews" } },
        portLevelMtls: { 9080: { mode: "DISABLE" }, 7070: { mode: "STRICT" } },
      },
    ),
    peerAuthentication(
      { name: "young", createdAt: "2026-02-01T00:00:00Z" },
      { selector: { matchLabels: { version: "v1" } }, mtls: { mode: "DISABLE" } },
    ),
  ];
  const found = podOf(
    mesh(bookinfo(), {
      peerAuthentications: policies,
      authorizationPolicies: [authorizationPolicy({ name: "deny-all" }, {})],
    }),
  );
  assert.deepEqual(found.peerAuthentication, {
    mode: "STRICT",
    ports: { 9080: "DISABLE" },
    applied: ["default/own", "istio-system/default"],
  });
  assert.deepEqual(found.authorizationPolicies, [
    { action: "ALLOW", policy: "default/deny-all", isDryRun: false, rules: [] },
  ]);
  assert.deepEqual(found.warnings.slice(1), [
    "PeerAuthentication default/young selects it too and is ignored: default/own is older",
    "PeerAuthentication default/own: portLevelMtls 7070 is no port of its containers",
  ]);
});

const WARNINGS: readonly (readonly [
  what: string,
  parts: readonly Partial<MeshObjects>[],
  host: string,
  warnings: readonly RegExp[],
])[] = [
  ["nothing wrong", [{ destinationRules: [reviewsSubsets()], virtualServices: [split] }], HOST, []],
  [
    "a port without a protocol",
    [
      service({
        name: "odd",
        ports: [{ port: 7000 }],
        pods: [{ name: "odd-1-a", ip: "127.16.0.80" }],
      }),
    ],
    "odd.default.svc.cluster.local",
    [/^port 7000 has no name, which says no protocol: call it http-/],
  ],
  [
    "no pods",
    [service({ name: "idle", ports: [{ port: 80, name: "http" }], pods: [] })],
    "idle.default.svc.cluster.local",
    [/^no pod is behind it$/],
  ],
  [
    "pods that are not ready",
    [
      service({
        name: "late",
        ports: [{ port: 80, name: "http" }],
        pods: [{ name: "late-1-a", ip: "127.16.0.81", isReady: false }],
      }),
    ],
    "late.default.svc.cluster.local",
    [/^none of its pods is ready$/],
  ],
  [
    "routes to a subset that nobody defines",
    [{ virtualServices: [split] }],
    HOST,
    [
      /^no route of VirtualService default\/reviews leads to any of its pods$/,
      /subset v2/,
      /subset v1/,
      /subset v3/,
    ],
  ],
  [
    "subsets without pods",
    [
      {
        destinationRules: [
          destinationRule(
            { name: "reviews" },
            { host: "reviews", subsets: [{ name: "v9", labels: { version: "v9" } }] },
          ),
        ],
      },
    ],
    HOST,
    [/^DestinationRule default\/reviews: no subset has pods$/],
  ],
];

for (const [what, parts, host, warnings] of WARNINGS) {
  test(`a service with ${what}`, () => {
    const found = serviceOf(mesh(bookinfo(), ...parts), host).warnings;
    assert.equal(found.length, warnings.length, found.join("\n"));
    for (const [i, pattern] of warnings.entries()) assert.match(found[i] ?? "", pattern);
  });
}

test("a pod outside of the mesh, of no service, without the labels that name it", () => {
  const lone = service({
    name: "x",
    ports: [],
    pods: [{ name: "lone", ip: "127.16.0.82", hasSidecar: false }],
  });
  const found = podOf(mesh(bookinfo(), lone), "default/lone");
  assert.deepEqual(
    found.warnings.map((text) => text.split(":")[0]),
    [
      "it is not part of the mesh (no sidecar)",
      "it is not ready",
      "it has no label app",
      "it has no label version",
      "no Service leads to it",
    ],
  );
});

test("where a service is exposed, by which Gateway, and why it is not", () => {
  const ingress = service({
    name: "ingress",
    namespace: "istio-system",
    ports: [
      { port: 80, name: "http" },
      { port: 443, name: "https" },
    ],
    pods: [
      {
        name: "ingress-1-a",
        namespace: "istio-system",
        ip: "127.16.0.99",
        labels: { istio: "ingressgateway" },
      },
    ],
  });
  const server = (number: number, protocol: string, host: string) => ({
    port: { number, name: `${protocol}-${number}`, protocol },
    hosts: [host],
    ...(protocol === "HTTPS" ? { tls: { mode: "SIMPLE", credentialName: "c" } } : {}),
  });
  const objects = mesh(bookinfo(), ingress, {
    gateways: [
      gateway(
        { name: "own" },
        {
          selector: { istio: "ingressgateway" },
          servers: [server(80, "HTTP", "*"), server(443, "HTTPS", "shop.example.com")],
        },
      ),
      gateway(
        { name: "lost" },
        { selector: { istio: "nobody" }, servers: [server(80, "HTTP", "*")] },
      ),
    ],
    virtualServices: [
      virtualService(
        { name: "shop" },
        {
          hosts: ["shop.example.com"],
          gateways: ["own", "lost"],
          http: [
            {
              match: [{ uri: { exact: "/reviews" } }],
              route: [{ destination: { host: "reviews" } }],
            },
            { route: [{ destination: { host: "productpage" } }] },
          ],
        },
      ),
    ],
  });
  const model = modelOf(objects);
  const reviews = model.serviceByHost.get(HOST);
  assert.ok(reviews !== undefined);
  const addresses = (name: string) =>
    name === "istio-system/ingress" ? [{ host: "192.0.2.7", ports: new Map([[443, 8443]]) }] : [];
  const found = describeIngress(model, leadsTo(model, reviews, undefined), addresses);
  assert.deepEqual(found, [
    {
      gateway: "default/lost",
      virtualService: "default/shop",
      urls: [],
      matches: ["path is /reviews"],
      warnings: ["no pod has the labels that the Gateway selects"],
    },
    {
      gateway: "default/own",
      virtualService: "default/shop",
      urls: [
        "http://192.0.2.7 (Host: shop.example.com)",
        "https://192.0.2.7:8443 (Host: shop.example.com)",
      ],
      matches: ["path is /reviews"],
      warnings: [],
    },
  ]);
  assert.deepEqual(
    describeIngress(model, leadsTo(model, reviews, undefined), () => [])[1]?.warnings,
    ["no Service of the gateway's pods has an address outside of the cluster"],
  );
});
