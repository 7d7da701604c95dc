import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../../src/mesh/core/model.ts";
import { ModelMemory } from "../../../../src/mesh/core/model-memory.ts";
import { createTranslator, type Translator } from "../../../../src/mesh/core/translate.ts";
import type { ResourceSet } from "../../../../src/mesh/core/xds-resource.ts";
import { CLUSTER_TYPE, ENDPOINT_TYPE, ROUTE_TYPE, XDS_TYPES } from "../../../../src/xds/index.ts";
import {
  destinationRule,
  gateway,
  gatewayApi,
  kubernetesGateway,
  mesh,
  meshConfig,
  namespace,
  peerAuthentication,
  secret,
  service,
  serviceEntry,
  sidecar,
  telemetry,
  virtualService,
} from "../support/objects.ts";
import { nodeOf } from "../support/translated.ts";

const SEED = 20261123;
const OPTIONS = { trustDomain: "cluster.local", rootNamespace: "istio-system" };
const SUBSETS = ["v1", "v2"];
const NODES = [
  nodeOf("s0-0-a", "10.0.1.0", { LABELS: { app: "s0" } }),
  nodeOf("s1-1-a", "10.0.1.1", { LABELS: { app: "s1", tier: "x" } }),
  nodeOf("gone-1-a", "10.0.1.9", { INTERCEPTION_MODE: "REDIRECT" }),
  nodeOf("s0-1-a", "10.0.1.7", { GENERATOR: "grpc", LABELS: { app: "s0" } }),
  nodeOf("s0-0-a", "10.0.1.0", { LABELS: { app: "s0" }, INTERCEPTION_MODE: "REDIRECT" }),
  nodeOf(
    "gw-1-a",
    "10.0.1.8",
    { LABELS: { istio: "ingressgateway" }, HTTP_PROXY_PORT: "" },
    "router",
  ),
  nodeOf(
    "k-1-a",
    "10.0.1.7",
    { LABELS: { "gateway.networking.k8s.io/gateway-name": "k" }, HTTP_PROXY_PORT: "" },
    "router",
  ),
];

/** One thing of the mesh that may be there, in one of its variants. */
const slot = {
  pod: fc.record({
    of: fc.nat(1),
    index: fc.nat(1),
    version: fc.constantFrom("v1", "v2"),
    isReady: fc.boolean(),
    hasSidecar: fc.boolean(),
  }),
  service: fc.record({
    of: fc.nat(2),
    port: fc.constantFrom(80, 9080),
    name: fc.constantFrom("http", "tcp"),
  }),
  rule: fc.record({ of: fc.nat(2), subsets: fc.nat(2), max: fc.constantFrom(1, 2) }),
  route: fc.record({
    of: fc.nat(2),
    to: fc.nat(3),
    weight: fc.constantFrom(0, 10, 100),
    source: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
  }),
  sidecar: fc.record({ host: fc.constantFrom("./*", "*/s0.default.svc.cluster.local", "~/*") }),
  peer: fc.record({ mode: fc.constantFrom("STRICT", "DISABLE") }),
  entry: fc.record({ of: fc.nat(1), address: fc.constantFrom("1.2.3.4", "1.2.3.5") }),
  gateway: fc.record({ port: fc.constantFrom(80, 81) }),
  listener: fc.record({
    port: fc.constantFrom(80, 81),
    protocol: fc.constantFrom("HTTP", "TCP", "HTTPS"),
    from: fc.constantFrom("All", "Same", "Selector"),
  }),
  certificate: fc.record({ isWhole: fc.boolean() }),
  namespace: fc.record({ team: fc.constantFrom("x", "y") }),
  httpRoute: fc.record({
    of: fc.nat(2),
    to: fc.oneof(fc.nat(3), fc.constantFrom("e0.example.com")),
    parent: fc.constantFrom("Gateway", "Service"),
    namespace: fc.constantFrom("default", "other"),
    weight: fc.constantFrom(0, 1),
  }),
  tcpRoute: fc.record({ of: fc.nat(1), to: fc.nat(3) }),
  grant: fc.record({ kind: fc.constantFrom("HTTPRoute", "TCPRoute") }),
  telemetry: fc.record({ percent: fc.constantFrom(1, 100) }),
  settings: fc.record({
    traces: fc.boolean(),
    mode: fc.constantFrom("REGISTRY_ONLY", "ALLOW_ANY"),
  }),
} as const;
type Kind = keyof typeof slot;
interface Change {
  readonly key: string;
  readonly kind: Kind;
  readonly value: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
}

const change: fc.Arbitrary<Change> = fc
  // Pods change most.
  .constantFrom(...(Object.keys(slot) as Kind[]), "pod" as const, "pod" as const)
  .chain((kind) =>
    fc.tuple(slot[kind] as fc.Arbitrary<Record<string, string | number>>, fc.nat(3)).map(
      ([value, dies]): Change => ({
        kind,
        key: `${kind} ${value["of"] ?? ""} ${value["index"] ?? ""}`,
        value: dies === 0 ? undefined : value,
      }),
    ),
  );

