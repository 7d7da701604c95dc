import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { analyzeWith, noObjects } from "../../../../src/mesh/index.ts";
import { gatewayApi, kubernetesGateway, namespace, service } from "../support/objects.ts";

const OPTIONS = {
  ...{ rootNamespace: "istio-system", trustDomain: "cluster.local" },
  logger: pino({ level: "silent" }),
  now: "2026-01-01T00:00:00Z",
};
const HTTP = { name: "http", port: 80, protocol: "HTTP" };

/** What is found of Gateway API's objects, with listeners and the spec of a route. */
function found(listeners: readonly object[], route: object): readonly string[] {
  const gateways = kubernetesGateway({ name: "web" }, listeners);
  const objects = [
    namespace("default", { "istio-injection": "enabled" }),
    ...(service({ name: "a", ports: [{ port: 80, name: "http" }], pods: [] }).services ?? []),
    ...(gateways.gatewayClasses ?? []),
    ...(gateways.kubernetesGateways ?? []),
    gatewayApi("HTTPRoute", { name: "r" }, { parentRefs: [{ name: "web" }], ...route }),
  ];
  return analyzeWith(noObjects(), objects, OPTIONS)
    .filter(({ object }) => object.apiVersion.startsWith("gateway.networking.k8s.io/"))
    .map(({ code, object, path, message }) =>
      [code, object.kind, path?.join("."), /\((\w+)\)/.exec(message)?.[1]].join(" "),
    );
}

const to = (name: string) => ({ rules: [{ backendRefs: [{ name, port: 80 }] }] });
const ROWS: readonly (readonly [string, readonly object[], object, readonly string[]])[] = [
  ["nothing", [HTTP], to("a"), []],
  [
    "a backend that is not there",
    [HTTP],
    to("gone"),
    ["IST0101 HTTPRoute spec.rules BackendNotFound"],
  ],
  [
    "a listener that is not there",
    [HTTP],
    { ...to("a"), parentRefs: [{ name: "web", sectionName: "x" }] },
    ["IST0101 HTTPRoute spec.parentRefs NoMatchingParent"],
  ],
  [
    "a hostname that the listener has not",
    [{ ...HTTP, hostname: "a.com" }],
    { ...to("a"), hostnames: ["b.com"] },
    ["IST0133 HTTPRoute spec.parentRefs NoMatchingListenerHostname"],
  ],
  [
    "a certificate that is not there",
    [
      HTTP,
      { name: "tls", port: 443, protocol: "HTTPS", tls: { certificateRefs: [{ name: "gone" }] } },
    ],
    to("a"),
    ["IST0101 Gateway spec.listeners.1 InvalidCertificateRef"],
  ],
];
for (const [what, listeners, route, wanted] of ROWS) {
  test(`analyze finds of Gateway API: ${what}`, () => {
    assert.deepEqual(found(listeners, route), wanted);
  });
}
