import type { PodSpec } from "./pod.ts";

/** kubelet: 10 s, doubling, at most 5 min; forgotten after 10 min of running. */
const FIRST_BACKOFF_MS = 10_000;
const MAX_BACKOFF_MS = 300_000;
const RESET_AFTER_MS = 600_000;

/** How often a container has ended lately. */
export interface CrashLoop {
  readonly failures: number;
}

/** After an exit: the first restart comes at once, the next ones after a growing delay. */
export function afterExit(loop: CrashLoop, ranForMs: number): CrashLoop & { delayMs: number } {
  const failures = ranForMs >= RESET_AFTER_MS ? 1 : loop.failures + 1;
  const delayMs =
    failures === 1 ? 0 : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 2));
  return { failures, delayMs };
}

/** Whether a container that ended with `exitCode` is to run again. */
export function isRestarted(policy: PodSpec["restartPolicy"], exitCode: number): boolean {
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}