/** A part of the mesh; made once per content, as a watch keeps objects that do not change. */
function objectsOf(kind: Kind, value: NonNullable<Change["value"]>): Partial<MeshObjects> {
  const name = `s${value["of"] ?? ""}`;
  switch (kind) {
    case "pod": {
      const index = Number(value["index"]);
      const made = service({
        name,
        ports: [{ port: 80, name: "http" }],
        pods: [
          {
            name: `${name}-${index}-a`,
            ip: `10.0.1.${Number(value["of"]) * 4 + index}`,
            labels: { version: String(value["version"]) },
            isReady: value["isReady"] === true,
            hasSidecar: value["hasSidecar"] === true,
          },
        ],
      });
      // A slice does not change with the pod that it names.
      const key = `slice ${name} ${index} ${value["isReady"]}`;
      const slice = cache.get(key) ?? { endpointSlices: made.endpointSlices ?? [] };
      cache.set(key, slice);
      return { pods: made.pods ?? [], ...slice };
    }
    case "service":
      return {
        services:
          service({
            name,
            ports: [{ port: Number(value["port"]), name: String(value["name"]) }],
            pods: [],
          }).services ?? [],
      };
    case "rule":
      return {
        destinationRules: [
          destinationRule(
            { name },
            {
              host: name,
              trafficPolicy: { connectionPool: { tcp: { maxConnections: value["max"] } } },
              subsets: SUBSETS.slice(0, Number(value["subsets"])).map((version) => ({
                name: version,
                labels: { version },
              })),
            },
          ),
        ],
      };
    case "route":
      return {
        virtualServices: [
          virtualService(
            { name },
            {
              hosts: [name],
              gateways: ["mesh", "g"],
              http: [
                {
                  ...(value["source"] === undefined
                    ? {}
                    : { match: [{ sourceLabels: { tier: value["source"] } }] }),
                  route: [
                    // Completed only while there is such a service.
                    {
                      destination: { host: `s${value["to"]}.default`, subset: "v1" },
                      weight: 100,
                    },
                    { destination: { host: name, subset: "v2" }, weight: value["weight"] },
                  ],
                },
              ],
            },
          ),
        ],
      };
    case "sidecar":
      return { sidecars: [sidecar({ name: "d" }, { egress: [{ hosts: [value["host"]] }] })] };
    case "peer":
      return { peerAuthentications: [peerAuthentication({ name: "d" }, { mtls: value })] };
    case "entry":
      return {
        serviceEntries: [
          serviceEntry(
            { name },
            {
              hosts: [`e${value["of"]}.example.com`],
              ports: [{ number: 80, name: "http", protocol: "HTTP" }],
              resolution: "STATIC",
              endpoints: [{ address: value["address"] }],
            },
          ),
        ],
      };
    case "gateway":
      return {
        gateways: [
          gateway(
            { name: "g" },
            {
              selector: { istio: "ingressgateway" },
              servers: [
                { port: { number: value["port"], name: "http", protocol: "HTTP" }, hosts: ["*"] },
              ],
            },
          ),
        ],
      };
    case "listener":
      return kubernetesGateway({ name: "k" }, [
        {
          name: "l",
          port: value["port"],
          protocol: value["protocol"],
          ...(value["protocol"] === "HTTPS"
            ? { tls: { certificateRefs: [{ name: "certificate" }] } }
            : {}),
          allowedRoutes: {
            namespaces: { from: value["from"], selector: { matchLabels: { team: "x" } } },
          },
        },
      ]);
    case "certificate": {
      const key = value["isWhole"] === true ? "-----BEGIN PRIVATE KEY-----\n" : "";
      return {
        secrets: [
          secret(
            { name: "certificate" },
            {
              "tls.crt": "-----BEGIN CERTIFICATE-----\n",
              "tls.key": key,
            },
          ),
        ],
      };
    }
    case "namespace":
      return { namespaces: [namespace("other", { team: String(value["team"]) })] };
    case "httpRoute": {
      const parent =
        value["parent"] === "Gateway"
          ? { name: "k", namespace: "default" }
          : { group: "", kind: "Service", name, namespace: "default" };
      const to = (of: unknown) =>
        typeof of === "string"
          ? { group: "networking.istio.io", kind: "Hostname", name: of, port: 80 }
          : { name: `s${of}`, namespace: "default", port: 80 };
      const backendRefs = [{ ...to(value["to"]), weight: value["weight"] }, to(0)];
      return {
        httpRoutes: [
          gatewayApi(
            "HTTPRoute",
            { name, namespace: String(value["namespace"]) },
            { parentRefs: [parent], rules: [{ backendRefs }] },
          ),
        ],
      };
    }
    case "tcpRoute":
      return {
        tcpRoutes: [
          gatewayApi(
            "TCPRoute",
            { name },
            {
              parentRefs: [{ name: "k" }],
              rules: [{ backendRefs: [{ name: `s${value["to"]}`, port: 80 }] }],
            },
          ),
        ],
      };
    case "grant":
      return {
        referenceGrants: [
          gatewayApi(
            "ReferenceGrant",
            { name: "g" },
            {
              from: [
                { group: "gateway.networking.k8s.io", kind: value["kind"], namespace: "other" },
              ],
              to: [{ group: "", kind: "Service" }],
            },
          ),
        ],
      };
    case "settings":
      return {
        meshConfigs: [
          meshConfig({
            outboundTrafficPolicy: { mode: value["mode"] },
            enableTracing: value["traces"],
            extensionProviders: [{ name: "z", zipkin: { service: "e0.example.com", port: 80 } }],
            defaultProviders: { tracing: ["z"] },
          }),
        ],
      };
    case "telemetry":
      return {
        telemetries: [
          telemetry({ name: "d" }, { tracing: [{ randomSamplingPercentage: value["percent"] }] }),
        ],
      };
    default:
      return assert.fail(kind satisfies never);
  }
}

