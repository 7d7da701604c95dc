import { join } from "node:path";
import { RESOURCES } from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import { timestamp } from "../api-server/timestamp.ts";
import { deepEqual, stringAt } from "../core/api/json.ts";
import { configNames } from "../core/node-agent/config-names.ts";
import type { PodFacts } from "../core/node-agent/field-ref.ts";
import { initialStatuses, isToRun } from "../core/node-agent/initial-status.ts";
import { networkAnnotations, type PodNetwork } from "../core/node-agent/network.ts";
import {
  type ContainerSpec,
  hasSidecar,
  isNativeSidecar,
  type Pod,
  SIDECAR_CONTAINER,
} from "../core/node-agent/pod.ts";
import type { ContainerStatus } from "../core/node-agent/pod-status.ts";
import { readConfig } from "./config-reader.ts";
import { type ContainerHost, ContainerRunner } from "./container-runner.ts";
import { delay, schedule } from "./delay.ts";
import { launchOf } from "./launch.ts";
import { NODE_NAME } from "./node.ts";
import type { NodeContext } from "./node-context.ts";
import { StatusPublisher } from "./status-publisher.ts";
import { PodVolumes } from "./volumes.ts";

/**
 * After a deletion begins, the other sidecars must first hear (EndpointSlice, then xDS) that this
 * endpoint is gone; a process that stopped listening at once would refuse their requests.
 */
const ENDPOINT_REMOVAL_MS = 1000;
/** Sidecars get at least this after the application has ended (kubelet's minimum). */
const SIDECAR_GRACE_MS = 2000;
const CONFIG_RETRY_MS = 3000;
const NETWORK_RETRY_MS = 2000;

/** One pod on the node: volumes, init containers, containers, status; until it is over. */
export class PodWorker {
  /** Resolves when no process of the pod is left and its last status is written. */
  readonly finished: Promise<void>;
  readonly #node: NodeContext;
  readonly #network: PodNetwork;
  readonly #volumes: PodVolumes;
  readonly #publisher: StatusPublisher;
  readonly #runners = new Map<string, ContainerRunner>();
  readonly #stopping = new AbortController();
  /** When it aborts, everything that still runs is killed. */
  readonly #deadline = new AbortController();
  /** No grace at all, for sidecars neither. */
  readonly #force = new AbortController();
  readonly #finish = Promise.withResolvers<void>();
  readonly #configWaiters = new Set<() => void>();
  #initial: ReadonlyMap<string, ContainerStatus>;
  #pod: Pod;
  #shutdown: Promise<void> | undefined;
  #failure: { readonly reason: string; readonly message: string } | undefined;
  #graceMs: number;

