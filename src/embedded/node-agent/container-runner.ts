import { randomBytes } from "node:crypto";
import { messageOf } from "../../base/index.ts";
import type { Clock } from "../../runtime/index.ts";
import { timestamp } from "../api-server/timestamp.ts";
import type { ContainerSpec, LifecycleHandler, PodSpec } from "../core/node-agent/pod.ts";
import type { ContainerState, ContainerStatus } from "../core/node-agent/pod-status.ts";
import { afterExit, type CrashLoop, isRestarted } from "../core/node-agent/restart.ts";
import { type ActionTarget, doAction } from "./action.ts";
import type { ContainerLog } from "./container-log.ts";
import { delay, schedule } from "./delay.ts";
import type { PodEvent } from "./events.ts";
import { type ProbeKind, probeContainer } from "./prober.ts";
import { type ProcessEnd, type RunningProcess, startProcess } from "./process.ts";

/** All that is needed to run a container once. */
export interface Launch {
  readonly argv: readonly string[];
  readonly target: ActionTarget;
}

/** Why a container cannot run (yet): the reason of its waiting state. */
export interface Obstacle {
  readonly reason: string;
  readonly message: string;
  /** The event that goes with it. */
  readonly event?: string;
  /** What the reason becomes from the second attempt on. */
  readonly retryReason?: string;
}

/** What a container asks of its pod. */
export interface ContainerHost {
  readonly clock: Clock;
  /** For messages: `name_namespace(uid)`. */
  readonly podLabel: string;
  readonly graceMs: () => number;
  prepare(container: ContainerSpec): Promise<Launch | Obstacle>;
  openLog(container: ContainerSpec, restart: number): ContainerLog;
  closeLog(log: ContainerLog): void;
  onStart(pid: number): void;
  onEnd(pid: number): void;
  /** Resolves when a ConfigMap or Secret of the pod changed, at the latest after a while. */
  configChange(signal: AbortSignal): Promise<void>;
  /** The status changed. */
  changed(): void;
  event(event: PodEvent): void;
}

/** As container runtimes report a program that could not be started. */
const START_ERROR_EXIT_CODE = 128;

/** Runs a container: again and again as its restart policy says, until it is stopped. */
export class ContainerRunner {
  /** Resolves when the container will not run any more. */
  readonly finished: Promise<void>;
  readonly #host: ContainerHost;
  readonly #policy: PodSpec["restartPolicy"];
  readonly #stopping = new AbortController();
  readonly #finish = Promise.withResolvers<void>();
  readonly #waiting = new Set<() => void>();
  #spec: ContainerSpec;
  #isChanged = false;
  #status: ContainerStatus;
  #loop: CrashLoop = { failures: 0 };
  #running: { readonly process: RunningProcess; readonly target: ActionTarget } | undefined;
  #termination: Promise<void> | undefined;
  #stopDeadline: AbortSignal | undefined;
  #isBegun = false;

  constructor(
    spec: ContainerSpec,
    host: ContainerHost,
    options: { readonly policy: PodSpec["restartPolicy"]; readonly status: ContainerStatus },
  ) {
    this.#spec = spec;
    this.#host = host;
    this.#policy = options.policy;
    this.#status = options.status;
    this.finished = this.#finish.promise;
  }

  get spec(): ContainerSpec {
    return this.#spec;
  }

  get status(): ContainerStatus {
    return this.#status;
  }

  /** Where the container's programs run, while it runs; the promise resolves when that run is over. */
  get current(): { readonly target: ActionTarget; readonly ended: Promise<unknown> } | undefined {
    const running = this.#running;
    return running && { target: running.target, ended: running.process.ended };
  }

