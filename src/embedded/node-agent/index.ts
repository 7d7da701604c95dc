import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import { timestamp } from "../api-server/timestamp.ts";
import { objectsAt, stringAt } from "../core/api/json.ts";
import type { ImageMap } from "../core/node-agent/image-map.ts";
import { networkAnnotations } from "../core/node-agent/network.ts";
import { type Pod, parsePod } from "../core/node-agent/pod.ts";
import type {
  ExecProcess,
  ExecRequest,
  LocalApi,
  LocalWatchEvent,
  PodExec,
  PodLogs,
} from "../local-api.ts";
import { type ClusterNetwork, type NetworkMode, openLoopbackNetwork } from "./cluster-network.ts";
import { delay } from "./delay.ts";
import { EventRecorder } from "./events.ts";
import { startExec } from "./exec.ts";
import { type LogOwner, LogStore } from "./log-store.ts";
import { openNetnsNetwork } from "./netns/netns-network.ts";
import { NODE_IP, NODE_LABELS, NODE_NAME, nodeCapacity, registerNode } from "./node.ts";
import type { NodeContext } from "./node-context.ts";
import { PodWorker } from "./pod-worker.ts";
import { ProcessLedger } from "./process-ledger.ts";
import { type ServiceProxy, startServiceProxy } from "./service-proxy.ts";

export interface NodeAgentOptions {
  readonly api: LocalApi;
  /** Pods' files, logs, process ids and the address block are kept here. */
  readonly dataDir: string;
  readonly imageMap: ImageMap;
  /** How pods get their addresses; loopback by default. */
  readonly network?: NetworkMode;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface NodeAgent {
  readonly podLogs: PodLogs;
  readonly podExec: PodExec;
  /** Opens a port of the machine's loopback to the pods; answers where they find it (host:port). */
  reach(port: number): Promise<string>;
  /** Ends every pod's processes, gracefully but bounded; the pods themselves stay. */
  stop(): Promise<void>;
}

/** Longest time that pods get when the whole cluster stops; afterwards they are killed. */
const STOP_GRACE_MS = 5000;
const BIND_RETRY_MS = 1000;

/**
 * Starts the node: it binds pods to itself and runs them as processes of this machine. Processes
 * that an earlier, killed cluster left on this data directory are ended first.
 * Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startNodeAgent(options: NodeAgentOptions): Promise<NodeAgent> {
  const { api, clock, logger } = options;
  // Containers get paths below it, and they run in other directories.
  const dataDir = resolve(options.dataDir);
  const ledger = new ProcessLedger(join(dataDir, "processes"));
  const killed = await ledger.killStale(clock);
  if (killed > 0) logger.info({ killed }, "ended processes of an earlier cluster");
  const network =
    options.network === "netns"
      ? await openNetnsNetwork({ dataDir, clock, logger })
      : await openLoopbackNetwork(dataDir);
  const agent = new Agent({
    api,
    clock,
    logger,
    imageMap: options.imageMap,
    events: new EventRecorder({ api, clock, logger, component: "kubelet", host: NODE_NAME }),
    logs: new LogStore(join(dataDir, "logs"), clock),
    ledger,
    network,
    podsDir: join(dataDir, "pods"),
    capacity: nodeCapacity(),
  });
  try {
    await agent.start();
  } catch (error) {
    await agent.stop();
    throw error;
  }
  return {
    podLogs: { read: (pod, how) => agent.readLogs(pod, how) },
    podExec: { start: (pod, request) => agent.exec(pod, request) },
    reach: (port) => network.reach(port),
    stop: () => agent.stop(),
  };
}

class Agent {
  readonly #node: NodeContext;
  readonly #network: ClusterNetwork;
  readonly #workers = new Map<string, PodWorker>();
  /** Addresses of pods that are bound but not yet seen as such, by uid. */
  readonly #reserved = new Map<string, string>();
  readonly #binding = new Set<string>();
  readonly #ended = new AbortController();
  readonly #closers: (() => void)[] = [];
  #serviceProxy: ServiceProxy | undefined;

