import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../../src/mesh/core/model.ts";
import { destinationRulesFor } from "../../../../src/mesh/core/model-destination-rules.ts";
import { mutualTlsModeOf } from "../../../../src/mesh/core/model-peer-authentication.ts";
import { protocolOf } from "../../../../src/mesh/core/model-protocol.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  peerAuthentication,
  reviewsSubsets,
  service,
  virtualService,
} from "../support/objects.ts";

const build = (objects: MeshObjects) =>
  buildModel(objects, { trustDomain: "cluster.local", rootNamespace: "istio-system" });
const REVIEWS = "reviews.default.svc.cluster.local";

test("joins services with the pods behind them", () => {
  const model = build(bookinfo());
  const reviews = model.serviceByHost.get(REVIEWS);
  assert.ok(reviews);
  assert.deepEqual(
    reviews.ports[0]?.endpoints.map(({ address, port, workload }) => [
      address,
      port,
      workload?.workloadName,
      workload?.canonicalService,
      workload?.canonicalRevision,
      workload?.serviceAccount,
      workload?.hasSidecar,
    ]),
    [
      ["127.16.0.3", 9080, "reviews-v1", "reviews", "v1", "bookinfo-reviews", true],
      ["127.16.0.4", 9080, "reviews-v2", "reviews", "v2", "bookinfo-reviews", true],
      ["127.16.0.5", 9080, "reviews-v3", "reviews", "v3", "bookinfo-reviews", true],
    ],
  );
  assert.deepEqual(reviews.serviceAccounts, [{ namespace: "default", name: "bookinfo-reviews" }]);
  assert.equal(reviews.ports[0]?.protocol, "http");
});

const PROTOCOLS: readonly (readonly [string | undefined, string | undefined, number, string])[] = [
  ["http", undefined, 9080, "http"],
  ["http-web", undefined, 9080, "http"],
  ["HTTP", undefined, 9080, "http"],
  ["http2", undefined, 9080, "http2"],
  ["grpc-api", undefined, 9080, "http2"],
  ["grpc-web", undefined, 9080, "http"],
  ["grpc-web-api", undefined, 9080, "http"],
  ["https", undefined, 443, "tls"],
  ["tls-x", undefined, 443, "tls"],
  ["mongo", undefined, 27017, "tcp"],
  ["tcp", "http", 80, "http"],
  ["http", "tcp", 80, "tcp"],
  [undefined, "kubernetes.io/h2c", 80, "http2"],
  [undefined, "kubernetes.io/ws", 80, "http"],
  ["web", undefined, 80, "auto"],
  [undefined, undefined, 3306, "tcp"],
  [undefined, undefined, 8080, "auto"],
];
for (const [name, appProtocol, number, expected] of PROTOCOLS) {
  test(`port ${number} named ${name} with appProtocol ${appProtocol} speaks ${expected}`, () => {
    assert.equal(protocolOf({ number, transport: "TCP", appProtocol, name }), expected);
  });
}

test("an invalid resource is left out and named, the valid ones stay", () => {
  const model = build(
    mesh(bookinfo(), {
      destinationRules: [reviewsSubsets(), destinationRule({ name: "broken" }, {})],
      virtualServices: [
        virtualService({ name: "broken" }, { hosts: "reviews" }),
        virtualService(
          { name: "regex" },
          {
            hosts: ["productpage"],
            http: [
              {
                match: [{ uri: { regex: "/(unclosed" } }],
                route: [{ destination: { host: "productpage" } }],
              },
            ],
          },
        ),
        virtualService(
          { name: "reviews" },
          { hosts: ["reviews"], http: [{ route: [{ destination: { host: "reviews" } }] }] },
        ),
      ],
    }),
  );
  assert.deepEqual(
    model.virtualServices.map((each) => each.name),
    ["reviews"],
  );
  assert.deepEqual(
    model.destinationRules.map((each) => each.name),
    ["reviews"],
  );
  assert.deepEqual(model.problems.map(({ kind, name }) => `${kind} ${name}`).sort(), [
    "DestinationRule broken",
    "VirtualService broken",
    "VirtualService regex",
  ]);
  const messages = model.problems.map((problem) => problem.message).join("\n");
  assert.match(messages, /spec\.hosts/);
  assert.match(messages, /spec\.http\[0\]\.match\[0\]\.uri\.regex/);
  assert.match(messages, /spec\.host\b/);
});

test("names a subset or a host that does not exist", () => {
  const model = build(
    mesh(bookinfo(), {
      destinationRules: [reviewsSubsets()],
      virtualServices: [
        virtualService(
          { name: "reviews" },
          {
            hosts: ["reviews"],
            http: [
              {
                route: [
                  { destination: { host: "reviews", subset: "v1" }, weight: 50 },
                  { destination: { host: "reviews", subset: "v9" }, weight: 50 },
                ],
                mirror: { host: "nowhere" },
              },
            ],
          },
        ),
      ],
    }),
  );
  const messages = model.problems.map((problem) => problem.message);
  assert.equal(messages.length, 2);
  assert.match(messages.join("\n"), /reviews\.default\.svc\.cluster\.local names subset v9/);
  assert.match(messages.join("\n"), /nowhere\.default\.svc\.cluster\.local is not a service/);
});