  /** Begins to run it; called once. */
  run(): void {
    this.#isBegun = true;
    void this.#run()
      .catch((error: unknown) => this.#wait("RunContainerError", messageOf(error)))
      .finally(() => this.#finish.resolve());
  }

  /** It is not to run (any more): it ended for good in an earlier life of the cluster, say. */
  skip(): void {
    this.#finish.resolve();
  }

  /** Resolves once the status satisfies the condition, or the container is finished. */
  async until(holds: (status: ContainerStatus) => boolean): Promise<void> {
    let isFinished = false;
    const over = this.finished.then(() => {
      isFinished = true;
    });
    while (!isFinished && !holds(this.#status)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await Promise.race([promise, over]);
      this.#waiting.delete(resolve);
    }
  }

  /** Takes in a newer spec. Only its image can differ; the container then starts anew at once. */
  change(spec: ContainerSpec): void {
    const { image } = spec;
    if (image === this.#spec.image) return;
    this.#spec = spec;
    this.#isChanged = this.#running !== undefined;
    this.#update({ image, imageID: image });
    if (this.#running === undefined) return;
    const words = `Container ${spec.name} definition changed, will be restarted`;
    this.#event("Normal", "Killing", words);
    void this.#terminate(this.#graceSignal(this.#host.graceMs()));
  }

  /** Ends it for good: preStop hook, SIGTERM, and SIGKILL when the signal aborts. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopDeadline = deadline;
    this.#stopping.abort();
    if (!this.#isBegun) return this.skip();
    if (this.#running !== undefined) {
      this.#event("Normal", "Killing", `Stopping container ${this.#spec.name}`);
      await this.#terminate(deadline);
    }
    await this.finished;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const launch = await this.#prepared();
      if (launch === undefined) return;
      const startMs = this.#host.clock.nowMs();
      const exitCode = await this.#runOnce(launch);
      if (signal.aborted) return;
      if (!this.#isChanged) {
        if (!isRestarted(this.#policy, exitCode)) return;
        const after = afterExit(this.#loop, this.#host.clock.nowMs() - startMs);
        this.#loop = after;
        if (after.delayMs > 0) await this.#backOff(after.delayMs);
      }
      this.#isChanged = false;
      if (!signal.aborted) this.#update({ restartCount: this.#status.restartCount + 1 });
    }
  }

  /** Waits until nothing keeps the container from running; undefined when it is stopped first. */
  async #prepared(): Promise<Launch | undefined> {
    const { signal } = this.#stopping;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const launch = await this.#host.prepare(this.#spec);
      if ("argv" in launch) return signal.aborted ? undefined : launch;
      if (isFirst && launch.event !== undefined) {
        this.#event("Warning", "Failed", launch.event);
      }
      this.#wait(isFirst ? launch.reason : (launch.retryReason ?? launch.reason), launch.message);
      await this.#host.configChange(signal);
    }
    return undefined;
  }

  async #backOff(delayMs: number): Promise<void> {
    const message = `back-off ${delayMs / 1000}s restarting failed container=${this.#spec.name} pod=${this.#host.podLabel}`;
    this.#wait("CrashLoopBackOff", message);
    const words = `Back-off restarting failed container ${this.#spec.name} in pod ${this.#host.podLabel}`;
    this.#event("Warning", "BackOff", words);
    await delay(this.#host.clock, delayMs, this.#stopping.signal);
  }

  /** One run, to its end; returns the exit code. */
  async #runOnce({ argv, target }: Launch): Promise<number> {
    const { clock } = this.#host;
    const containerID = `serin://${randomBytes(32).toString("hex")}`;
    const startedAt = timestamp(clock.nowMs());
    const log = this.#host.openLog(this.#spec, this.#status.restartCount);
    const image = JSON.stringify(this.#spec.image);
    this.#event("Normal", "Pulled", `Container image ${image} is a program of this machine`);
    this.#event("Normal", "Created", `Created container: ${this.#spec.name}`);
    const ended = (end: ProcessEnd, reason: string, message?: string): number => {
      this.#host.closeLog(log);
      const terminated = {
        ...end,
        reason,
        ...(message === undefined ? {} : { message }),
        startedAt,
        finishedAt: timestamp(clock.nowMs()),
        containerID,
      };
      this.#setState({ terminated }, { containerID, ready: false, started: false });
      // At once, before a status is written: to a pod that never restarts, this was no end.
      if (this.#isChanged) this.#wait("ContainerCreating", "the container's image has changed");
      return end.exitCode;
    };
    let process: RunningProcess;
    try {
      process = await startProcess(
        {
          argv,
          env: target.env,
          cwd: target.cwd,
          enter: target.enter,
          onOutput: (stream, chunk) => log.write(stream, chunk),
        },
        clock,
      );
    } catch (error) {
      this.#event("Warning", "Failed", `Error: ${messageOf(error)}`);
      return ended({ exitCode: START_ERROR_EXIT_CODE }, "StartError", messageOf(error));
    }
    this.#host.onStart(process.pid);
    const over = new AbortController();
    void process.ended.then(() => over.abort());
    this.#running = { process, target };
    this.#event("Normal", "Started", `Started container ${this.#spec.name}`);
    this.#setState({ running: { startedAt } }, { containerID, ready: false, started: false });
    // Stopped while it was being started: stop() found nothing to signal.
    if (this.#stopDeadline !== undefined) void this.#terminate(this.#stopDeadline);
    const probing = this.#probe(target, over.signal);
    await this.#afterStart(target, over.signal);
    const end = await process.ended;
    await probing;
    await this.#termination;
    this.#termination = undefined;
    this.#running = undefined;
    this.#host.onEnd(process.pid);
    return ended(end, end.exitCode === 0 ? "Completed" : "Error");
  }

  async #afterStart(target: ActionTarget, signal: AbortSignal): Promise<void> {
    const hook = this.#spec.lifecycle?.postStart;
    if (hook === undefined) return;
    const { isOk, output } = await this.#runHook(hook, target, this.#host.graceMs(), signal);
    if (isOk || signal.aborted) return;
    this.#event("Warning", "FailedPostStartHook", `PostStartHook failed: ${output}`);
    void this.#terminate(this.#graceSignal(this.#host.graceMs()));
  }

  #probe(target: ActionTarget, signal: AbortSignal): Promise<void> {
    return probeContainer(
      target,
      {
        onStarted: () => this.#update({ started: true }),
        onReady: (ready) => this.#update({ ready }),
        onFailure: (kind, output) =>
          this.#event("Warning", "Unhealthy", `${kind} probe failed: ${output}`),
        onDead: (kind, probe) => {
          const graceSeconds = probe.terminationGracePeriodSeconds;
          this.#killUnhealthy(
            kind,
            graceSeconds === undefined ? this.#host.graceMs() : graceSeconds * 1000,
          );
        },
      },
      signal,
    );
  }

  #killUnhealthy(kind: ProbeKind, graceMs: number): void {
    const words = `Container ${this.#spec.name} failed ${kind.toLowerCase()} probe, will be restarted`;
    this.#event("Normal", "Killing", words);
    void this.#terminate(this.#graceSignal(graceMs));
  }

  /** Ends the current run; a second call joins the first, and its deadline counts too. */
  #terminate(deadline: AbortSignal): Promise<void> {
    const running = this.#running;
    if (running === undefined) return Promise.resolve();
    const kill = (): void => running.process.signal("SIGKILL");
    if (deadline.aborted) kill();
    else deadline.addEventListener("abort", kill, { once: true });
    this.#termination ??= this.#hookThenTerm(running.process, running.target, deadline);
    return this.#termination;
  }

