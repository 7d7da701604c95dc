import { RESOURCES } from "../../api/index.ts";
import { formatDurationMs } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import type { Clock } from "../../runtime/index.ts";
import {
  applyExample,
  BOOKINFO,
  CANARY,
  readyPodIp,
  reviewsImage,
  versionOfImage,
} from "./application.ts";
import { isFailure, type LoadClient, startLoadClient } from "./load-client.ts";
import { type Observer, observe } from "./observer.ts";
import { type RolloutReport, reportRollout } from "./report.ts";
import { waitFor } from "./wait.ts";

/** What the scenario works on, and whom it tells. */
export interface Stage {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** One line for each thing that happens. */
  readonly onProgress: (line: string) => void;
}

/** The application under load, observed. */
export interface Scene {
  readonly observer: Observer;
  readonly load: LoadClient;
}

const KEY = { namespace: "default", name: "reviews" };
const REQUESTS_PER_SECOND = 100;
/** This many good answers in a row, and the application counts as up. */
const WARM_UP_REQUESTS = 50;
const SETUP_TIMEOUT_MS = 90_000;
const ROLLOUT_TIMEOUT_MS = 150_000;
/** What is wrong with the faulty build: three in ten fail, one in five is slow. */
const FAULT = { FAULT_ERROR_RATE: "0.3", FAULT_DELAY_RATE: "0.2", FAULT_DELAY_MS: "1200" };

/** Deploys bookinfo with its canary, waits until all of it answers, and starts the load. */
export async function setUp(stage: Stage): Promise<Scene> {
  const { store, clock, signal, onProgress } = stage;
  const injection = { metadata: { labels: { "istio-injection": "enabled" } } };
  await store.patch(RESOURCES.namespace, { name: KEY.namespace }, injection, { kind: "merge" });
  await removePrevious(stage);
  for (const path of [...BOOKINFO, CANARY]) {
    await applyExample(store, path);
    onProgress(`applied examples/${path}`);
  }
  const observer = observe(store, KEY, { clock, signal, onNews: onProgress });
  const address = await wait(stage, "the productpage pod", SETUP_TIMEOUT_MS, () =>
    readyPodIp(store, "productpage"),
  );
  await wait(
    stage,
    "the canary to be initialized",
    SETUP_TIMEOUT_MS,
    () => (observer.phase() === "Initialized" ? true : undefined),
    () => `phase ${observer.phase() ?? "none"}, ${deploymentsOf(observer)}`,
  );
  const load = startLoadClient({
    url: loadUrl(address),
    requestsPerSecond: REQUESTS_PER_SECOND,
    clock,
  });
  try {
    await warmUp(stage, load);
  } catch (error) {
    await load.stop();
    throw error;
  }
  onProgress(`live traffic: ${REQUESTS_PER_SECOND} requests per second to ${loadUrl(address)}`);
  return { observer, load };
}

/** A data directory that was used before holds the last run's canary: start from v1 again. */
async function removePrevious(stage: Stage): Promise<void> {
  const { store } = stage;
  if ((await store.get(RESOURCES.canary, KEY)) === undefined) return;
  stage.onProgress("removing the canary of an earlier run");
  const owned = [
    { type: RESOURCES.canary, key: KEY },
    { type: RESOURCES.deployment, key: KEY },
    { type: RESOURCES.deployment, key: { ...KEY, name: `${KEY.name}-primary` } },
  ];
  for (const { type, key } of owned) {
    if ((await store.get(type, key)) === undefined) continue;
    await store.delete(type, key, { propagation: "Background" });
  }
  await wait(stage, "the earlier run's objects to go", SETUP_TIMEOUT_MS, async () => {
    for (const { type, key } of owned) {
      if ((await store.get(type, key)) !== undefined) return undefined;
    }
    return true;
  });
}

async function warmUp(stage: Stage, load: LoadClient): Promise<void> {
  const tail = () => load.exchanges().slice(-WARM_UP_REQUESTS);
  await wait(
    stage,
    "the application to answer",
    SETUP_TIMEOUT_MS,
    () => {
      const answers = tail();
      return answers.length === WARM_UP_REQUESTS && !answers.some(isFailure) ? true : undefined;
    },
    () => {
      const last = tail().at(-1);
      return last === undefined ? "no answer yet" : `last: ${last.error ?? `HTTP ${last.status}`}`;
    },
  );
}

/** Rolls the good version out. */
export async function rollOutGood(stage: Stage, scene: Scene): Promise<RolloutReport> {
  return await rollOut(stage, scene, "v2", {});
}

/** Rolls a version out that is faulty on purpose. */
export async function rollOutFaulty(stage: Stage, scene: Scene): Promise<RolloutReport> {
  return await rollOut(stage, scene, "v3", FAULT);
}

