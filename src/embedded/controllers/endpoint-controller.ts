import { type KubeObject, matchesSelector, RESOURCES, type StringMap } from "../../api/index.ts";
import { deepEqual, objectAt } from "../core/api/json.ts";
import {
  type DesiredSlice,
  desiredSlices,
  endpointSubsets,
  isManaged,
  sliceLabels,
} from "../core/controllers/endpoint-slices.ts";
import { ownerReferenceTo } from "../core/controllers/owner.ts";
import type { ControllerContext, RunningController } from "./context.ts";
import { createKeyedWorker, keyOf, splitKey } from "./keyed-worker.ts";

const { service: SERVICE, endpointSlice: SLICE, endpoints: ENDPOINTS, pod: POD } = RESOURCES;

/** Keeps the EndpointSlices and Endpoints of Services with a selector true to their pods. */
export function startEndpointController(context: ControllerContext): RunningController {
  const { api } = context;
  const worker = createKeyedWorker({ ...context, name: "endpointslice" }, async (key) => {
    await reconcile(context, key);
    return undefined;
  });
  const services = new Map<string, KubeObject>();
  const labelsOfPods = new Map<string, StringMap>();
  const addFor = (namespace: string, labels: StringMap | undefined): void => {
    for (const [key, service] of services) {
      if (service.metadata.namespace !== namespace) continue;
      const selector = objectAt(service, "spec", "selector") as StringMap | undefined;
      if (selector !== undefined && matchesSelector({ matchLabels: selector }, labels)) {
        worker.add(key);
      }
    }
  };
  const stops = [
    api.watch(SERVICE, ({ type, object }) => {
      const key = keyOf(object.metadata);
      if (type === "DELETED") services.delete(key);
      else services.set(key, object);
      worker.add(key);
    }),
    api.watch(POD, ({ type, object }) => {
      const { namespace = "", labels = {} } = object.metadata;
      const key = keyOf(object.metadata);
      addFor(namespace, labelsOfPods.get(key));
      addFor(namespace, labels);
      if (type === "DELETED") labelsOfPods.delete(key);
      else labelsOfPods.set(key, labels);
    }),
    // Somebody changed or deleted a slice: it is put right.
    api.watch(SLICE, ({ object }) => {
      const name = object.metadata.labels?.["kubernetes.io/service-name"];
      const { namespace = "" } = object.metadata;
      if (name !== undefined && isManaged(object)) worker.add(keyOf({ namespace, name }));
    }),
  ];
  return {
    async stop() {
      for (const stop of stops) stop();
      await worker.stop();
    },
  };
}

async function reconcile({ api }: ControllerContext, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const service = await api.get(SERVICE, { namespace, name });
  const labelSelector = { matchLabels: { "kubernetes.io/service-name": name } };
  const slices = (await api.list(SLICE, { namespace, labelSelector })).filter(isManaged);
  if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
    for (const { metadata } of slices) await deleteIfThere(api, namespace, metadata.name);
    if (service === undefined) await deleteEndpoints(api, namespace, name);
    return;
  }
  const desired = desiredSlices(service, await api.list(POD, { namespace }));
  if (desired === undefined) return;
  await writeSlices(api, service, slices, desired);
  await writeEndpoints(api, service, desired);
}

type Api = ControllerContext["api"];

/** Slices of the same ports are reused, so that little changes. */
async function writeSlices(
  api: Api,
  service: KubeObject,
  existing: readonly KubeObject[],
  desired: readonly DesiredSlice[],
): Promise<void> {
  const { namespace = "", name } = service.metadata;
  const free = [...existing];
  const labels = sliceLabels(service);
  const left: DesiredSlice[] = [];
  const reuse = async (slice: KubeObject, want: DesiredSlice): Promise<void> => {
    const isSame =
      deepEqual(slice["endpoints"] ?? [], want.endpoints) &&
      deepEqual(slice["ports"] ?? [], want.ports) &&
      deepEqual(slice.metadata.labels, labels);
    if (isSame) return;
    const metadata = { ...slice.metadata, labels };
    await api.update(SLICE, { ...slice, metadata, ports: want.ports, endpoints: want.endpoints });
  };
  for (const want of desired) {
    const at = free.findIndex((slice) => deepEqual(slice["ports"] ?? [], want.ports));
    const [slice] = at < 0 ? [] : free.splice(at, 1);
    if (slice === undefined) left.push(want);
    else await reuse(slice, want);
  }
  for (const want of left) {
    const slice = free.shift();
    if (slice !== undefined) await reuse(slice, want);
    else {
      await api.create(SLICE, {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: `${name}-${Math.random().toString(36).slice(2, 7).padEnd(5, "x")}`,
          generateName: `${name}-`,
          namespace,
          labels,
          ownerReferences: [ownerReferenceTo(service)],
        },
        addressType: "IPv4",
        ports: want.ports,
        endpoints: want.endpoints,
      });
    }
  }
  for (const { metadata } of free) await deleteIfThere(api, namespace, metadata.name);
}

async function writeEndpoints(
  api: Api,
  service: KubeObject,
  desired: readonly DesiredSlice[],
): Promise<void> {
  const { namespace = "", name, labels } = service.metadata;
  const subsets = endpointSubsets(desired);
  const existing = await api.get(ENDPOINTS, { namespace, name });
  const wanted = subsets.length === 0 ? {} : { subsets };
  if (existing === undefined) {
    await api.create(ENDPOINTS, {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { namespace, name, ...(labels === undefined ? {} : { labels }) },
      ...wanted,
    });
  } else if (!deepEqual(existing["subsets"] ?? [], subsets)) {
    const { subsets: _, ...rest } = existing;
    await api.update(ENDPOINTS, { ...rest, ...wanted } as KubeObject);
  }
}

async function deleteIfThere(api: Api, namespace: string, name: string): Promise<void> {
  if ((await api.get(SLICE, { namespace, name })) !== undefined) {
    await api.delete(SLICE, { namespace, name });
  }
}

async function deleteEndpoints(api: Api, namespace: string, name: string): Promise<void> {
  if ((await api.get(ENDPOINTS, { namespace, name })) !== undefined) {
    await api.delete(ENDPOINTS, { namespace, name });
  }
}