test("says which fields do nothing yet", () => {
  const model = build(
    mesh(bookinfo(), {
      destinationRules: [
        destinationRule(
          { name: "pass" },
          {
            host: "reviews",
            trafficPolicy: { loadBalancer: { simple: "PASSTHROUGH" } },
          },
        ),
      ],
      virtualServices: [
        virtualService(
          { name: "tcp" },
          {
            hosts: ["reviews"],
            tcp: [{ route: [{ destination: { host: "reviews" } }] }],
            http: [{ route: [{ destination: { host: "reviews" } }] }],
          },
        ),
      ],
    }),
  );
  const messages = model.problems.map((problem) => `${problem.name}: ${problem.message}`);
  assert.equal(messages.length, 2, messages.join("\n"));
  assert.match(messages[0] ?? "", /^pass: spec\.trafficPolicy\.loadBalancer/);
  assert.match(messages[1] ?? "", /^tcp: spec\.tcp/);
  assert.equal(model.virtualServices.length, 1);
});

test("says which of two VirtualServices of a host counts: the older one", () => {
  const of = (name: string, createdAt: string) =>
    virtualService(
      { name, createdAt },
      { hosts: ["reviews"], http: [{ route: [{ destination: { host: "reviews" } }] }] },
    );
  const model = build(
    mesh(bookinfo(), {
      virtualServices: [of("a-young", "2026-03-01T00:00:00Z"), of("z-old", "2026-02-01T00:00:00Z")],
    }),
  );
  assert.deepEqual(
    model.problems.map((problem) => problem.name),
    ["a-young"],
  );
  assert.match(model.problems[0]?.message ?? "", /default\/z-old/);
});

test("merges the DestinationRules of a host: subsets joined, the oldest policy kept", () => {
  const model = build(
    mesh(bookinfo(), {
      destinationRules: [
        destinationRule(
          { name: "young", createdAt: "2026-03-01T00:00:00Z" },
          {
            host: REVIEWS,
            trafficPolicy: { loadBalancer: { simple: "RANDOM" } },
            subsets: [
              { name: "v1", labels: { version: "other" } },
              { name: "v2", labels: { version: "v2" } },
            ],
          },
        ),
        destinationRule(
          { name: "old", createdAt: "2026-02-01T00:00:00Z" },
          {
            host: "reviews",
            trafficPolicy: { loadBalancer: { simple: "ROUND_ROBIN" } },
            subsets: [{ name: "v1", labels: { version: "v1" } }],
          },
        ),
      ],
    }),
  );
  assert.equal(model.destinationRules.length, 1);
  const [rule] = model.destinationRules;
  assert.equal(rule?.name, "old");
  assert.equal(rule?.trafficPolicy?.loadBalancer?.simple, "ROUND_ROBIN");
  assert.deepEqual(
    rule?.subsets.map(({ name, labels }) => [name, labels?.["version"]]),
    [
      ["v1", "v1"],
      ["v2", "v2"],
    ],
  );
});

test("a client follows its own namespace's rule, then the service's, then the root's", () => {
  const rule = (namespace: string, extra: object = {}) =>
    destinationRule({ name: `in-${namespace}`, namespace }, { host: REVIEWS, ...extra });
  const chosen = (client: string, ...rules: ReturnType<typeof rule>[]) => {
    const model = build(mesh(bookinfo(), { destinationRules: rules }));
    const target = { host: REVIEWS, namespace: "default" };
    return destinationRulesFor(model.destinationRules, client, "istio-system")(target)?.name;
  };
  const all = [rule("istio-system"), rule("default"), rule("shop")];
  assert.equal(chosen("shop", ...all), "in-shop");
  assert.equal(chosen("other", ...all), "in-default");
  assert.equal(chosen("other", rule("istio-system"), rule("shop")), "in-istio-system");
  assert.equal(chosen("other", rule("shop")), undefined);
  assert.equal(chosen("other", rule("default", { exportTo: ["."] })), undefined);
  assert.equal(chosen("other", rule("default", { exportTo: ["other"] })), "in-default");
});

test("the exact host of a rule beats a wildcard, and the longer wildcard the shorter", () => {
  const rule = (name: string, host: string) => destinationRule({ name }, { host });
  const chosen = (...rules: ReturnType<typeof rule>[]) => {
    const model = build(mesh(bookinfo(), { destinationRules: rules }));
    const target = { host: REVIEWS, namespace: "default" };
    return destinationRulesFor(model.destinationRules, "default", "istio-system")(target)?.name;
  };
  const wide = rule("wide", "*.cluster.local");
  const near = rule("near", "*.default.svc.cluster.local");
  assert.equal(chosen(wide, near), "near");
  assert.equal(chosen(near, rule("exact", "reviews"), wide), "exact");
  assert.equal(chosen(rule("other", "*.shop.svc.cluster.local")), undefined);
});