  constructor(node: NodeContext, pod: Pod, network: PodNetwork) {
    this.#node = node;
    this.#pod = pod;
    this.#network = network;
    this.#graceMs = pod.spec.terminationGracePeriodSeconds * 1000;
    this.#initial = initialStatuses(pod, timestamp(node.clock.nowMs()));
    this.#volumes = new PodVolumes(join(this.dir, "volumes"), node.api, node.clock);
    this.#publisher = new StatusPublisher(node, () => ({
      pod: this.#pod,
      statuses: this.#statuses(),
      podIp: network.podIp,
      hostIp: node.network.nodeIp,
      failure: this.#failure,
    }));
    this.finished = this.#finish.promise;
  }

  get pod(): Pod {
    return this.#pod;
  }

  get podIp(): string {
    return this.#network.podIp;
  }

  /** The pod's own directory. */
  get dir(): string {
    return join(this.#node.podsDir, this.#pod.uid);
  }

  /** Where a container's programs run; undefined while it does not run. */
  current(container: string): ContainerRunner["current"] {
    return this.#runners.get(container)?.current;
  }

  /** Starts the pod; called once. */
  start(): void {
    const running = this.#run().catch((error: unknown) => {
      const pod = `${this.#pod.namespace}/${this.#pod.name}`;
      this.#node.logger.error({ pod, error: messageOf(error) }, "pod failed");
    });
    void running
      .then(() => this.#shutdown)
      .then(() => this.#publisher.flush())
      .finally(() => this.#finish.resolve());
  }

  /** Takes in a newer version of the pod; a deletion begins (or shortens) its end. */
  update(pod: Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    if (pod.deletionGraceSeconds !== undefined) void this.stop(pod.deletionGraceSeconds * 1000);
    else {
      const { initContainers, containers } = pod.spec;
      for (const spec of [...initContainers, ...containers]) {
        this.#runners.get(spec.name)?.change(spec);
      }
      const isRelabelled = !deepEqual(before.labels, pod.labels);
      // Downward API volumes show labels and annotations as they are now.
      if (isRelabelled || !deepEqual(before.annotations, pod.annotations)) this.#wakeConfig();
    }
    // A readiness gate may have been decided.
    if (pod.spec.readinessGates.length > 0) this.#publisher.changed();
  }

  /**
   * Ends all containers: the application first, sidecars last. A second call may only shorten the
   * time. Resolves when everything is over.
   */
  stop(graceMs: number): Promise<void> {
    const { clock } = this.#node;
    const endsAtMs = clock.nowMs() + graceMs;
    if (graceMs <= 0) this.#force.abort();
    schedule(clock, graceMs, () => this.#deadline.abort());
    this.#shutdown ??= this.#shutDown(graceMs, endsAtMs);
    return this.finished;
  }

  /**
   * As stop, but for the cluster's sake: the status stays as it is, so that the next cluster knows
   * what ran and runs it again.
   */
  suspend(graceMs: number): Promise<void> {
    this.#publisher.end();
    return this.stop(graceMs);
  }

  /** A ConfigMap or Secret of the pod's namespace changed. */
  configChanged(kind: "configMap" | "secret", name: string): void {
    if (configNames(this.#pod)[kind].has(name)) this.#wakeConfig();
  }

  #wakeConfig(): void {
    for (const wake of [...this.#configWaiters]) wake();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { spec } = this.#pod;
    for (const container of [...spec.initContainers, ...spec.containers]) {
      this.#runners.set(container.name, this.#runnerOf(container));
    }
    this.#publisher.changed();
    await this.#annotate();
    this.#limitActiveTime();
    if (!(await this.#attach()) || !(await this.#mount())) return;
    const renewal = this.#renewVolumes();
    if (!signal.aborted && (await this.#initialize())) {
      await this.#node.network.settle(this.#network);
      await this.#startContainers();
      await Promise.all(spec.containers.map(({ name }) => this.#runners.get(name)?.finished));
    }
    if (!signal.aborted) {
      // Everything ended by itself: native sidecars go, in reverse order.
      await this.#stopSidecars();
      this.#stopping.abort();
    }
    await renewal;
  }

  /** Where the pod is besides its pod IP, for everybody who looks at it. */
  async #annotate(): Promise<void> {
    const { annotations, name, namespace, uid } = this.#pod;
    const wanted = networkAnnotations(this.#network);
    const isKnown = Object.entries(wanted).every(
      ([key, value]) => (annotations[key] ?? null) === value,
    );
    if (isKnown) return;
    const patch = { metadata: { uid, annotations: wanted } };
    await this.#node.api.patch(RESOURCES.pod, { namespace, name }, patch, { kind: "merge" });
  }

  /** Makes the pod's network, again until it succeeds; false when the pod is stopped first. */
  async #attach(): Promise<boolean> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#node.network.attach(this.#pod, this.#network);
        return true;
      } catch (error) {
        const message = `Failed to create pod sandbox: ${messageOf(error)}`;
        this.#event("Warning", "FailedCreatePodSandBox", message);
        await delay(this.#node.clock, NETWORK_RETRY_MS, signal);
      }
    }
    return false;
  }

  /** Provides the volumes, waiting for what is missing; false when the pod is stopped first. */
  async #mount(): Promise<boolean> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const missing = await this.#writeVolumes();
      if (missing === undefined) return true;
      this.#event("Warning", "FailedMount", missing);
      await this.#configChange(signal);
    }
    return false;
  }

  async #writeVolumes(): Promise<string | undefined> {
    const { api, capacity } = this.#node;
    try {
      const config = await readConfig(api, this.#pod);
      const context = { facts: this.#facts(), config, capacity };
      return (await this.#volumes.write(this.#pod.spec.volumes, context))?.missing;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Keeps volumes as their sources are, and tokens valid, until the pod stops. */
  async #renewVolumes(): Promise<void> {
    const { signal } = this.#stopping;
    if (this.#pod.spec.volumes.length === 0) return;
    while (!signal.aborted) {
      const turn = new AbortController();
      const either = AbortSignal.any([signal, turn.signal]);
      const { renewAtMs } = this.#volumes;
      const { clock } = this.#node;
      const cancel =
        renewAtMs === undefined
          ? undefined
          : schedule(clock, renewAtMs - clock.nowMs(), () => turn.abort());
      await this.#configWake(either);
      cancel?.();
      if (signal.aborted) return;
      const problem = await this.#writeVolumes();
      if (problem === undefined) continue;
      this.#event("Warning", "FailedMount", problem);
      await delay(clock, CONFIG_RETRY_MS, signal);
    }
  }

  /** Runs the init containers in order; false when one failed for good or the pod is stopped. */
  async #initialize(): Promise<boolean> {
    const { signal } = this.#stopping;
    for (const container of this.#pod.spec.initContainers) {
      const runner = this.#runners.get(container.name);
      if (runner === undefined || signal.aborted) return false;
      runner.run();
      if (isNativeSidecar(container)) await runner.until((status) => status.started);
      else {
        await runner.finished;
        const { state } = runner.status;
        if (!("terminated" in state) || state.terminated.exitCode !== 0) return false;
      }
    }
    return !signal.aborted;
  }

  /** Starts the containers; the proxy goes first, and is waited for where the pod asks for it. */
  async #startContainers(): Promise<void> {
    const { spec } = this.#pod;
    const proxy = spec.containers.find((each) => each.name === SIDECAR_CONTAINER);
    const inOrder = [proxy, ...spec.containers.filter((each) => each !== proxy)];
    for (const container of inOrder) {
      if (container === undefined || this.#stopping.signal.aborted) continue;
      const runner = this.#runners.get(container.name);
      if (runner === undefined) continue;
      if (isToRun(container, runner.status)) runner.run();
      else runner.skip();
      if (container === proxy && holdsApplication(this.#pod)) {
        await runner.until((status) => status.ready);
      }
    }
  }

  async #shutDown(graceMs: number, endsAtMs: number): Promise<void> {
    const { clock } = this.#node;
    this.#graceMs = graceMs;
    this.#stopping.abort();
    const deadline = this.#deadline.signal;
    const isDeleted = this.#pod.deletionGraceSeconds !== undefined;
    if (isDeleted && hasSidecar(this.#pod.spec)) {
      await delay(clock, Math.min(ENDPOINT_REMOVAL_MS, graceMs / 2), deadline);
    }
    const applications = [...this.#runners.values()].filter(({ spec }) => !isSidecar(spec));
    await Promise.all(applications.map((runner) => runner.stop(deadline)));
    await this.#stopSidecars(Math.max(SIDECAR_GRACE_MS, endsAtMs - clock.nowMs()));
  }

  /** Sidecars end one after the other, in reverse order of their start. */
  async #stopSidecars(graceMs = this.#graceMs): Promise<void> {
    const deadline = new AbortController();
    const cancel = schedule(this.#node.clock, graceMs, () => deadline.abort());
    const either = AbortSignal.any([deadline.signal, this.#force.signal]);
    const sidecars = [...this.#runners.values()].filter(({ spec }) => isSidecar(spec)).reverse();
    for (const runner of sidecars) {
      if (this.#shutdown !== undefined || isNativeSidecar(runner.spec)) {
        await runner.stop(either);
      }
    }
    cancel();
  }

  /** spec.activeDeadlineSeconds: a pod that runs longer fails. */
  #limitActiveTime(): void {
    const { activeDeadlineSeconds } = this.#pod.spec;
    if (activeDeadlineSeconds === undefined) return;
    const { clock } = this.#node;
    const startTime = stringAt(this.#pod.object, "status", "startTime");
    const startedMs = startTime === undefined ? clock.nowMs() : Date.parse(startTime);
    const cancel = schedule(clock, startedMs + activeDeadlineSeconds * 1000 - clock.nowMs(), () => {
      const message = "Pod was active on the node longer than the specified deadline";
      this.#failure = { reason: "DeadlineExceeded", message };
      this.#event("Normal", "DeadlineExceeded", message);
      void this.stop(this.#graceMs);
    });
    this.#stopping.signal.addEventListener("abort", cancel, { once: true });
  }

  #runnerOf(container: ContainerSpec): ContainerRunner {
    const status = this.#initial.get(container.name);
    if (status === undefined) throw new Error(`container ${container.name} has no status`);
    const isInit = this.#pod.spec.initContainers.includes(container);
    const { restartPolicy } = this.#pod.spec;
    const initPolicy = restartPolicy === "Never" ? "Never" : "OnFailure";
    const policy = isNativeSidecar(container) ? "Always" : isInit ? initPolicy : restartPolicy;
    return new ContainerRunner(container, this.#hostOf(container, isInit), { policy, status });
  }

  #hostOf(container: ContainerSpec, isInit: boolean): ContainerHost {
    const { clock, logs, ledger, events } = this.#node;
    const { name, namespace, uid } = this.#pod;
    const owner = { name, namespace, uid };
    return {
      clock,
      podLabel: `${name}_${namespace}(${uid})`,
      graceMs: () => this.#graceMs,
      // Not the container that was there at first: its image may have changed since.
      prepare: async (current) =>
        launchOf({
          container: current,
          facts: this.#facts(),
          network: this.#network,
          mounts: this.#volumes.mountsOf(current),
          config: await readConfig(this.#node.api, this.#pod),
          imageMap: this.#node.imageMap,
          capacity: this.#node.capacity,
          podDir: this.dir,
          clock,
        }),
      openLog: (spec, restart) => logs.create(owner, spec.name, restart),
      closeLog: (log) => logs.end(log),
      onStart: (pid) => ledger.add(pid, uid),
      onEnd: (pid) => ledger.remove(pid),
      configChange: (signal) => this.#configChange(signal),
      changed: () => this.#publisher.changed(),
      event: (event) =>
        events.record(this.#pod.object, {
          ...event,
          fieldPath: `spec.${isInit ? "initContainers" : "containers"}{${container.name}}`,
        }),
    };
  }

  #statuses(): ReadonlyMap<string, ContainerStatus> {
    return new Map([...this.#runners].map(([name, runner]) => [name, runner.status]));
  }

  #facts(): PodFacts {
    return {
      pod: this.#pod,
      nodeName: NODE_NAME,
      podIp: this.#network.podIp,
      hostIp: this.#node.network.nodeIp,
    };
  }

  async #configChange(signal: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const cancel = this.#node.clock.schedule(CONFIG_RETRY_MS, () => enough.abort());
    await this.#configWake(AbortSignal.any([signal, enough.signal]));
    cancel();
  }

  /** Resolves at the next change of a ConfigMap or Secret, or when the signal aborts. */
  #configWake(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#configWaiters.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise.finally(() => this.#configWaiters.delete(wake));
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#node.events.record(this.#pod.object, { type, reason, message });
  }
}

function isSidecar(spec: ContainerSpec): boolean {
  return spec.name === SIDECAR_CONTAINER || isNativeSidecar(spec);
}

/** Istio's `holdApplicationUntilProxyStarts` in the annotation `proxy.istio.io/config`. */
function holdsApplication({ annotations }: Pod): boolean {
  const config = annotations["proxy.istio.io/config"] ?? "";
  return /["']?\bholdApplicationUntilProxyStarts["']?\s*:\s*["']?true\b/.test(config);
}
