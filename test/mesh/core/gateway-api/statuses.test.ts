import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusBody } from "../../../../src/mesh/core/gateway-api/wanted-status.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import {
  gatewayApi,
  kubernetesGateway,
  mesh,
  namespace,
  secret,
  service,
} from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

const A = service({ name: "a", ports: [{ port: 80 }], pods: [] });
const FAR = service({ name: "far", namespace: "other", ports: [{ port: 80 }], pods: [] });
const HTTP = { name: "http", port: 80, protocol: "HTTP" };
const rules = [{ backendRefs: [{ name: "a", port: 80 }] }];
const PAIR = {
  "tls.crt": "-----BEGIN CERTIFICATE-----\n",
  "tls.key": "-----BEGIN PRIVATE KEY-----\n",
};

function bodyOf(objects: MeshObjects, kind: string, name: string): StatusBody | undefined {
  const { statuses } = modelOf(objects).gatewayApi;
  return statuses.find((each) => each.kind === kind && each.name === name)?.body;
}

/** `Type=Status Reason` of every condition. */
const said = (conditions: readonly { type: string; status: string; reason: string }[]) =>
  conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);

/** The conditions of a route's parents. */
function parentsOf(objects: MeshObjects, kind = "HTTPRoute"): readonly (readonly string[])[] {
  const body = bodyOf(objects, kind, "r");
  assert.ok(body?.kind === "route");
  return body.parents.map(({ conditions }) => said(conditions));
}

const GOOD = ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"];
const refused = (reason: string) => [`Accepted=False ${reason}`, GOOD[1]];
const unresolved = (reason: string) => [GOOD[0], `ResolvedRefs=False ${reason}`];

interface Case {
  readonly parentRef?: object;
  readonly listeners?: readonly object[];
  readonly route?: object;
  readonly namespace?: string;
  readonly kind?: string;
  readonly more?: Partial<MeshObjects>;
}
const fromOther = (from: string, selector?: object) => ({
  listeners: [{ ...HTTP, allowedRoutes: { namespaces: { from, ...selector } } }],
  namespace: "other",
  parentRef: { namespace: "default" },
  route: { rules: [{ backendRefs: [{ name: "far", port: 80 }] }] },
});
const toFar = { rules: [{ backendRefs: [{ name: "far", namespace: "other", port: 80 }] }] };
const grant = (to: object = {}, from: object = {}) =>
  gatewayApi(
    "ReferenceGrant",
    { name: "g", namespace: "other" },
    {
      from: [
        { group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "default", ...from },
      ],
      to: [{ group: "", kind: "Service", ...to }],
    },
  );
