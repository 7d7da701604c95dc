import type { Probe } from "../core/node-agent/pod.ts";
import { foldProbe, type ProbeState, UNPROBED } from "../core/node-agent/probe-verdict.ts";
import { type ActionTarget, doAction } from "./action.ts";
import { delay } from "./delay.ts";

export type ProbeKind = "Startup" | "Readiness" | "Liveness";

export interface ProbeListener {
  onStarted(): void;
  onReady(isReady: boolean): void;
  /** The container must go: its startup or liveness probe failed for good. */
  onDead(kind: ProbeKind, probe: Probe): void;
  onFailure(kind: ProbeKind, output: string): void;
}

/**
 * Until its first success a startup or readiness probe is tried more often than its period, so
 * that a pod is ready when its program is. Failures count once per period nevertheless.
 */
const FIRST_FAST_MS = 100;
const LAST_FAST_MS = 1000;
/** Clock and timer may differ by this much without a round being taken for an extra one. */
const TIMER_SLACK_MS = 50;

/**
 * Kubernetes takes a container without a readiness probe for ready once its process runs. Here a
 * program is often still being loaded then, and its first requests would be refused: so it gets
 * this long to listen on its declared ports, and is ready after that in any case.
 */
const LISTEN_WAIT_MS = 5000;
const LISTEN_POLL_MS = 50;

/** Probes one run of a container until the signal aborts: startup first, then the other two. */
export async function probeContainer(
  target: ActionTarget,
  listener: ProbeListener,
  signal: AbortSignal,
): Promise<void> {
  const { startupProbe, readinessProbe, livenessProbe } = target.container;
  if (startupProbe !== undefined) {
    const passed = await probeUntil("Startup", startupProbe, target, listener, signal);
    if (!passed) return;
  }
  listener.onStarted();
  await Promise.all([
    readinessProbe === undefined
      ? untilListening(target, signal).then(() => {
          if (!signal.aborted) listener.onReady(true);
        })
      : probeUntil("Readiness", readinessProbe, target, listener, signal),
    livenessProbe === undefined
      ? undefined
      : probeUntil("Liveness", livenessProbe, target, listener, signal),
  ]);
}

/** Resolves when every declared TCP port takes connections, or after LISTEN_WAIT_MS. */
async function untilListening(target: ActionTarget, signal: AbortSignal): Promise<void> {
  const { clock, container } = target;
  const untilMs = clock.nowMs() + LISTEN_WAIT_MS;
  for (const { containerPort, protocol } of container.ports) {
    if (protocol !== "TCP") continue;
    const connect = { tcpSocket: { port: containerPort } };
    while (!signal.aborted && clock.nowMs() < untilMs) {
      const { isOk } = await doAction(connect, target, LISTEN_WAIT_MS, signal);
      if (isOk) break;
      await delay(clock, LISTEN_POLL_MS, signal);
    }
  }
}

/** Resolves true once a startup probe has passed, false when probing is over. */
async function probeUntil(
  kind: ProbeKind,
  probe: Probe,
  target: ActionTarget,
  listener: ProbeListener,
  signal: AbortSignal,
): Promise<boolean> {
  const { clock } = target;
  const periodMs = probe.periodSeconds * 1000;
  let state: ProbeState = UNPROBED;
  let fastMs = FIRST_FAST_MS;
  await delay(clock, probe.initialDelaySeconds * 1000, signal);
  // The rounds before the first period is over are extra ones: their failures mean nothing yet.
  let countedAtMs = kind === "Liveness" ? Number.NEGATIVE_INFINITY : clock.nowMs();
  while (!signal.aborted) {
    const startMs = clock.nowMs();
    const result = await doAction(probe, target, probe.timeoutSeconds * 1000, signal);
    if (signal.aborted) return false;
    // A success always counts, a failure when the period is over.
    if (result.isOk || startMs - countedAtMs >= periodMs - TIMER_SLACK_MS) {
      countedAtMs = startMs;
      const before = state.verdict;
      state = foldProbe(state, result.isOk, probe);
      if (!result.isOk) listener.onFailure(kind, result.output);
      if (kind === "Startup" && state.verdict === "success") return true;
      if (kind === "Readiness" && state.verdict !== before) {
        listener.onReady(state.verdict === "success");
      }
      if (kind !== "Readiness" && state.verdict === "failure") {
        listener.onDead(kind, probe);
        return false;
      }
    }
    const isWaitingForFirst = kind !== "Liveness" && state.verdict !== "success" && !signal.aborted;
    const pauseMs = isWaitingForFirst ? Math.min(fastMs, periodMs) : periodMs;
    fastMs = Math.min(LAST_FAST_MS, fastMs * 1.5);
    await delay(clock, Math.max(0, startMs + pauseMs - clock.nowMs()), signal);
  }
  return false;
}
