import { parse } from "yaml";
import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { messageOf } from "../base/index.ts";
import type { KubeStore, ListOptions } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import { usableCredential } from "./credential-check.ts";
import { followKind } from "./follow.ts";

const TYPES = {
  namespaces: RESOURCES.namespace,
  services: RESOURCES.service,
  endpointSlices: RESOURCES.endpointSlice,
  pods: RESOURCES.pod,
  nodes: RESOURCES.node,
  virtualServices: RESOURCES.virtualService,
  destinationRules: RESOURCES.destinationRule,
  gateways: RESOURCES.gateway,
  serviceEntries: RESOURCES.serviceEntry,
  workloadEntries: RESOURCES.workloadEntry,
  sidecars: RESOURCES.sidecar,
  secrets: RESOURCES.secret,
  meshConfigs: RESOURCES.configMap,
  peerAuthentications: RESOURCES.peerAuthentication,
  requestAuthentications: RESOURCES.requestAuthentication,
  authorizationPolicies: RESOURCES.authorizationPolicy,
  telemetries: RESOURCES.telemetry,
  gatewayClasses: RESOURCES.gatewayClass,
  kubernetesGateways: RESOURCES.kubernetesGateway,
  httpRoutes: RESOURCES.httpRoute,
  grpcRoutes: RESOURCES.grpcRoute,
  tcpRoutes: RESOURCES.tcpRoute,
  tlsRoutes: RESOURCES.tlsRoute,
  referenceGrants: RESOURCES.referenceGrant,
} as const satisfies Record<keyof MeshObjects, ResourceType>;
const KINDS = Object.keys(TYPES) as readonly (keyof MeshObjects)[];

/** Kinds of which not all objects are looked at. */
const SELECTED: Partial<Record<keyof MeshObjects, ListOptions>> = {
  meshConfigs: { fieldSelector: "metadata.name=istio" },
};

/** Every kind of the mesh, and which of its objects count. */
export const MESH_KINDS = KINDS.map((kind) => ({
  kind,
  type: TYPES[kind],
  select: SELECTED[kind],
}));

/** A change is passed on after this long without another one, … */
const QUIET_MS = 10;
/** … or at the latest this long after the first, … */
const MAX_DELAY_MS = 100;
/** … endpoints at once: whoever sends to one that is gone has an error, … */
const ENDPOINT_QUIET_MS = 1;
/** … but passing on may take no more than this part of the time, … */
const WORK_SHARE = 0.5;
/** … up to a delay of this; Istio's maximum. */
const MAX_REST_MS = 10_000;

export interface WatchOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
  /** Called once everything was listed, and after every change that can matter; changes come together. */
  readonly onChange: (objects: MeshObjects) => void;
}

export interface MeshWatch {
  /** Resolves once every kind was listed. */
  readonly synced: Promise<void>;
  stop(): void;
}

/**
 * Keeps the objects of the mesh in sight, for ever: lists, watches, resumes where a watch ended and
 * lists again when that is too old. While the API is away what was seen last stays.
 */
export function watchMesh(options: WatchOptions): MeshWatch {
  const { clock, logger, store } = options;
  const abort = new AbortController();
  const objects = new Map<keyof MeshObjects, Map<string, KubeObject>>();
  const synced = Promise.withResolvers<void>();
  let cancelQuiet: (() => void) | undefined;
  let firstChangeMs: number | undefined;
  let notBeforeMs = 0;
  let hasUrgent = false;

  const publish = (): void => {
    cancelQuiet?.();
    cancelQuiet = undefined;
    firstChangeMs = undefined;
    hasUrgent = false;
    if (abort.signal.aborted || objects.size < KINDS.length) return;
    const snapshot = KINDS.map((kind) => [kind, [...(objects.get(kind)?.values() ?? [])]] as const);
    const startMs = clock.nowMs();
    options.onChange(Object.fromEntries(snapshot) as unknown as MeshObjects);
    const tookMs = clock.nowMs() - startMs;
    notBeforeMs = startMs + Math.min(MAX_REST_MS, tookMs / WORK_SHARE);
    synced.resolve();
  };

  const changed = (kind: keyof MeshObjects): void => {
    const nowMs = clock.nowMs();
    const isUrgent = kind === "endpointSlices";
    // What is urgent takes along what waits, and what comes after it waits no longer for quiet.
    hasUrgent ||= isUrgent;
    firstChangeMs ??= nowMs;
    cancelQuiet?.();
    const leftMs = Math.max(0, firstChangeMs + MAX_DELAY_MS - nowMs);
    const quietMs = hasUrgent ? ENDPOINT_QUIET_MS : QUIET_MS;
    const delayMs = Math.max(Math.min(quietMs, leftMs), notBeforeMs - nowMs);
    cancelQuiet = clock.schedule(delayMs, publish);
  };

  const follow = (kind: keyof MeshObjects): Promise<void> =>
    followKind({
      ...{ store, clock, logger, random: options.random, signal: abort.signal },
      type: TYPES[kind],
      select: SELECTED[kind],
      onList(items) {
        const known = items.map((item) => [keyOf(item), prepared(kind, item, logger)] as const);
        objects.set(kind, new Map(known));
        changed(kind);
      },
      onEvent(type, found) {
        const object = prepared(kind, found, logger);
        if (apply(objects.get(kind) ?? new Map(), type, object)) changed(kind);
      },
    });

  for (const kind of KINDS) void follow(kind);
  return {
    synced: synced.promise,
    stop() {
      abort.abort();
      cancelQuiet?.();
    },
  };
}

/** Whether the change can matter: our own status writes come back as events and must not. */
function apply(known: Map<string, KubeObject>, type: string, object: KubeObject): boolean {
  const key = keyOf(object);
  if (type === "DELETED") return known.delete(key);
  const before = known.get(key);
  known.set(key, object);
  const { generation, uid } = object.metadata;
  const isStatusOnly =
    before !== undefined &&
    generation !== undefined &&
    before.metadata.generation === generation &&
    before.metadata.uid === uid &&
    /istio\.io\/|^gateway\.networking\.k8s\.io\//.test(object.apiVersion);
  return !isStatusOnly;
}

/** What core cannot read itself: YAML inside of an object, and whether a key fits its certificate. */
export function prepared(kind: keyof MeshObjects, object: KubeObject, logger: Logger): KubeObject {
  if (kind === "secrets") return usableCredential(object, logger);
  if (kind !== "meshConfigs") return object;
  const text = (object["data"] as { readonly mesh?: unknown } | undefined)?.mesh;
  try {
    return { ...object, mesh: typeof text === "string" ? parse(text) : undefined };
  } catch (error) {
    logger.warn({ reason: messageOf(error) }, "the mesh's settings are no YAML, defaults count");
    return object;
  }
}

function keyOf({ metadata: { namespace = "", name } }: KubeObject): string {
  return `${namespace}/${name}`;
}
