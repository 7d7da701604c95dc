import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import {
  type KubeObject,
  nearestOf,
  parseAlertProvider,
  parseCanary,
  parseDestinationRule,
  parseGateway,
  parseMetricTemplate,
  parsePeerAuthentication,
  parseVirtualService,
} from "../../src/api/index.ts";

const object = (kind: string, spec: unknown): KubeObject => ({
  apiVersion: "v1",
  kind,
  metadata: { namespace: "shop", name: "cart" },
  spec,
});

const PARSERS: Readonly<Record<string, (object: KubeObject) => unknown>> = {
  VirtualService: parseVirtualService,
  DestinationRule: parseDestinationRule,
  Gateway: parseGateway,
  PeerAuthentication: parsePeerAuthentication,
  Canary: parseCanary,
  MetricTemplate: parseMetricTemplate,
  AlertProvider: parseAlertProvider,
};

const route = (...weights: (number | undefined)[]) => ({
  route: weights.map((weight, i) => ({
    destination: { host: `v${i}` },
    ...(weight === undefined ? {} : { weight }),
  })),
});
const canary = (analysis: object = {}, more: object = {}) => ({
  targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "cart" },
  service: { port: 9080 },
  analysis: { interval: "5s", threshold: 2, stepWeights: [10, 50], ...analysis },
  ...more,
});

/** [kind, spec, every path that must be named, in order, with what is said of it] */
const BROKEN: readonly (readonly [string, string, unknown, readonly RegExp[]])[] = [
  [
    "a weight below 0",
    "VirtualService",
    { hosts: ["a"], http: [route(-1)] },
    [/spec\.http\[0\]\.route\[0\]\.weight: .*0 \(found -1\)/],
  ],
  [
    "several faults at once",
    "VirtualService",
    { hosts: [5], htp: [], http: [{ route: [{ destination: {} }], timeout: "soon" }] },
    [
      /spec\.hosts\[0\]: .*string.*\(found 5\)/,
      /spec\.http\[0\]\.route\[0\]\.destination\.host/,
      /spec\.http\[0\]\.timeout: must be a duration such as 1s or 500ms \(found "soon"\)/,
      /spec\.htp: unknown field, did you mean http\?/,
    ],
  ],
  [
    "an unknown field deep inside",
    "VirtualService",
    { hosts: ["a"], http: [{ ...route(1), retries: { attemps: 3 } }] },
    [/spec\.http\[0\]\.retries\.attemps: unknown field, did you mean attempts\?/],
  ],
  [
    "weights of nothing",
    "VirtualService",
    { hosts: ["a"], http: [route(0, 0)] },
    [/spec\.http\[0\]\.route: total destination weight must be more than 0/],
  ],
  [
    "a route to nowhere",
    "VirtualService",
    { hosts: ["a"], http: [{}] },
    [/spec\.http\[0\]: HTTP route must have/],
  ],
  [
    "two kinds of match",
    "VirtualService",
    { hosts: ["a"], http: [{ match: [{ uri: { exact: "/", prefix: "/" } }], ...route(1) }] },
    [/spec\.http\[0\]\.match\[0\]\.uri: must set only one of/],
  ],
  ["no host", "DestinationRule", {}, [/spec\.host/]],
  [
    "a subset twice",
    "DestinationRule",
    { host: "a", subsets: [{ name: "v1" }, { name: "v1" }] },
    [/spec\.subsets\[1\]\.name: duplicate subset name v1/],
  ],
  [
    "a percentage of too much",
    "DestinationRule",
    { host: "a", trafficPolicy: { outlierDetection: { maxEjectionPercent: 101, interval: "0s" } } },
    [
      /outlierDetection\.interval: must be 1ms or more/,
      /outlierDetection\.maxEjectionPercent: .*\(found 101\)/,
    ],
  ],
  [
    "a mode that is none",
    "PeerAuthentication",
    { mtls: { mode: "STRIKT" } },
    [/spec\.mtls\.mode: .*\(found "STRIKT"\)/],
  ],
  [
    "ports without a workload",
    "PeerAuthentication",
    { portLevelMtls: { "80": { mode: "DISABLE" } } },
    [/spec\.portLevelMtls: needs a selector/],
  ],
  [
    "a server without hosts",
    "Gateway",
    { servers: [{ port: { number: 80, protocol: "HTTP" }, hosts: [] }] },
    [/spec\.servers\[0\]\.hosts/],
  ],
  ["no target", "Canary", { service: { port: 80 }, analysis: {} }, [/spec\.targetRef/]],
  [
    "two ladders",
    "Canary",
    canary({ stepWeight: 10 }),
    [/spec\.analysis\.stepWeights: must set only one of/],
  ],
  [
    "no ladder",
    "Canary",
    canary({ stepWeights: undefined }),
    [/spec\.analysis: must set one of iterations, stepWeight, stepWeights/],
  ],
  [
    "no threshold, no API version of the target",
    "Canary",
    canary({ threshold: undefined }, { targetRef: { kind: "Deployment", name: "cart" } }),
    [/spec\.targetRef\.apiVersion/, /spec\.analysis\.threshold/],
  ],
  [
    "an interval that is none",
    "Canary",
    canary({ interval: "soon" }),
    [/spec\.analysis\.interval: must be a duration/],
  ],
  [
    "a provider nobody knows",
    "MetricTemplate",
    { provider: { type: "promethius" }, query: "up" },
    [/spec\.provider\.type/],
  ],
  [
    "an alert to nowhere",
    "AlertProvider",
    { type: "slack" },
    [/spec: must set address or secretRef/],
  ],
];
for (const [name, kind, spec, paths] of BROKEN) {
  test(`${kind}: ${name} is refused by path`, () => {
    assert.throws(
      () => PARSERS[kind]?.(object(kind, spec)),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "SERIN_INVALID_RESOURCE");
        assert.match(error.message, new RegExp(`^${kind} shop/cart: `));
        for (const path of paths) assert.match(error.message, path);
        return true;
      },
    );
  });
}

test("Canary: what Flagger takes is taken", () => {
  for (const each of [
    canary({ stepWeights: [50, 10] }),
    canary({ interval: "500ms" }),
    canary({ interval: "1m30s", stepWeights: undefined, iterations: 3 }),
    canary({}, { service: undefined }),
  ]) {
    parseCanary(object("Canary", each));
  }
});

const examples = new URL("../../examples/", import.meta.url);
const files = ["bookinfo", "bookinfo/networking", "canaries"].flatMap((folder) =>
  readdirSync(new URL(folder, examples))
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => `${folder}/${name}`),
);
for (const file of files) {
  test(`examples/${file} is valid`, () => {
    for (const each of documents(readFileSync(new URL(file, examples), "utf8"))) {
      PARSERS[each.kind]?.(each);
    }
  });
}

test("the nearest name is one that a slip of the finger explains", () => {
  const known = ["stepWeight", "stepWeights", "maxWeight", "threshold"];
  assert.equal(nearestOf("stepWieght", known), "stepWeight");
  assert.equal(nearestOf("treshold", known), "threshold");
  assert.equal(nearestOf("banana", known), undefined);
});

function documents(text: string): readonly KubeObject[] {
  return parseAllDocuments(text).map((document) => document.toJS() as KubeObject);
}