/**
 * Takes the faulty build back out of the spec, as a revert in Git would: `kubectl set image` then
 * starts from a healthy template.
 */
export async function revert(stage: Stage, version: string): Promise<void> {
  await setVersion(stage.store, version, {});
  stage.onProgress(`reverted the Deployment to ${version}`);
}

async function rollOut(
  stage: Stage,
  { observer, load }: Scene,
  to: string,
  fault: Readonly<Record<string, string>>,
): Promise<RolloutReport> {
  const { clock, onProgress } = stage;
  const from = versionOfImage(observer.deployment(`${KEY.name}-primary`)?.image ?? "");
  const [phaseCount, weightCount] = [observer.phases().length, observer.weights().length];
  const startMs = clock.nowMs();
  const what = Object.keys(fault).length > 0 ? `${to} (faulty on purpose)` : to;
  onProgress(`rolling out reviews ${from} -> ${what}`);
  await setVersion(stage.store, to, fault);
  const outcome = await wait(
    stage,
    `the rollout of ${to} to end`,
    ROLLOUT_TIMEOUT_MS,
    () => outcomeOf(observer.phases().slice(phaseCount)),
    () =>
      `phase ${observer.phase()}, canary weight ${observer.weights().at(-1)?.weightPercent ?? 0} %, ` +
      `${observer.failedChecks()} failed checks, ${deploymentsOf(observer)}`,
  );
  const endMs = clock.nowMs();
  await load.settle();
  const report = reportRollout(
    {
      canary: `${KEY.namespace}/${KEY.name}`,
      ...{ from, to, outcome, startMs, endMs },
      reason: reasonOf(observer, startMs),
      weights: observer.weights().slice(weightCount),
    },
    load.exchanges(),
  );
  onProgress(summaryOf(report));
  return report;
}

async function setVersion(
  store: KubeStore,
  version: string,
  fault: Readonly<Record<string, string>>,
): Promise<void> {
  // A strategic merge patch deletes an entry that says so: no trace of an earlier fault stays.
  const env = Object.keys(FAULT).map((name) => {
    const value = fault[name];
    return value === undefined ? { name, $patch: "delete" } : { name, value };
  });
  const container = { name: KEY.name, image: reviewsImage(version), env };
  const patch = { spec: { template: { spec: { containers: [container] } } } };
  await store.patch(RESOURCES.deployment, KEY, patch, { kind: "strategic" });
}

/** How a rollout ended: only after it has visibly begun, for the phase before it may be the same. */
function outcomeOf(phases: readonly { readonly phase: string }[]) {
  const last = phases.at(-1)?.phase;
  const hasBegun = phases.some(({ phase }) => phase !== "Succeeded" && phase !== "Failed");
  if (!hasBegun || (last !== "Succeeded" && last !== "Failed")) return undefined;
  return last;
}

/** The controller's last complaint, or what the canary's condition says. */
function reasonOf(observer: Observer, sinceMs: number): string {
  const warnings = observer
    .events()
    .filter(({ type, timeMs }) => type === "Warning" && timeMs >= sinceMs)
    .map(({ message }) => message);
  // "Canary failed! Scaling down" closes the rollout; the halt before it says why.
  const halt = warnings.findLast((message) => /^Halt/.test(message));
  return halt ?? warnings.at(-1) ?? observer.message() ?? "";
}

function summaryOf(report: RolloutReport): string {
  const head = `${report.from} -> ${report.to} ${report.outcome} after ${formatDurationMs(report.durationMs)}`;
  const failed = `${report.clientFailures} failed client requests`;
  if (report.rollback === null) return `${head}; weights ${report.weights.join(", ")}; ${failed}`;
  const awayMs = report.rollback.firstBadRequestToWeightZeroMs;
  return `${head}; ${failed}, traffic away ${formatDurationMs(awayMs)} after the first: ${report.rollback.reason}`;
}

function deploymentsOf(observer: Observer): string {
  return [KEY.name, `${KEY.name}-primary`]
    .map((name) => `${name} ${observer.deployment(name)?.ready ?? "absent"}`)
    .join(", ");
}

/** Where the load goes: through productpage's sidecar, and by its call through reviews' route. */
export function loadUrl(address: string): string {
  return `http://${address}:9080/api/v1/products/0/reviews`;
}

async function wait<T>(
  stage: Stage,
  what: string,
  timeoutMs: number,
  ask: () => T | undefined | Promise<T | undefined>,
  detail?: () => string,
): Promise<T> {
  const { signal, onProgress, clock } = stage;
  return await waitFor(ask, {
    ...{ what, timeoutMs, signal, onProgress },
    nowMs: () => clock.nowMs(),
    ...(detail === undefined ? {} : { detail }),
  });
}
