import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import type { Ads, AdsEvent, Connection } from "./ads-server.ts";
import {
  distributionOf,
  type ProxyState,
  type TrackedResource,
  trackResources,
} from "./core/distribution.ts";
import { blamedFor } from "./core/distribution-blame.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";
import { buildModel, type MeshModel, type ModelOptions } from "./core/model.ts";
import { ModelMemory } from "./core/model-memory.ts";
import { createTranslator, type Translator } from "./core/translate.ts";
import { SHORT_TYPE } from "./debug-metrics.ts";
import type { RouteStatusWriter } from "./route-status.ts";

/** Refusals remembered, so that one that is repeated makes one Event. */
const MAX_REPORTED = 1000;
const SETTLE_MS = 5;
/** With many proxies a look takes long: it may take no more than this part of the time. */
const SETTLE_SHARE = 0.1;
/**
 * After a start, sidecars of pods that run count as proxies although they have not come back yet:
 * else a rollout would take silence for agreement.
 */
const RECONNECT_GRACE_MS = 3000;

export interface ConfigPusherOptions {
  readonly model: ModelOptions;
  /** Whether proxies write an access log. */
  readonly accessLog: boolean;
  readonly ads: Ads;
  readonly writer: RouteStatusWriter;
  /** For Events. */
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onPublish: (push: number) => void;
  /** Called with every model that is built, and what it was built of. */
  readonly onModel: (model: MeshModel, objects: MeshObjects) => void;
  /** Whether it is this control plane, of several, that writes status. */
  readonly isLeader: () => boolean;
}

/** From watched objects to pushes, and from acknowledgements to the status of VirtualServices. */
export interface ConfigPusher {
  /** Builds the model and pushes what it translates to. When that fails the last model serves on. */
  apply(objects: MeshObjects): void;
  onAdsEvent(event: AdsEvent): void;
  /** From now on this control plane writes status. */
  lead(): void;
  model(): MeshModel | undefined;
  objects(): MeshObjects | undefined;
}

export function createConfigPusher(options: ConfigPusherOptions): ConfigPusher {
  const { ads, writer, logger, clock } = options;
  const graceUntilMs = clock.nowMs() + RECONNECT_GRACE_MS;
  let objects: MeshObjects | undefined;
  let model: MeshModel | undefined;
  const memory = new ModelMemory();
  let translator: Translator | undefined;
  let number = 0;
  let tracked: ReadonlyMap<string, TrackedResource> = new Map();
  const reported = new Set<string>();

  let isSettling = false;
  let notBeforeMs = 0;
  /** Acknowledgements come in swarms: one look at all of them is enough. */
  const settleSoon = (): void => {
    if (isSettling) return;
    isSettling = true;
    clock.schedule(Math.max(SETTLE_MS, notBeforeMs - clock.nowMs()), settle);
  };
  clock.schedule(RECONNECT_GRACE_MS, settleSoon);

  const settle = (): void => {
    isSettling = false;
    if (!options.isLeader()) return;
    const startMs = clock.nowMs();
    const connected = ads.connections().map(stateOf);
    const isGrace = clock.nowMs() < graceUntilMs;
    const proxies = isGrace ? [...connected, ...absentOf(model, ads.connections())] : connected;
    for (const resource of tracked.values()) {
      writer.write(resource, distributionOf(resource, proxies));
    }
    notBeforeMs = clock.nowMs() + (clock.nowMs() - startMs) / SETTLE_SHARE;
  };

  const reportRejection = (connection: Connection, typeUrl: string, message: string): void => {
    const text = `${SHORT_TYPE[typeUrl] ?? typeUrl} refused by ${connection.node.id}: ${message}`;
    const blamed = blamedFor(message, connection.resources, tracked.values()).map((resource) => ({
      key: `${resource.uid} ${resource.generation} ${message}`,
      about: virtualServiceRef(resource),
    }));
    // When nothing says what is to blame, whoever looks at the pod should see it.
    const { namespace, name } = connection.node;
    const pod = { apiVersion: "v1", kind: "Pod", namespace, name };
    const all =
      blamed.length > 0 ? blamed : [{ key: `${namespace}/${name} ${message}`, about: pod }];
    for (const { key, about } of all) {
      if (reported.has(key)) continue;
      if (reported.size >= MAX_REPORTED) reported.clear();
      reported.add(key);
      const event = eventOf(about, text, options.clock.nowMs());
      options.store
        .create(RESOURCES.event, event)
        .catch((error: unknown) => logger.warn({ reason: messageOf(error) }, "event not written"));
    }
  };

  return {
    apply(next) {
      try {
        const built = buildModel(next, options.model, memory);
        const nextTranslator =
          translator?.next(built) ?? createTranslator(built, { accessLog: options.accessLog });
        model = built;
        translator = nextTranslator;
      } catch (error) {
        logger.error({ reason: messageOf(error) }, "model not built, the last one serves on");
        return;
      }
      objects = next;
      number += 1;
      const built = model;
      tracked = trackResources(tracked, next.virtualServices, number, (object) =>
        problemsOf(object, built),
      );
      writer.retain(new Set(tracked.keys()));
      options.onPublish(number);
      const { resourcesFor } = translator;
      ads.publish({ number, resourcesFor });
      options.onModel(built, next);
      settleSoon();
    },
    onAdsEvent(event) {
      if (event.kind === "rejected") {
        reportRejection(event.connection, event.typeUrl, event.message);
      }
      if (event.kind !== "sent" && event.kind !== "dequeued") settleSoon();
    },
    lead() {
      writer.forgetWritten();
      settleSoon();
    },
    model: () => model,
    objects: () => objects,
  };
}