  constructor(node: NodeContext) {
    this.#node = node;
    this.#network = node.network;
  }

  async start(): Promise<void> {
    const { api, clock, logger, logs, podsDir } = this.#node;
    mkdirSync(podsDir, { recursive: true, mode: 0o700 });
    const pods = await api.list(RESOURCES.pod);
    logs.keepOnly(pods.map(ownerOf));
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const name of existsSync(podsDir) ? readdirSync(podsDir) : []) {
      if (!uids.has(name)) rmSync(join(podsDir, name), { recursive: true, force: true });
    }
    // Before any new pod is bound: those that ran keep their addresses.
    for (const pod of pods.filter(isOurs)) {
      const podIp = this.#network.pool.take(stringAt(pod, "status", "podIP"));
      if (podIp !== undefined) this.#reserved.set(pod.metadata.uid ?? "", podIp);
    }
    this.#closers.push(await registerNode(api, clock, logger, this.#network.nodeIp));
    this.#serviceProxy = startServiceProxy({
      ...this.#node,
      pool: this.#network.loadBalancers,
      nodeAddresses: [...new Set([this.#network.nodeIp, NODE_IP])],
    });
    this.#followServices();
    this.#closers.push(api.watch(RESOURCES.pod, (event) => this.#onPod(event)));
    for (const kind of ["configMap", "secret"] as const) {
      this.#closers.push(api.watch(RESOURCES[kind], (event) => this.#onConfig(kind, event)));
    }
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    for (const close of this.#closers.splice(0)) close();
    const workers = [...this.#workers.values()];
    await Promise.all(
      workers.map((worker) => {
        const graceMs = worker.pod.spec.terminationGracePeriodSeconds * 1000;
        return worker.suspend(Math.min(STOP_GRACE_MS, graceMs));
      }),
    );
    await this.#serviceProxy?.stop();
    await this.#node.events.flush();
    await this.#network.close();
  }

  async *readLogs(
    pod: Parameters<PodLogs["read"]>[0],
    options: Parameters<PodLogs["read"]>[1],
  ): AsyncGenerator<Uint8Array> {
    const { namespace, name, container } = pod;
    const object = await this.#node.api.get(RESOURCES.pod, { namespace, name });
    if (object === undefined) {
      throw new SerinError("SERIN_NOT_FOUND", `pods "${name}" not found`, { source: "caller" });
    }
    const waiting = waitingReason(object, container);
    yield* this.#node.logs.read(ownerOf(object), container, { ...options, waiting });
  }

  async exec(pod: Parameters<PodExec["start"]>[0], request: ExecRequest): Promise<ExecProcess> {
    const { namespace, name, container } = pod;
    const object = await this.#node.api.get(RESOURCES.pod, { namespace, name });
    const worker = this.#workers.get(object?.metadata.uid ?? "");
    const current = worker?.current(container);
    if (worker === undefined || current === undefined) {
      const message = `container not found (${JSON.stringify(container)}): it does not run`;
      throw new SerinError("SERIN_NOT_FOUND", message, { source: "caller" });
    }
    const { ledger } = this.#node;
    const running = await startExec(request, current.target);
    ledger.add(running.pid, worker.pod.uid);
    void running.ended.finally(() => ledger.remove(running.pid));
    void current.ended.finally(() => running.kill());
    return running;
  }

  #followServices(): void {
    const found = {
      service: new Map<string, KubeObject>(),
      endpointSlice: new Map<string, KubeObject>(),
    };
    for (const kind of ["service", "endpointSlice"] as const) {
      const close = this.#node.api.watch(RESOURCES[kind], ({ type, object }) => {
        const key = `${object.metadata.namespace}/${object.metadata.name}`;
        if (type === "DELETED") found[kind].delete(key);
        else found[kind].set(key, object);
        this.#network.onServices([...found.service.values()], [...found.endpointSlice.values()]);
      });
      this.#closers.push(close);
    }
  }

  #onPod({ type, object }: LocalWatchEvent): void {
    const uid = object.metadata.uid ?? "";
    if (type === "DELETED") {
      this.#onGone(object);
      return;
    }
    const nodeName = stringAt(object, "spec", "nodeName") ?? "";
    if (nodeName === "" && object.metadata.deletionTimestamp === undefined) {
      if (!this.#binding.has(uid)) this.#background(object, this.#bind(object));
    } else if (nodeName === NODE_NAME) {
      const worker = this.#workers.get(uid);
      if (worker !== undefined) worker.update(parsePod(object));
      else if (isOurs(object)) this.#background(object, this.#adopt(parsePod(object)));
    }
  }

  #onGone(object: KubeObject): void {
    const owner = ownerOf(object);
    const worker = this.#workers.get(owner.uid);
    const clean = (): void => {
      this.#node.logs.remove(owner);
      rmSync(join(this.#node.podsDir, owner.uid), { recursive: true, force: true });
    };
    if (worker === undefined) clean();
    else this.#background(object, worker.stop(0).then(clean));
  }

  #onConfig(kind: "configMap" | "secret", { object }: LocalWatchEvent): void {
    for (const worker of this.#workers.values()) {
      if (worker.pod.namespace === object.metadata.namespace) {
        worker.configChanged(kind, object.metadata.name);
      }
    }
  }

  /** The scheduler's part: one node, so the question is only whether the pod may run on it. */
  async #bind(object: KubeObject): Promise<void> {
    const { api, clock, events } = this.#node;
    const { name, namespace = "default", uid = "" } = object.metadata;
    const pod = parsePod(object);
    if (pod.spec.schedulerName !== "default-scheduler" || pod.spec.schedulingGates.length > 0) {
      return;
    }
    this.#binding.add(uid);
    try {
      const podIp = isSelected(pod) ? this.#network.pool.take() : undefined;
      if (podIp === undefined) {
        const why = isSelected(pod)
          ? "every pod address is in use"
          : "1 node(s) didn't match Pod's node affinity/selector";
        await this.#refuse(object, `0/1 nodes are available: ${why}.`);
        this.#retryBinding(object);
        return;
      }
      this.#reserved.set(uid, podIp);
      const said = Object.entries(networkAnnotations(this.#network.describe(pod, podIp)));
      const annotations = Object.fromEntries(said.filter(([, value]) => value !== null));
      const patch = { metadata: { uid, annotations }, spec: { nodeName: NODE_NAME } };
      const message = `Successfully assigned ${namespace}/${name} to ${NODE_NAME}`;
      const component = "default-scheduler";
      events.record(object, { type: "Normal", reason: "Scheduled", message, component });
      try {
        await api.patch(RESOURCES.pod, { namespace, name }, patch, { kind: "merge" });
      } catch (error) {
        if (this.#reserved.delete(uid)) this.#network.pool.release(podIp);
        if (!(error instanceof SerinError && error.code === "SERIN_NOT_FOUND")) {
          await delay(clock, BIND_RETRY_MS, this.#ended.signal);
          this.#retryBinding(object);
          throw error;
        }
      }
    } finally {
      this.#binding.delete(uid);
    }
  }

  /** Says on the pod why it cannot be bound; once, not at every attempt. */
  async #refuse(object: KubeObject, message: string): Promise<void> {
    const isKnown = objectsAt(object, "status", "conditions").some(
      (each) => each["type"] === "PodScheduled" && each["message"] === message,
    );
    if (isKnown) return;
    const { api, clock, events } = this.#node;
    const { namespace = "default", name, uid } = object.metadata;
    const component = "default-scheduler";
    events.record(object, { type: "Warning", reason: "FailedScheduling", message, component });
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message,
      lastProbeTime: null,
      lastTransitionTime: timestamp(clock.nowMs()),
    };
    const patch = { metadata: { uid }, status: { conditions: [condition] } };
    await api.patch(RESOURCES.pod, { namespace, name }, patch, {
      kind: "strategic",
      subresource: "status",
    });
  }

  /** Looks again in a while at a pod that could not be bound. */
  #retryBinding({ metadata }: KubeObject): void {
    const { namespace = "default", name, uid } = metadata;
    const { api, clock } = this.#node;
    const retry = async (): Promise<void> => {
      await delay(clock, BIND_RETRY_MS, this.#ended.signal);
      if (this.#ended.signal.aborted) return;
      const object = await api.get(RESOURCES.pod, { namespace, name });
      if (object?.metadata.uid === uid && object !== undefined) {
        this.#onPod({ type: "MODIFIED", object });
      }
    };
    retry().catch((error: unknown) => {
      this.#node.logger.warn({ pod: name, error: messageOf(error) }, "pod not bound");
    });
  }

  /** Runs a pod that is bound to this node. */
  async #adopt(pod: Pod): Promise<void> {
    const { api } = this.#node;
    const wanted = stringAt(pod.object, "status", "podIP");
    const podIp = this.#reserved.get(pod.uid) ?? this.#network.pool.take(wanted);
    this.#reserved.delete(pod.uid);
    if (podIp === undefined) return this.#retryBinding(pod.object);
    if (pod.deletionGraceSeconds !== undefined) {
      // It was ending when the cluster was killed, and none of its processes is left.
      this.#network.pool.release(podIp);
      return this.#remove(pod);
    }
    const network = this.#network.describe(pod, podIp);
    const worker = new PodWorker(this.#node, pod, network);
    this.#workers.set(pod.uid, worker);
    worker.start();
    await worker.finished;
    await this.#network.detach(network);
    this.#network.pool.release(podIp);
    this.#workers.delete(pod.uid);
    // The next start sees to it.
    if (this.#ended.signal.aborted) return;
    const current = await api.get(RESOURCES.pod, pod);
    const isOver =
      current?.metadata.uid === pod.uid && current.metadata.deletionTimestamp !== undefined;
    if (isOver) await this.#remove(pod);
  }

  /** The node's last word on a deleted pod: nothing of it runs any more. */
  async #remove({ namespace, name, uid }: Pod): Promise<void> {
    try {
      await this.#node.api.delete(
        RESOURCES.pod,
        { namespace, name },
        { gracePeriodSeconds: 0, uid },
      );
    } catch (error) {
      if (!(error instanceof SerinError && error.code === "SERIN_NOT_FOUND")) throw error;
    }
  }

  /** Work nobody waits for; its failure is logged. */
  #background(object: KubeObject, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      const pod = `${object.metadata.namespace}/${object.metadata.name}`;
      this.#node.logger.error({ pod, error: messageOf(error) }, "pod not handled");
    });
  }
}

/** Whether a pod is bound to this node and has something left to run. */
function isOurs(object: KubeObject): boolean {
  const phase = stringAt(object, "status", "phase");
  return (
    stringAt(object, "spec", "nodeName") === NODE_NAME &&
    phase !== "Succeeded" &&
    phase !== "Failed"
  );
}

/** Why a container does not run, for whoever asks for its log. */
function waitingReason(pod: KubeObject, container: string): string | undefined {
  const statuses = ["initContainerStatuses", "containerStatuses"].flatMap((list) =>
    objectsAt(pod, "status", list),
  );
  const status = statuses.find((each) => each["name"] === container);
  return stringAt(status, "state", "waiting", "reason");
}

function isSelected({ spec }: Pod): boolean {
  return Object.entries(spec.nodeSelector).every(([key, value]) => NODE_LABELS[key] === value);
}

function ownerOf({ metadata }: KubeObject): LogOwner {
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uid: metadata.uid ?? "",
  };
}
