import type { KubeObject } from "../../api/index.ts";

/** One resource in one generation, and the first push that has it. */
export interface TrackedResource {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly sincePush: number;
  /** Its hosts, as written. */
  readonly hosts: readonly string[];
  /** What is wrong with it; empty when nothing is. */
  readonly problems: readonly string[];
  /** Whether the problems keep it out of the mesh as a whole. */
  readonly isLeftOut: boolean;
}

/** What is known of one connected proxy. */
export interface ProxyState {
  readonly nodeId: string;
  /** The newest push that it acknowledged in full. */
  readonly ackedPush: number;
  /** What it refused, or what keeps its pushes back: one sentence each. */
  readonly problems: readonly string[];
}

/** Istio's distribution status: what goes into `status` of a resource. */
export interface DistributionStatus {
  readonly observedGeneration: number;
  readonly isReconciled: boolean;
  readonly message: string;
}

const MAX_MESSAGE_CHARACTERS = 1024;

/** Follows which push has which generation of the VirtualServices. */
export function trackResources(
  before: ReadonlyMap<string, TrackedResource>,
  objects: readonly KubeObject[],
  push: number,
  problemsOf: (object: KubeObject) => {
    readonly messages: readonly string[];
    readonly isLeftOut: boolean;
  },
): ReadonlyMap<string, TrackedResource> {
  const entries = objects.map((object) => {
    const { uid = "", namespace = "", name, generation = 0 } = object.metadata;
    const known = before.get(uid);
    const isKnown = known?.generation === generation;
    const { messages, isLeftOut } = problemsOf(object);
    const tracked: TrackedResource = {
      uid,
      namespace,
      name,
      generation,
      sincePush: isKnown ? known.sincePush : push,
      hosts: hostsOf(object),
      problems: messages,
      isLeftOut,
    };
    return [uid, tracked] as const;
  });
  return new Map(entries);
}

/**
 * Whether every connected proxy has acknowledged a generation. A proxy that never answers counts as
 * not up to date for as long as it is connected; with none connected everything is distributed.
 */
export function distributionOf(
  resource: TrackedResource,
  proxies: readonly ProxyState[],
): DistributionStatus {
  const late = proxies.filter(({ ackedPush }) => ackedPush < resource.sincePush);
  const refusals = late.flatMap((proxy) =>
    proxy.problems.map((each) => `${proxy.nodeId}: ${each}`),
  );
  const count = `${proxies.length - late.length}/${proxies.length} proxies up to date`;
  const message = [count, ...resource.problems, ...refusals].join("; ");
  return {
    observedGeneration: resource.generation,
    isReconciled: late.length === 0 && !resource.isLeftOut,
    message:
      message.length > MAX_MESSAGE_CHARACTERS
        ? `${message.slice(0, MAX_MESSAGE_CHARACTERS - 1)}…`
        : message,
  };
}

function hostsOf(object: KubeObject): readonly string[] {
  const spec = object["spec"] as { readonly hosts?: unknown } | null | undefined;
  const hosts = spec?.hosts;
  return Array.isArray(hosts) ? hosts.filter((host) => typeof host === "string") : [];
}