/** Sidecars that are known by their pods and are not connected. */
function absentOf(
  model: MeshModel | undefined,
  connections: readonly Connection[],
): readonly ProxyState[] {
  const connected = new Set(connections.map(({ node }) => `${node.namespace}/${node.name}`));
  return [...(model?.workloads ?? [])]
    .filter(([pod, workload]) => workload.hasSidecar && !connected.has(pod))
    .map(([pod]) => ({ nodeId: pod, ackedPush: 0, problems: [] }));
}

function problemsOf(object: KubeObject, model: MeshModel) {
  const { namespace = "default", name } = object.metadata;
  const messages = model.problems
    .filter((p) => p.kind === object.kind && p.namespace === namespace && p.name === name)
    .map((problem) => problem.message);
  const isUsed = model.virtualServices.some((v) => v.namespace === namespace && v.name === name);
  return { messages, isLeftOut: !isUsed };
}

function stateOf({ node, session, problems }: Connection): ProxyState {
  return {
    nodeId: node.id,
    ackedPush: session.ackedPush(),
    // Asked for where the proxy is late only.
    get problems() {
      const refusals = session
        .progress()
        .flatMap(({ typeUrl, rejected }) =>
          rejected.map(({ message }) => `${SHORT_TYPE[typeUrl] ?? typeUrl}: ${message}`),
        );
      return [...new Set([...refusals, ...problems.map(({ message }) => message)])];
    },
  };
}

/** What an Event is about. */
interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

function virtualServiceRef({ namespace, name, uid }: TrackedResource): ObjectReference {
  const { group, version, kind } = RESOURCES.virtualService;
  return { apiVersion: `${group}/${version}`, kind, namespace, name, uid };
}

function eventOf(about: ObjectReference, message: string, nowMs: number): KubeObject {
  const { namespace, name } = about;
  const time = `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name}.${crypto.randomUUID().slice(0, 13)}`, namespace },
    involvedObject: about,
    type: "Warning",
    reason: "ProxyRejected",
    message: message.slice(0, 1024),
    source: { component: "serin-control-plane" },
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
  };
}