interface TlsRow {
  readonly what: string;
  readonly policies: readonly (readonly [namespace: string, spec: object, createdAt?: string])[];
  readonly port?: number;
  readonly mode: string;
}
const SELECT = { selector: { matchLabels: { app: "reviews" } } };
const TLS_ROWS: readonly TlsRow[] = [
  { what: "nothing set", policies: [], mode: "PERMISSIVE" },
  {
    what: "the mesh's policy",
    policies: [["istio-system", { mtls: { mode: "STRICT" } }]],
    mode: "STRICT",
  },
  {
    what: "the namespace over the mesh",
    policies: [
      ["istio-system", { mtls: { mode: "STRICT" } }],
      ["default", { mtls: { mode: "DISABLE" } }],
    ],
    mode: "DISABLE",
  },
  {
    what: "the workload over the namespace",
    policies: [
      ["default", { mtls: { mode: "DISABLE" } }],
      ["default", { ...SELECT, mtls: { mode: "STRICT" } }],
    ],
    mode: "STRICT",
  },
  {
    what: "UNSET inherits",
    policies: [
      ["istio-system", { mtls: { mode: "STRICT" } }],
      ["default", {}],
      ["default", { ...SELECT, mtls: { mode: "UNSET" } }],
    ],
    mode: "STRICT",
  },
  {
    what: "the port over the workload",
    policies: [
      [
        "default",
        { ...SELECT, mtls: { mode: "STRICT" }, portLevelMtls: { 9080: { mode: "DISABLE" } } },
      ],
    ],
    mode: "DISABLE",
  },
  {
    what: "another port's mode does not count",
    policies: [
      [
        "default",
        { ...SELECT, mtls: { mode: "STRICT" }, portLevelMtls: { 9081: { mode: "DISABLE" } } },
      ],
    ],
    mode: "STRICT",
  },
  {
    what: "the oldest of a level",
    policies: [
      ["default", { mtls: { mode: "STRICT" } }, "2026-03-01T00:00:00Z"],
      ["default", { mtls: { mode: "DISABLE" } }, "2026-02-01T00:00:00Z"],
    ],
    mode: "DISABLE",
  },
  {
    what: "another workload's policy",
    policies: [["default", { selector: { matchLabels: { app: "x" } }, mtls: { mode: "STRICT" } }]],
    mode: "PERMISSIVE",
  },
  {
    what: "a selector in the root namespace",
    policies: [["istio-system", { ...SELECT, mtls: { mode: "STRICT" } }]],
    mode: "PERMISSIVE",
  },
];
for (const { what, policies, port = 9080, mode } of TLS_ROWS) {
  test(`mutual TLS by ${what} is ${mode}`, () => {
    const model = build(
      mesh({
        peerAuthentications: policies.map(([namespace, spec, createdAt], i) =>
          peerAuthentication(
            { name: `p${i}`, namespace, ...(createdAt === undefined ? {} : { createdAt }) },
            spec,
          ),
        ),
      }),
    );
    const workload = { namespace: "default", labels: { app: "reviews" } };
    assert.equal(mutualTlsModeOf(model.peerAuthentications, workload, port, "istio-system"), mode);
  });
}

test("garbage in any field of any object never throws", () => {
  const junk = [null, 1, "x", [], {}, [null], { a: [1] }];
  for (const value of junk) {
    const broken = (kind: string) =>
      ["spec", "endpoints", "ports", "addressType"].map((field, i) => ({
        apiVersion: "v1",
        kind,
        metadata: {
          name: `${kind.toLowerCase()}-${i}`,
          namespace: "default",
          labels: { "kubernetes.io/service-name": "reviews" },
        },
        [field]: value,
      }));
    const model = build(
      mesh(bookinfo(), {
        services: broken("Service"),
        endpointSlices: broken("EndpointSlice"),
        pods: broken("Pod"),
        virtualServices: broken("VirtualService"),
        destinationRules: broken("DestinationRule"),
        peerAuthentications: broken("PeerAuthentication"),
      }),
    );
    assert.ok(model.serviceByHost.has(REVIEWS));
  }
});

test("endpoints of several slices are joined, and each address counts once", () => {
  const pods = [
    { name: "a-1-x", ip: "10.0.0.1" },
    { name: "a-1-y", ip: "10.0.0.2", isReady: false },
  ];
  const first = service({ name: "a", ports: [{ port: 80, targetPort: 8080 }], pods });
  const again = service({
    name: "a",
    ports: [{ port: 80, targetPort: 8080 }],
    pods: [{ name: "a-1-y", ip: "10.0.0.2" }],
  });
  const model = build(mesh(first, { endpointSlices: again.endpointSlices ?? [] }));
  assert.deepEqual(
    model.services[0]?.ports[0]?.endpoints.map((e) => [e.address, e.port, e.isReady]),
    [
      ["10.0.0.1", 8080, true],
      ["10.0.0.2", 8080, true],
    ],
  );
});
