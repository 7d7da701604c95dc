import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import pino from "pino";
import { parseAllDocuments } from "yaml";
import type { KubeObject } from "../../../../src/api/index.ts";
import { analyzeWith, MESSAGES, noObjects } from "../../../../src/mesh/index.ts";

const OPTIONS = {
  ...{ rootNamespace: "istio-system", trustDomain: "cluster.local" },
  logger: pino({ level: "silent" }),
  now: "2026-01-01T00:00:00Z",
};

function objectsOf(yaml: string): readonly KubeObject[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object) => object !== null)
    .map((object) => {
      const isWhole = ["Namespace", "Node"].includes(object.kind);
      const place = isWhole ? {} : { namespace: "default" };
      return { ...object, metadata: { ...place, ...object.metadata } };
    });
}

const findings = (yaml: string) => analyzeWith(noObjects(), objectsOf(yaml), OPTIONS);

/** `CODE Kind namespace/name` of everything that is found, sorted. */
function found(yaml: string): readonly string[] {
  return findings(yaml)
    .map(({ code, object }) => {
      const { namespace, name } = object.metadata;
      return `${code} ${object.kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
    })
    .sort();
}

const NETWORKING = "apiVersion: networking.istio.io/v1beta1";
const vs = (name: string, spec: string, namespace = "default"): string =>
  `---\n${NETWORKING}\nkind: VirtualService\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`;
const dr = (name: string, spec: string): string =>
  `---\n${NETWORKING}\nkind: DestinationRule\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const gw = (name: string, spec: string): string =>
  `---\n${NETWORKING}\nkind: Gateway\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const of = (kind: string, name: string, spec: string, namespace = "default"): string => {
  const group = kind === "Sidecar" || kind === "ServiceEntry" ? "networking" : "security";
  return `---\napiVersion: ${group}.istio.io/v1beta1\nkind: ${kind}\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: ${spec}\n`;
};
const telemetry = (name: string, spec: string): string =>
  `---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const service = (name: string, ports: string, more = ""): string =>
  `---\napiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { selector: { app: ${name} }, ports: ${ports}${more} }\n`;
const deployment = (name: string, metadata = "{ labels: { app: web, version: v1 } }", spec = "") =>
  `---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: ${name} }\nspec: { template: { metadata: ${metadata}, spec: { containers: [{ name: app, image: web }] ${spec} } } }\n`;
const namespace = (labels: string): string =>
  `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: default, labels: ${labels} }\n`;
const canary = (name: string, analysis: string): string =>
  `---\napiVersion: serin.dev/v1\nkind: Canary\nmetadata: { name: ${name} }\nspec: { targetRef: { apiVersion: apps/v1, kind: Deployment, name: web }, service: { port: 80 }, analysis: ${analysis} }\n`;
const pod = (labels: string, containers = "{ name: app, image: web }", spec = ""): string =>
  `---\napiVersion: v1\nkind: Pod\nmetadata: { name: web-1, labels: ${labels} }\nspec: { containers: [${containers}] ${spec} }\n`;

const ENABLED = namespace("{ istio-injection: enabled }");
const WEB = service("web", "[{ name: http, port: 80 }]") + deployment("web");
const TO_WEB = "http: [{ route: [{ destination: { host: web } }] }]";
const CHECKS = "metrics: [{ name: request-success-rate, thresholdRange: { min: 99 } }]";
const STEPS = "interval: 10s, threshold: 2, stepWeight: 10";

const HEALTHY = `${ENABLED}${WEB}${vs("web", `{ hosts: [web], http: [{ match: [{ uri: { prefix: /a } }], route: [{ destination: { host: web, subset: v1 } }] }, { route: [{ destination: { host: web } }] }] }`)}
${dr("web", "{ host: web, subsets: [{ name: v1, labels: { version: v1 } }], trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3 } } }")}
${of("PeerAuthentication", "default", "{ mtls: { mode: STRICT } }")}
${of("AuthorizationPolicy", "web", "{ selector: { matchLabels: { app: web } }, rules: [{ from: [{ source: { namespaces: [default] } }] }] }")}
${canary("web", `{ ${STEPS}, ${CHECKS} }`)}`;

test("a sound configuration has no findings", () => {
  assert.deepEqual(findings(HEALTHY), []);
});

test("a sidecar in a cluster finds nothing either way when its annotations are known", () => {
  const annotations =
    '{ labels: { app: web }, annotations: { sidecar.istio.io/proxyCPU: 200m, traffic.sidecar.istio.io/excludeOutboundPorts: "3306,9042", traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/8 } }';
  assert.deepEqual(found(ENABLED + deployment("web", annotations)), []);
});

type Row = readonly [what: string, yaml: string, expected: readonly string[]];
const ROWS: readonly Row[] = [
  [
    "a route to nobody",
    vs("web", `{ hosts: [web], ${TO_WEB} }`),
    ["IST0101 VirtualService default/web"],
  ],
  [
    "a subset that no rule defines",
    ENABLED +
      WEB +
      vs(
        "web",
        "{ hosts: [web], http: [{ route: [{ destination: { host: web, subset: v9 } }] }] }",
      ),
    ["IST0101 VirtualService default/web"],
  ],
  [
    "a gateway that there is not",
    ENABLED + WEB + vs("web", `{ hosts: [shop.example.com], gateways: [edge], ${TO_WEB} }`),
    ["IST0101 VirtualService default/web"],
  ],
  [
    "a delegate that there is not",
    vs(
      "web",
      "{ hosts: [web], http: [{ match: [{ uri: { prefix: /a } }], delegate: { name: other } }] }",
    ),
    ["IST0101 VirtualService default/web", "SRN0009 VirtualService default/web"],
  ],
  [
    "a gateway for no pod",
    gw(
      "edge",
      '{ selector: { istio: edge }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }] }',
    ),
    ["IST0101 Gateway default/edge"],
  ],
  [
    "a namespace in a policy that there is not",
    ENABLED +
      of(
        "AuthorizationPolicy",
        "web",
        "{ action: DENY, rules: [{ from: [{ source: { namespaces: [nowhere] } }] }] }",
      ),
    ["IST0101 AuthorizationPolicy default/web"],
  ],
  [
    "a canary of nothing, with a metric of nothing",
    canary(
      "web",
      `{ ${STEPS}, metrics: [{ name: m, templateRef: { name: lost } }], alerts: [{ name: a, providerRef: { name: lost } }] }`,
    ),
    Array.from({ length: 3 }, () => "IST0101 Canary default/web"),
  ],
  ["a namespace that says nothing", namespace("{}"), ["IST0102 Namespace default"]],
  [
    "a namespace with both labels",
    namespace("{ istio-injection: enabled, istio.io/rev: default }"),
    ["IST0123 Namespace default"],
  ],
  ["a pod from before", ENABLED + pod("{ app: web }"), ["IST0103 Pod default/web-1"]],
  [
    "a pod with a sidecar",
    ENABLED + pod("{ app: web }", "{ name: istio-proxy, image: proxy }"),
    [],
  ],
  ["a pod that refuses", ENABLED + pod('{ sidecar.istio.io/inject: "false" }'), []],
  [
    "an application that runs as the sidecar",
    ENABLED + deployment("web", undefined, ", securityContext: { runAsUser: 1337 }"),
    ["IST0144 Deployment default/web"],
  ],
  [
    "an image that nobody injects",
    namespace("{ istio-injection: disabled }") +
      deployment("web").replace("name: app, image: web", "name: istio-proxy, image: auto"),
    ["IST0146 Deployment default/web"],
  ],
  [
    "an unknown field",
    vs("web", `{ hosts: [web], htp: [] }`),
    Array.from({ length: 2 }, () => "IST0106 VirtualService default/web"),
  ],
  [
    "a field that does nothing",
    ENABLED +
      WEB +
      dr("web", "{ host: web, trafficPolicy: { tunnel: { targetHost: a, targetPort: 80 } } }"),
    ["IST0133 DestinationRule default/web"],
  ],
  [
    "annotations: misplaced, unknown, impossible",
    ENABLED +
      deployment(
        "web",
        '{ annotations: { sidecar.istio.io/proxyCPU: much, sidecar.istio.io/proxyCpus: "1" } }',
      ).replace(
        "metadata: { name: web }",
        'metadata: { name: web, annotations: { sidecar.istio.io/inject: "true" } }',
      ),
    [
      "IST0107 Deployment default/web",
      "IST0108 Deployment default/web",
      "IST0125 Deployment default/web",
    ],
  ],
  [
    "one host twice on sidecars",
    ENABLED + WEB + vs("a", `{ hosts: [web], ${TO_WEB} }`) + vs("b", `{ hosts: [web], ${TO_WEB} }`),
    ["IST0109 VirtualService default/a", "IST0109 VirtualService default/b"],
  ],
  [
    "one host twice, each for its own namespace",
    ENABLED +
      WEB +
      vs("a", `{ hosts: [x.example.com], exportTo: ["."], http: [{ redirect: { uri: / } }] }`) +
      vs(
        "b",
        `{ hosts: [x.example.com], exportTo: ["."], http: [{ redirect: { uri: / } }] }`,
        "other",
      ),
    [],
  ],
  [
    "Sidecars for the same workloads",
    ENABLED +
      deployment("web") +
      ["a", "b"].map((name) => of("Sidecar", name, '{ egress: [{ hosts: ["./*"] }] }')).join("") +
      ["c", "d"]
        .map((name) =>
          of(
            "Sidecar",
            name,
            '{ workloadSelector: { labels: { app: web } }, egress: [{ hosts: ["./*"] }] }',
          ),
        )
        .join(""),
    [
      "IST0110 Sidecar default/c",
      "IST0110 Sidecar default/d",
      "IST0111 Sidecar default/a",
      "IST0111 Sidecar default/b",
    ],
  ],
  [
    "Telemetries for the same workloads, without providers",
    ENABLED +
      deployment("web") +
      ["a", "b"]
        .map((name) => telemetry(name, "{ tracing: [{ randomSamplingPercentage: 1 }] }"))
        .join("") +
      ["c", "d"]
        .map((name) =>
          telemetry(
            name,
            "{ selector: { matchLabels: { app: web } }, tracing: [{ providers: [] }] }",
          ),
        )
        .join(""),
    [
      "IST0157 Telemetry default/c",
      "IST0157 Telemetry default/d",
      "IST0159 Telemetry default/c",
      "IST0159 Telemetry default/d",
      "IST0160 Telemetry default/a",
      "IST0160 Telemetry default/b",
    ],
  ],
  [
    "policies for nobody",
    ["PeerAuthentication", "RequestAuthentication"]
      .map((kind) => of(kind, "x", "{ selector: { matchLabels: { app: lost } } }"))
      .join(""),
    ["IST0127 PeerAuthentication default/x", "IST0127 RequestAuthentication default/x"],
  ],
  [
    "a service of two ports, and a route to neither",
    ENABLED +
      service("web", "[{ name: http, port: 80 }, { name: http-admin, port: 81 }]") +
      deployment("web") +
      vs("web", `{ hosts: [web], ${TO_WEB} }`),
    ["IST0112 VirtualService default/web"],
  ],
  [
    "a rule after one that takes everything, a repeated match, a repeated rule",
    ENABLED +
      WEB +
      vs(
        "web",
        `{ hosts: [web], http: [
        { match: [{ uri: { prefix: /a } }], route: [{ destination: { host: web } }] },
        { match: [{ uri: { prefix: /a } }, { uri: { prefix: /b } }], route: [{ destination: { host: web } }] },
        { match: [{ name: again, uri: { prefix: /b } }], route: [{ destination: { host: web } }] },
        { match: [{ uri: { prefix: / } }], route: [{ destination: { host: web } }] },
        { route: [{ destination: { host: web } }] } ] }`,
      ),
    [
      "IST0130 VirtualService default/web",
      "IST0130 VirtualService default/web",
      "IST0131 VirtualService default/web",
    ],
  ],
  [
    "a host that the gateway does not take",
    ENABLED +
      WEB +
      gw(
        "edge",
        "{ servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: [a.example.com] }] }",
      ) +
      vs("web", `{ hosts: [b.example.com], gateways: [edge], ${TO_WEB} }`),
    ["IST0132 VirtualService default/web"],
  ],
  [
    "gateways in each other's way, on a port that nobody leads to",
    ENABLED +
      service("edge", "[{ name: https, port: 443 }]") +
      deployment("edge", "{ labels: { app: edge } }") +
      ["a", "b"]
        .map((name) =>
          gw(
            name,
            '{ selector: { app: edge }, servers: [{ port: { number: 8443, name: https, protocol: HTTPS }, hosts: ["*"], tls: { mode: SIMPLE, credentialName: cert } }] }',
          ),
        )
        .join(""),
    ["a", "b"]
      .flatMap((name) =>
        ["IST0138", "IST0145", "IST0162"].map((code) => `${code} Gateway default/${name}`),
      )
      .sort(),
  ],
  [
    "ports that say no protocol",
    ENABLED +
      service("web", "[{ name: main, port: 80 }]") +
      deployment("web") +
      service(
        "out",
        "[{ name: main, port: 80 }]",
        ", type: ExternalName, externalName: example.com",
      ),
    ["IST0118 Service default/web", "IST0150 Service default/out"],
  ],
  [
    "services that take one port for different things",
    ENABLED + WEB + service("other", "[{ name: tcp, port: 80 }]").replace("app: other", "app: web"),
    ["IST0116 Deployment default/web"],
  ],
  [
    "services that lead to one port from different ones",
    ENABLED +
      service("web", "[{ name: http, port: 80, targetPort: 8080 }]") +
      service("other", "[{ name: http, port: 81, targetPort: 8080 }]").replace(
        "app: other",
        "app: web",
      ) +
      deployment("web"),
    ["IST0137 Deployment default/web"],
  ],
  [
    "a TCP port that has no address",
    of(
      "ServiceEntry",
      "db",
      "{ hosts: [db.example.com], ports: [{ number: 5432, name: tcp, protocol: TCP }], resolution: DNS }",
    ),
    ["IST0134 ServiceEntry default/db"],
  ],
  [
    "a rule for nobody, with TLS that verifies nobody",
    dr(
      "out",
      "{ host: api.example.com, trafficPolicy: { tls: { mode: SIMPLE }, portLevelSettings: [{ port: { number: 443 }, tls: { mode: SIMPLE } }] } }",
    ),
    [
      "IST0128 DestinationRule default/out",
      "IST0129 DestinationRule default/out",
      "IST0174 DestinationRule default/out",
    ],
  ],
  [
    "a subset without pods, and plain text to servers that refuse it",
    ENABLED +
      WEB +
      of("PeerAuthentication", "default", "{ mtls: { mode: STRICT } }") +
      dr(
        "web",
        "{ host: web, subsets: [{ name: v9, labels: { version: v9 } }], trafficPolicy: { tls: { mode: DISABLE } } }",
      ),
    ["IST0113 DestinationRule default/web", "IST0173 DestinationRule default/web"],
  ],
  [
    "what reads well and does nothing, in routes",
    ENABLED +
      WEB +
      service("x", "[{ name: http, port: 80 }]") +
      vs(
        "web",
        `{ hosts: [web], http: [{ match: [{ headers: { uri: { exact: /a } } }], fault: { abort: { httpStatus: 503 } }, mirror: { host: x }, mirrorPercentage: { value: 0 },
         route: [{ destination: { host: web }, weight: 100 }, { destination: { host: x } }] }] }`,
      ),
    ["SRN0003", "SRN0006", "SRN0007", "SRN0008"].map(
      (code) => `${code} VirtualService default/web`,
    ),
  ],
  [
    "the textbook's consecutiveErrors",
    ENABLED +
      WEB +
      dr("web", "{ host: web, trafficPolicy: { outlierDetection: { consecutiveErrors: 5 } } }"),
    ["SRN0001 DestinationRule default/web"],
  ],
  [
    "a selector in the root namespace",
    of("PeerAuthentication", "x", "{ selector: { matchLabels: { app: web } } }", "istio-system") +
      pod("{ app: web }").replace("name: web-1", "name: web-1, namespace: istio-system"),
    ["SRN0004 PeerAuthentication istio-system/x"],
  ],
  [
    "a policy that denies everything",
    of("AuthorizationPolicy", "none", "{}"),
    ["SRN0005 AuthorizationPolicy default/none"],
  ],
  [
    "identities that callers in plain text have not",
    ENABLED +
      pod("{ app: web }", "{ name: istio-proxy, image: proxy }") +
      of("AuthorizationPolicy", "x", "{ rules: [{ from: [{ source: { principals: [a] } }] }] }"),
    ["SRN0010 AuthorizationPolicy default/x"],
  ],
  [
    "two canaries of one target, that check nothing",
    ENABLED + WEB + canary("a", `{ ${STEPS} }`) + canary("b", `{ ${STEPS} }`),
    ["a", "b"]
      .flatMap((name) => [`SRN0021 Canary default/${name}`, `SRN0022 Canary default/${name}`])
      .sort(),
  ],
  [
    "a canary outside of the mesh",
    namespace("{ istio-injection: disabled }") + WEB + canary("web", `{ ${STEPS}, ${CHECKS} }`),
    ["SRN0023 Canary default/web"],
  ],
  [
    "a canary that failed",
    `${ENABLED}${WEB}${canary("web", `{ ${STEPS}, ${CHECKS} }`)}status: { phase: Failed, message: too slow }\n`,
    ["SRN0024 Canary default/web"],
  ],
];

for (const [what, yaml, expected] of ROWS) {
  test(`found: ${what}`, () => {
    assert.deepEqual(found(yaml), [...expected].sort());
  });
}

test("a cap that ejects nobody is found by the endpoints that there are", () => {
  const endpoints = `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 80 }]
endpoints: [{ addresses: [10.0.0.1] }, { addresses: [10.0.0.2] }]
`;
  const rule = (percent: string): string =>
    dr(
      "web",
      `{ host: web, trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3 ${percent} } } }`,
    );
  const all = (percent: string): readonly string[] =>
    found(ENABLED + WEB + endpoints + rule(percent));
  assert.deepEqual(all(""), ["SRN0002 DestinationRule default/web"]);
  assert.deepEqual(all(", maxEjectionPercent: 50"), []);
});

test("every code is found by some row", () => {
  const known = new Set(ROWS.flatMap(([, , expected]) => expected.map((each) => each.slice(0, 7))));
  const elsewhere = ["SRN0002"];
  const missing = Object.keys(MESSAGES).filter(
    (code) => !known.has(code) && !elsewhere.includes(code),
  );
  assert.deepEqual(missing, []);
});

test("a resource says by annotation what is not to be reported of it", () => {
  const annotated = (codes: string): string =>
    of("AuthorizationPolicy", "none", "{}").replace(
      "name: none,",
      `name: none, annotations: { galley.istio.io/analyze-suppress: "${codes}" },`,
    );
  assert.deepEqual(found(annotated("IST0127, SRN0005")), []);
  assert.deepEqual(found(annotated("*")), []);
  assert.equal(found(annotated("IST0127")).length, 1);
});

test("the order of the objects does not matter", () => {
  const objects = ROWS.flatMap(([, yaml], i) =>
    objectsOf(yaml).map((object) =>
      // Every row in a namespace of its own, and all of the same age.
      object.kind === "Namespace"
        ? { ...object, metadata: { ...object.metadata, name: `row-${i}` } }
        : { ...object, metadata: { ...object.metadata, namespace: `row-${i}` } },
    ),
  );
  const texts = (list: readonly KubeObject[]): readonly string[] =>
    analyzeWith(noObjects(), list, OPTIONS).map(({ code, message }) => `${code} ${message}`);
  const expected = texts(objects);
  fc.assert(
    fc.property(fc.shuffledSubarray([...objects], { minLength: objects.length }), (shuffled) => {
      assert.deepEqual(texts(shuffled), expected);
    }),
    { numRuns: 5 },
  );
});

test("objects of any shape are never more than findings", () => {
  const kinds = ["VirtualService", "DestinationRule", "Gateway", "Service", "Pod", "Deployment"];
  const apis: Readonly<Record<string, string>> = {
    Service: "v1",
    Pod: "v1",
    Deployment: "apps/v1",
  };
  const any = fc.record({ kind: fc.constantFrom(...kinds), spec: fc.jsonValue() });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 4 }), (values) => {
      const objects = values.map(({ kind, spec }, i) => ({
        apiVersion: apis[kind] ?? "networking.istio.io/v1beta1",
        kind,
        metadata: { name: `x-${i}`, namespace: "default" },
        spec,
      }));
      analyzeWith(noObjects(), objects, OPTIONS);
    }),
    { numRuns: 200 },
  );
});