  async #hookThenTerm(
    process: RunningProcess,
    target: ActionTarget,
    deadline: AbortSignal,
  ): Promise<void> {
    const hook = this.#spec.lifecycle?.preStop;
    if (hook !== undefined && !deadline.aborted) {
      const { isOk, output } = await this.#runHook(hook, target, this.#host.graceMs(), deadline);
      if (!isOk && !deadline.aborted) {
        this.#event("Warning", "FailedPreStopHook", `PreStopHook failed: ${output}`);
      }
    }
    process.signal("SIGTERM");
    await process.ended;
  }

  async #runHook(
    hook: LifecycleHandler,
    target: ActionTarget,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly isOk: boolean; readonly output: string }> {
    if (hook.sleep === undefined) return doAction(hook, target, timeoutMs, signal);
    await delay(target.clock, hook.sleep.seconds * 1000, signal);
    return { isOk: true, output: "" };
  }

  #graceSignal(graceMs: number): AbortSignal {
    const grace = new AbortController();
    schedule(this.#host.clock, graceMs, () => grace.abort());
    return grace.signal;
  }

  #wait(reason: string, message: string): void {
    const before = this.#status.state;
    if ("waiting" in before && before.waiting.reason === reason) {
      if (before.waiting.message === message) return;
    }
    this.#setState({ waiting: { reason, message } }, { ready: false, started: false });
  }

  /** What ended moves to lastState when something else takes its place. */
  #setState(state: ContainerState, fields: Partial<ContainerStatus>): void {
    const before = this.#status.state;
    const lastState =
      "terminated" in before ? { terminated: before.terminated } : this.#status.lastState;
    this.#update({ ...fields, state, lastState });
  }

  #update(fields: Partial<ContainerStatus>): void {
    this.#status = { ...this.#status, ...fields };
    for (const wake of [...this.#waiting]) wake();
    this.#host.changed();
  }

  #event(type: PodEvent["type"], reason: string, message: string): void {
    this.#host.event({ type, reason, message });
  }
}