const cache = new Map<string, Partial<MeshObjects>>();

function meshOf(slots: ReadonlyMap<string, Change>): MeshObjects {
  const parts = [...slots.values()].flatMap(({ kind, value }) => {
    if (value === undefined) return [];
    const key = `${kind} ${JSON.stringify(value)}`;
    const made = cache.get(key) ?? objectsOf(kind, value);
    cache.set(key, made);
    return [made];
  });
  return mesh(...parts);
}

const versionsOf = (set: ResourceSet): readonly string[] =>
  XDS_TYPES.flatMap((type) =>
    [...(set.get(type)?.values() ?? [])].map(({ name, version }) => `${type} ${name} ${version}`),
  ).sort();

test("whatever changes one after the other, the result is that of starting anew", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), { maxLength: 20 }),
      (rounds) => {
        const slots = new Map<string, Change>();
        const memory = new ModelMemory();
        let translator: Translator | undefined;
        for (const changes of rounds) {
          for (const each of changes) slots.set(each.key, each);
          const objects = meshOf(slots);
          const model = buildModel(objects, OPTIONS, memory);
          const fresh = buildModel(objects, OPTIONS);
          assert.deepEqual(model, fresh);
          translator = translator?.next(model) ?? createTranslator(model, { accessLog: false });
          const anew = createTranslator(fresh, { accessLog: false });
          for (const node of NODES) {
            assert.deepEqual(
              versionsOf(translator.resourcesFor(node)),
              versionsOf(anew.resourcesFor(node)),
            );
          }
        }
      },
    ),
    { seed: SEED, numRuns: 300 },
  );
});

test("a change of endpoints leaves all but them as they are, by identity", () => {
  const slots = new Map<string, Change>();
  const put = (kind: Kind, value: NonNullable<Change["value"]>): void => {
    slots.set(`${kind} ${value["of"]} ${value["index"]}`, { key: "", kind, value });
  };
  for (const i of [0, 1]) {
    const of = i;
    put("service", { of, port: 80, name: "http" });
    put("pod", { of, index: 0, version: "v1", isReady: true, hasSidecar: true });
    put("rule", { of, subsets: 2, max: 1 });
    put("route", { of, to: 1, weight: 10 });
  }
  const memory = new ModelMemory();
  const first = createTranslator(buildModel(meshOf(slots), OPTIONS, memory), { accessLog: false });
  const before = NODES.map((node) => first.resourcesFor(node));
  const same = first.next(buildModel(meshOf(slots), OPTIONS, memory));
  assert.ok(
    NODES.every((node, i) => same.resourcesFor(node) === before[i]),
    "nothing changed",
  );
  put("pod", { of: 1, index: 2, version: "v1", isReady: true, hasSidecar: true });
  const second = same.next(buildModel(meshOf(slots), OPTIONS, memory));
  for (const [i, node] of NODES.entries()) {
    const after = second.resourcesFor(node);
    for (const type of XDS_TYPES) {
      const isSame = after.get(type) === before[i]?.get(type);
      assert.equal(isSame, type !== ENDPOINT_TYPE, `${node.name} ${type}`);
    }
  }
  put("route", { of: 1, to: 1, weight: 100 });
  const third = second.next(buildModel(meshOf(slots), OPTIONS, memory));
  const [node] = NODES;
  assert.ok(node);
  const [old, now] = [second.resourcesFor(node), third.resourcesFor(node)];
  assert.notEqual(now.get(ROUTE_TYPE), old.get(ROUTE_TYPE));
  assert.equal(now.get(CLUSTER_TYPE), old.get(CLUSTER_TYPE));
  assert.equal(now.get(ENDPOINT_TYPE), old.get(ENDPOINT_TYPE));
});
