import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { buildModel } from "../../../../src/mesh/core/model.ts";
import { ModelMemory } from "../../../../src/mesh/core/model-memory.ts";
import {
  gatewayApi,
  kubernetesGateway,
  mesh,
  namespace,
  secret,
  service,
  serviceEntry,
} from "../support/objects.ts";

const OPTIONS = { trustDomain: "cluster.local", rootNamespace: "istio-system" };
const PAIR = {
  "tls.crt": "-----BEGIN CERTIFICATE-----\n",
  "tls.key": "-----BEGIN PRIVATE KEY-----\n",
};
const allowedRoutes = {
  namespaces: { from: "Selector", selector: { matchLabels: { team: "x" } } },
};
const HTTP = { name: "http", port: 80, protocol: "HTTP", allowedRoutes };
const route = (name: string, parent: object, ...backendRefs: readonly object[]) =>
  gatewayApi(
    "HTTPRoute",
    { name, namespace: "other" },
    { parentRefs: [{ name: "web", namespace: "default", ...parent }], rules: [{ backendRefs }] },
  );
const GATEWAY_POD = { name: "web-serin-1-a", ip: "10.0.0.9" };
const ready = (isReady: boolean) =>
  service({ name: "web-serin", ports: [{ port: 80 }], pods: [{ ...GATEWAY_POD, isReady }] });
const backend = (port: number) =>
  service({ name: "a", namespace: "other", ports: [{ port }], pods: [] });
const far = { name: "far", namespace: "default", port: 80 };
const entry = serviceEntry(
  { name: "e" },
  { hosts: ["e.com"], ports: [{ number: 80, name: "http", protocol: "HTTP" }], resolution: "DNS" },
);
const grant = (kind: string) =>
  gatewayApi(
    "ReferenceGrant",
    { name: "g" },
    {
      from: [{ group: "gateway.networking.k8s.io", kind, namespace: "other" }],
      to: [{ group: "", kind: "Service" }],
    },
  );
const tls = {
  name: "tls",
  port: 443,
  protocol: "HTTPS",
  tls: { certificateRefs: [{ name: "c" }] },
};

/** The parts of a mesh, and what each of them becomes. */
const PARTS: Readonly<Record<string, readonly [Partial<MeshObjects>, Partial<MeshObjects>]>> = {
  "a namespace's labels": [
    { namespaces: [namespace("other", { team: "x" })] },
    { namespaces: [namespace("other", { team: "y" })] },
  ],
  "a Secret": [{ secrets: [] }, { secrets: [secret({ name: "c" }, PAIR)] }],
  "a Service's port": [backend(80), backend(81)],
  "whether a Gateway's proxies are ready": [ready(false), ready(true)],
  "a ServiceEntry": [{}, { serviceEntries: [entry] }],
  "a ReferenceGrant": [
    { referenceGrants: [grant("TCPRoute")] },
    { referenceGrants: [grant("HTTPRoute")] },
  ],
  "a route": [
    { httpRoutes: [route("own", {}, { name: "a", port: 80 })] },
    { httpRoutes: [route("own", { sectionName: "tls" }, { name: "a", port: 80 })] },
  ],
  "a listener": [
    kubernetesGateway({ name: "web" }, [HTTP, tls]),
    kubernetesGateway({ name: "web" }, [{ ...HTTP, hostname: "x.com" }, tls]),
  ],
  "a GatewayClass": [
    {},
    {
      gatewayClasses: [
        gatewayApi(
          "GatewayClass",
          { name: "istio" },
          { controllerName: "istio.io/gateway-controller" },
        ),
      ],
    },
  ],
};
const rest: Partial<MeshObjects> = mesh(service({ name: "far", ports: [{ port: 80 }], pods: [] }), {
  httpRoutes: [
    route("entry", {}, { group: "networking.istio.io", kind: "Hostname", name: "e.com" }),
    route("granted", {}, far),
  ],
});
const meshWith = (changed: string | undefined): MeshObjects =>
  mesh(
    rest,
    ...Object.entries(PARTS).map(([name, [before, after]]) => (name === changed ? after : before)),
  );

for (const what of Object.keys(PARTS)) {
  test(`a change of ${what} is seen, and undone`, () => {
    const memory = new ModelMemory();
    const before = buildModel(meshWith(undefined), OPTIONS, memory);
    const after = buildModel(meshWith(what), OPTIONS, memory);
    assert.notDeepEqual(after.gatewayApi, before.gatewayApi, "it matters");
    assert.deepEqual(after, buildModel(meshWith(what), OPTIONS));
    assert.deepEqual(buildModel(meshWith(undefined), OPTIONS, memory), before);
  });
}

test("a status, and a pod that comes or goes, change nothing", () => {
  const memory = new ModelMemory();
  const objects = meshWith(undefined);
  const before = buildModel(objects, OPTIONS, memory);
  const written = objects.httpRoutes.map((each) => ({ ...each, status: { parents: [] } }));
  const other = service({ name: "pods", ports: [{ port: 1 }], pods: [] });
  const [first] =
    service({ name: "pods", ports: [], pods: [{ name: "p-1-a", ip: "10.0.0.1" }] }).pods ?? [];
  assert.ok(first && other.services);
  const after = buildModel(
    { ...objects, httpRoutes: written, pods: [...objects.pods, first] },
    OPTIONS,
    memory,
  );
  assert.equal(after.gatewayApi.statuses, before.gatewayApi.statuses);
  assert.equal(after.virtualServices, before.virtualServices);
  assert.equal(after.gateways, before.gateways);
});