const backend = (ref: object) => ({ route: { rules: [{ backendRefs: [ref] }] } });
const CASES: readonly (readonly [string, Case, readonly (string | undefined)[]])[] = [
  ["attached", {}, GOOD],
  ["by section", { parentRef: { sectionName: "http" } }, GOOD],
  ["a section that is not there", { parentRef: { sectionName: "x" } }, refused("NoMatchingParent")],
  ["a port", { parentRef: { port: 80 } }, GOOD],
  ["a port that is not there", { parentRef: { port: 81 } }, refused("NoMatchingParent")],
  ["another namespace", fromOther("Same"), refused("NotAllowedByListeners")],
  ["another namespace, all allowed", fromOther("All"), GOOD],
  [
    "another namespace, by its labels",
    fromOther("Selector", { selector: { matchLabels: { team: "x" } } }),
    GOOD,
  ],
  [
    "another namespace, other labels",
    fromOther("Selector", { selector: { matchLabels: { team: "y" } } }),
    refused("NotAllowedByListeners"),
  ],
  [
    "a kind that the listener does not take",
    { listeners: [{ ...HTTP, allowedRoutes: { kinds: [{ kind: "GRPCRoute" }] } }] },
    refused("NotAllowedByListeners"),
  ],
  [
    "a kind that the protocol does not take",
    { kind: "TCPRoute" },
    refused("NotAllowedByListeners"),
  ],
  ["TCP", { kind: "TCPRoute", listeners: [{ ...HTTP, protocol: "TCP" }] }, GOOD],
  [
    "no common hostname",
    { listeners: [{ ...HTTP, hostname: "a.com" }], route: { hostnames: ["b.com"], rules } },
    refused("NoMatchingListenerHostname"),
  ],
  ["a backend that is not there", backend({ name: "x", port: 80 }), unresolved("BackendNotFound")],
  ["a port that it has not", backend({ name: "a", port: 8 }), unresolved("BackendNotFound")],
  [
    "a backend of another kind",
    backend({ group: "x.io", kind: "Bucket", name: "b" }),
    unresolved("InvalidKind"),
  ],
  [
    "an unsupported filter",
    {
      route: {
        rules: [
          {
            filters: [
              { type: "ExtensionRef", extensionRef: { group: "x.io", kind: "K", name: "n" } },
            ],
          },
        ],
      },
    },
    unresolved("UnsupportedValue"),
  ],
  [
    "a backend that is not there, of a route that is not attached",
    { ...backend({ name: "x", port: 80 }), parentRef: { sectionName: "x" } },
    ["Accepted=False NoMatchingParent", "ResolvedRefs=False BackendNotFound"],
  ],
  ["a foreign backend", { route: toFar }, unresolved("RefNotPermitted")],
  ["a granted one", { route: toFar, more: { referenceGrants: [grant()] } }, GOOD],
  [
    "one granted by name",
    { route: toFar, more: { referenceGrants: [grant({ name: "far" })] } },
    GOOD,
  ],
  [
    "another one granted",
    { route: toFar, more: { referenceGrants: [grant({ name: "x" })] } },
    unresolved("RefNotPermitted"),
  ],
  [
    "granted to another namespace",
    { route: toFar, more: { referenceGrants: [grant({}, { namespace: "third" })] } },
    unresolved("RefNotPermitted"),
  ],
  [
    "granted to another kind",
    { route: toFar, more: { referenceGrants: [grant({}, { kind: "GRPCRoute" })] } },
    unresolved("RefNotPermitted"),
  ],
  ["a Service", { parentRef: { group: "", kind: "Service", name: "a" } }, GOOD],
  [
    "a Service's route needs no grants",
    { parentRef: { group: "", kind: "Service", name: "a" }, route: toFar },
    GOOD,
  ],
  [
    "a Service that is not there",
    { parentRef: { group: "", kind: "Service", name: "x" } },
    refused("NoMatchingParent"),
  ],
  [
    "a Service's port that is not there",
    { parentRef: { group: "", kind: "Service", name: "a", port: 8 } },
    refused("NoMatchingParent"),
  ],
];
const FIELD = { HTTPRoute: "httpRoutes", TCPRoute: "tcpRoutes" } as const;
for (const [name, each, wanted] of CASES) {
  test(`a route's parent: ${name}`, () => {
    const { kind = "HTTPRoute", namespace: own = "default" } = each;
    const spec = { parentRefs: [{ name: "web", ...each.parentRef }], rules, ...each.route };
    const objects = mesh(
      ...[A, FAR, { namespaces: [namespace("default"), namespace("other", { team: "x" })] }],
      kubernetesGateway({ name: "web" }, each.listeners ?? [HTTP]),
      {
        [FIELD[kind as keyof typeof FIELD]]: [
          gatewayApi(kind, { name: "r", namespace: own }, spec),
        ],
      },
      each.more ?? {},
    );
    assert.deepEqual(parentsOf(objects, kind), [wanted]);
  });
}

test("parents of other controllers are not spoken for", () => {
  const foreign = gatewayApi(
    "Gateway",
    { name: "web" },
    {
      gatewayClassName: "nginx",
      listeners: [HTTP],
    },
  );
  const route = gatewayApi(
    "HTTPRoute",
    { name: "r" },
    {
      parentRefs: [{ name: "web" }, { name: "gone" }, { group: "x.io", kind: "Mesh", name: "m" }],
      rules,
    },
  );
  const objects = mesh(A, { kubernetesGateways: [foreign], httpRoutes: [route] });
  assert.deepEqual(parentsOf(objects), []);
  assert.equal(bodyOf(objects, "Gateway", "web"), undefined);
  const { gateways, virtualServices } = modelOf(objects);
  assert.deepEqual([gateways, virtualServices], [[], []]);
});

