import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type KubeObject, RESOURCES, type ResourceType } from "../../src/api/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import {
  destinationRule,
  service,
  sidecar,
  virtualService,
} from "../../test/mesh/core/support/objects.ts";

export const NAMESPACES = 10;
export const PORT = 9080;
const CREATED_AT_ONCE = 32;
/** Every so many services one has subsets and a VirtualService. */
const ROUTED_EVERY = 10;

/** The service that changes, and where it is. */
export const TARGET = { name: "svc-0", namespace: "bench-0" } as const;
export const TARGET_HOST = `${TARGET.name}.${TARGET.namespace}.svc.cluster.local`;

export const namespaceOf = (i: number): string => `bench-${i % NAMESPACES}`;

/** The pod behind service `i` that a light client plays. */
export function proxyOf(i: number): { readonly name: string; readonly ip: string } {
  return { name: `svc-${i}-7d5b8c-a0`, ip: podIp(i, 0) };
}

function podIp(i: number, pod: number): string {
  const n = i * 2 + pod;
  return `10.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

/** The route of the changing service: `marker` is found in what proxies are sent. */
export function routeSpec(weight: number, marker: string): object {
  return {
    hosts: [TARGET.name],
    http: [
      {
        name: marker,
        route: [
          { destination: { host: TARGET.name, subset: "v1" }, weight: 100 - weight },
          { destination: { host: TARGET.name, subset: "v2" }, weight },
        ],
      },
    ],
  };
}

/** Writes a mesh of so many services with two pods each to the API. */
export async function createMesh(
  store: KubeStore,
  services: number,
  isScoped: boolean,
): Promise<void> {
  for (const definition of definitions()) {
    await store.create(RESOURCES.customResourceDefinition, definition);
  }
  for (const name of [
    "istio-system",
    ...Array.from({ length: NAMESPACES }, (_, i) => namespaceOf(i)),
  ]) {
    const metadata = { name };
    await store.create(RESOURCES.namespace, { apiVersion: "v1", kind: "Namespace", metadata });
  }
  const tasks: (() => Promise<unknown>)[] = [];
  for (let i = 0; i < services; i += 1) {
    const objects = objectsOf(i);
    tasks.push(() => createAll(store, RESOURCES.service, objects.services));
    tasks.push(() => createAll(store, RESOURCES.endpointSlice, objects.endpointSlices));
    tasks.push(() => createPods(store, objects.pods));
    if (i % ROUTED_EVERY !== 0) continue;
    const named = { name: `svc-${i}`, namespace: namespaceOf(i) };
    const subsets = ["v1", "v2"].map((version) => ({ name: version, labels: { version } }));
    const rule = destinationRule(named, { host: named.name, subsets });
    tasks.push(() => store.create(RESOURCES.destinationRule, rule));
    const spec = JSON.parse(JSON.stringify(routeSpec(0, "start")).replaceAll("svc-0", named.name));
    tasks.push(() => store.create(RESOURCES.virtualService, virtualService(named, spec)));
  }
  if (isScoped) {
    const named = { name: "default", namespace: "istio-system" };
    const own = sidecar(named, { egress: [{ hosts: ["./*", "istio-system/*"] }] });
    tasks.push(() => store.create(RESOURCES.sidecar, own));
  }
  const worker = async (): Promise<void> => {
    for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) await task();
  };
  await Promise.all(Array.from({ length: CREATED_AT_ONCE }, worker));
}

function objectsOf(i: number) {
  const name = `svc-${i}`;
  const namespace = namespaceOf(i);
  return service({
    name,
    namespace,
    clusterIp: `10.96.${i >> 8}.${i & 255}`,
    ports: [{ port: PORT, name: "http" }],
    pods: [0, 1].map((pod) => ({
      name: pod === 0 ? proxyOf(i).name : `svc-${i}-7d5b8c-a${pod}`,
      namespace,
      ip: podIp(i, pod),
      labels: { app: name, version: `v${pod + 1}` },
      ports: [{ containerPort: PORT, name: "http" }],
    })),
  });
}

async function createAll(
  store: KubeStore,
  type: ResourceType,
  objects: readonly KubeObject[] = [],
): Promise<void> {
  for (const object of objects) await store.create(type, object);
}

/** A pod's status is written apart, as a kubelet does. */
async function createPods(store: KubeStore, pods: readonly KubeObject[] = []): Promise<void> {
  for (const pod of pods) {
    await store.create(RESOURCES.pod, withImages(pod));
    const { namespace, name } = pod.metadata;
    await store.patch(
      RESOURCES.pod,
      { namespace, name },
      { status: pod["status"] },
      { kind: "merge", subresource: "status" },
    );
  }
}

function withImages(pod: KubeObject): KubeObject {
  const spec = pod["spec"] as { readonly containers: readonly object[] };
  const containers = spec.containers.map((each) => ({ ...each, image: "none" }));
  return { ...pod, spec: { ...spec, containers } };
}

function definitions(): readonly KubeObject[] {
  const dir = join(import.meta.dirname, "../../crds");
  return readdirSync(dir)
    .filter((file) => file.endsWith(".istio.io.yaml"))
    .flatMap((file) => parseAllDocuments(readFileSync(join(dir, file), "utf8")))
    .map((document) => document.toJS() as KubeObject);
}