const tls = (name: string, certificate: object, more: object = {}) => ({
  name,
  port: 443,
  protocol: "HTTPS",
  hostname: `${name}.com`,
  tls: { certificateRefs: [certificate] },
  ...more,
});
const mutual = (mode: string, name?: string) => ({
  options: { "gateway.istio.io/tls-terminate-mode": mode },
  ...(name === undefined ? {} : { certificateRefs: [{ name }] }),
});
const certificateGrant = gatewayApi(
  "ReferenceGrant",
  { name: "g", namespace: "certs" },
  {
    from: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "default" }],
    to: [{ group: "", kind: "Secret", name: "allowed" }],
  },
);
const SECRETS = [
  secret({ name: "own" }, PAIR),
  secret({ name: "authority" }, { ...PAIR, "ca.crt": PAIR["tls.crt"] }),
  secret({ name: "allowed", namespace: "certs" }, PAIR),
  secret({ name: "refused", namespace: "certs" }, PAIR),
];
const LISTENERS: readonly (readonly [string, readonly object[], readonly string[]])[] = [
  [
    "good",
    [HTTP],
    ["Accepted=True Accepted", "Conflicted=False NoConflicts", "ResolvedRefs=True ResolvedRefs"],
  ],
  [
    "a protocol of another world",
    [{ ...HTTP, protocol: "QUIC" }],
    ["Accepted=False UnsupportedProtocol", "Programmed=False Invalid"],
  ],
  [
    "two protocols on one port",
    [HTTP, { name: "tcp", port: 80, protocol: "TCP" }],
    ["Accepted=False ProtocolConflict", "Conflicted=True ProtocolConflict"],
  ],
  [
    "a kind of route that it cannot take",
    [{ ...HTTP, allowedRoutes: { kinds: [{ kind: "TCPRoute" }] } }],
    ["ResolvedRefs=False InvalidRouteKinds"],
  ],
  ["a certificate", [tls("a", { name: "own" })], ["ResolvedRefs=True ResolvedRefs"]],
  [
    "a certificate that is not there",
    [tls("a", { name: "gone" })],
    [
      "Accepted=True Accepted",
      "ResolvedRefs=False InvalidCertificateRef",
      "Programmed=False Invalid",
    ],
  ],
  [
    "a foreign certificate without a grant",
    [tls("a", { name: "refused", namespace: "certs" })],
    ["ResolvedRefs=False RefNotPermitted"],
  ],
  [
    "a granted one",
    [tls("a", { name: "allowed", namespace: "certs" })],
    ["ResolvedRefs=True ResolvedRefs"],
  ],
  [
    "clients' certificates without an authority",
    [tls("a", { name: "own" }, { tls: mutual("MUTUAL", "own") })],
    ["ResolvedRefs=False InvalidCertificateRef"],
  ],
  [
    "clients' certificates",
    [tls("a", { name: "own" }, { tls: mutual("MUTUAL", "authority") })],
    ["ResolvedRefs=True ResolvedRefs", "Accepted=True Accepted"],
  ],
  [
    "the mesh's own certificates",
    [tls("a", { name: "own" }, { tls: mutual("ISTIO_MUTUAL") })],
    ["ResolvedRefs=True ResolvedRefs"],
  ],
  [
    "passthrough beside HTTPS on one port",
    [
      tls("a", { name: "own" }),
      { name: "pass", port: 443, protocol: "TLS", tls: { mode: "Passthrough" } },
    ],
    ["Accepted=True Accepted", "Conflicted=False NoConflicts"],
  ],
];
for (const [name, listeners, wanted] of LISTENERS) {
  test(`a listener: ${name}`, () => {
    const objects = mesh(kubernetesGateway({ name: "web" }, listeners), {
      secrets: SECRETS,
      referenceGrants: [certificateGrant],
    });
    const body = bodyOf(objects, "Gateway", "web");
    assert.ok(body?.kind === "gateway");
    const found = said(body.listeners[0]?.conditions ?? []);
    for (const each of wanted) assert.ok(found.includes(each), `${each} in ${found}`);
  });
}

test("a Gateway: its own Service, ready; routes are counted; one bad listener is said", () => {
  const listeners = [HTTP, { ...HTTP, name: "x", port: 90, protocol: "QUIC" }];
  const route = gatewayApi("HTTPRoute", { name: "r" }, { parentRefs: [{ name: "web" }], rules });
  const at = (...more: Partial<MeshObjects>[]) => {
    const body = bodyOf(
      mesh(A, kubernetesGateway({ name: "web" }, listeners), { httpRoutes: [route] }, ...more),
      "Gateway",
      "web",
    );
    assert.ok(body?.kind === "gateway");
    return body;
  };
  const nothing = at();
  assert.deepEqual(said(nothing.conditions), [
    "Accepted=True ListenersNotValid",
    "Programmed=False AddressNotAssigned",
  ]);
  const pods = [{ name: "web-serin-1-a", ip: "10.0.0.9" }];
  const own = service({ name: "web-serin", ports: [{ port: 80 }], pods });
  const running = at(own);
  assert.equal(said(running.conditions)[1], "Programmed=True Programmed");
  assert.deepEqual(running.addresses, [
    { type: "Hostname", value: "web-serin.default.svc.cluster.local" },
  ]);
  assert.deepEqual(
    running.listeners.map(({ attachedRoutes }) => attachedRoutes),
    [1, 0],
  );
  const waiting = at(service({ name: "web-serin", ports: [{ port: 80 }], pods: [] }));
  assert.equal(said(waiting.conditions)[1], "Programmed=False Pending");
  assert.ok(running.conditions.every(({ observedGeneration }) => observedGeneration === 1));
});

test("a Gateway by address: the pods of that Service serve it, others do not", () => {
  const value = "ingress.infra.svc.cluster.local";
  const addresses = [{ type: "Hostname", value }];
  const infra = {
    ...service({ name: "ingress", namespace: "infra", ports: [{ port: 80 }], pods: [] }),
  };
  const [object] = infra.services ?? [];
  assert.ok(object);
  const selecting = { ...object, spec: { ...(object["spec"] as object), selector: { gw: "x" } } };
  const objects = mesh(kubernetesGateway({ name: "web" }, [HTTP], { addresses }), {
    services: [selecting],
  });
  const { gateways, gatewayApi: made } = modelOf(objects);
  assert.deepEqual(
    gateways.map(({ selector, podNamespace }) => [selector, podNamespace]),
    [[{ gw: "x" }, "infra"]],
  );
  assert.deepEqual(made.deployments, []);
  const wrong = mesh(
    kubernetesGateway({ name: "web" }, [HTTP], {
      addresses: [{ type: "IPAddress", value: "1.2.3.4" }],
    }),
  );
  const body = bodyOf(wrong, "Gateway", "web");
  assert.ok(body?.kind === "gateway");
  assert.equal(said(body.conditions)[0], "Accepted=False UnsupportedAddress");
  assert.deepEqual(modelOf(wrong).gateways, []);
});

test("a GatewayClass of ours is accepted, others are left alone", () => {
  const classOf = (name: string, controllerName: string, more: object = {}) => ({
    ...gatewayApi("GatewayClass", { name }, { controllerName, ...more }),
  });
  const objects = mesh({
    gatewayClasses: [
      classOf("istio", "istio.io/gateway-controller"),
      classOf("serin", "serin.dev/gateway-controller"),
      classOf("waypoint", "istio.io/mesh-controller"),
      classOf("asks", "serin.dev/gateway-controller", {
        parametersRef: { group: "x.io", kind: "K", name: "n" },
      }),
    ],
  });
  const of = (name: string) => {
    const body = bodyOf(objects, "GatewayClass", name);
    return body?.kind === "class" ? said(body.conditions) : undefined;
  };
  assert.deepEqual(of("istio"), ["Accepted=True Accepted"]);
  assert.deepEqual(of("serin"), ["Accepted=True Accepted"]);
  assert.equal(of("waypoint"), undefined);
  assert.deepEqual(of("asks"), ["Accepted=False InvalidParameters"]);
});
