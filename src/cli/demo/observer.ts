import { type KubeObject, RESOURCES } from "../../api/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import type { Clock } from "../../runtime/index.ts";
import { type Change, follow } from "./follow.ts";
import { fieldAt, listAt, numberAt, textAt } from "./object-fields.ts";
import type { RoutedWeight } from "./report.ts";

/** A Kubernetes event about the canary. */
export interface CanaryEvent {
  readonly timeMs: number;
  readonly type: string;
  readonly message: string;
}

export interface CanaryName {
  readonly namespace: string;
  readonly name: string;
}

/** What can be seen of a canary from outside, as it happens. All lists are oldest first. */
export interface Observer {
  phase(): string | undefined;
  /** Message of the `Promoted` condition. */
  message(): string | undefined;
  failedChecks(): number;
  /** Every phase there was; the last one is current. */
  phases(): readonly { readonly phase: string; readonly timeMs: number }[];
  /** Every weight the VirtualService gave the canary. */
  weights(): readonly RoutedWeight[];
  events(): readonly CanaryEvent[];
  /** The image a Deployment runs, and its pods. */
  deployment(name: string): { readonly image: string; readonly ready: string } | undefined;
}

const MAX_HISTORY = 1000;

/**
 * Watches a canary, its VirtualService, Deployments and events until the signal aborts. `onNews`
 * gets one line for each change worth telling.
 */
export function observe(
  store: KubeStore,
  canary: CanaryName,
  options: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly onNews: (line: string) => void;
  },
): Observer {
  const { clock, signal, onNews } = options;
  const { namespace, name } = canary;
  const startMs = clock.nowMs();
  const phases: { phase: string; timeMs: number }[] = [];
  const weights: RoutedWeight[] = [];
  const events: CanaryEvent[] = [];
  const toldEvents = new Map<string, string>();
  const deployments = new Map<string, KubeObject>();
  let current: KubeObject | undefined;

  function onCanary({ type, object }: Change): void {
    current = type === "deleted" ? undefined : object;
    const phase = textAt(object, "status", "phase");
    if (type === "deleted" || phase === undefined || phase === phases.at(-1)?.phase) return;
    append(phases, { phase, timeMs: clock.nowMs() });
    onNews(`phase ${phase}`);
  }

  function onVirtualService({ type, object }: Change): void {
    const weightPercent = type === "deleted" ? undefined : weightOf(object, `${name}-canary`);
    if (weightPercent === undefined) return;
    const last = weights.at(-1);
    if (weightPercent !== last?.weightPercent) {
      append(weights, { weightPercent, setMs: clock.nowMs(), inEffectMs: undefined });
      if (last !== undefined || weightPercent > 0) onNews(`canary weight ${weightPercent} %`);
    }
    const newest = weights.at(-1);
    if (newest?.inEffectMs === undefined && isReconciled(object) && newest !== undefined) {
      weights[weights.length - 1] = { ...newest, inEffectMs: clock.nowMs() };
    }
  }

  function onEvent({ type, object }: Change): void {
    if (type === "deleted" || textAt(object, "involvedObject", "name") !== name) return;
    if (textAt(object, "involvedObject", "kind") !== "Canary") return;
    // The API counts repetitions in one object: tell each of them, and each only once.
    const version = `${numberAt(object, "count") ?? 1} ${textAt(object, "message")}`;
    const uid = object.metadata.uid ?? object.metadata.name;
    if (toldEvents.get(uid) === version) return;
    toldEvents.set(uid, version);
    const message = textAt(object, "message") ?? "";
    const kind = textAt(object, "type") ?? "Normal";
    if (Date.parse(textAt(object, "lastTimestamp") ?? "") < startMs - 60_000) return;
    append(events, { timeMs: clock.nowMs(), type: kind, message });
    onNews(`${kind === "Warning" ? "warning: " : ""}${message}`);
  }

  function onDeployment({ type, object }: Change): void {
    if (type === "deleted") deployments.delete(object.metadata.name);
    else deployments.set(object.metadata.name, object);
  }

  const byName = { namespace, fieldSelector: `metadata.name=${name}` };
  // These end with the signal and never reject.
  void follow(store, RESOURCES.canary, byName, onCanary, signal);
  void follow(store, RESOURCES.virtualService, byName, onVirtualService, signal);
  void follow(store, RESOURCES.event, { namespace }, onEvent, signal);
  void follow(store, RESOURCES.deployment, { namespace }, onDeployment, signal);

  return {
    phase: () => textAt(current, "status", "phase"),
    message: () => conditionOf(current, "Promoted")?.message,
    failedChecks: () => numberAt(current, "status", "failedChecks") ?? 0,
    phases: () => phases,
    weights: () => weights,
    events: () => events,
    deployment(deploymentName) {
      const object = deployments.get(deploymentName);
      if (object === undefined) return undefined;
      const [container] = listAt(object, "spec", "template", "spec", "containers");
      const wanted = numberAt(object, "spec", "replicas") ?? 1;
      const ready = numberAt(object, "status", "readyReplicas") ?? 0;
      return { image: textAt(container, "image") ?? "", ready: `${ready}/${wanted}` };
    },
  };
}

/** The share of the first route that knows `host`; undefined when none does. */
function weightOf(virtualService: KubeObject, host: string): number | undefined {
  for (const http of listAt(virtualService, "spec", "http")) {
    for (const route of listAt(http, "route")) {
      const destination = textAt(route, "destination", "host");
      if (destination === host || destination?.startsWith(`${host}.`)) {
        return numberAt(route, "weight") ?? 0;
      }
    }
  }
  return undefined;
}

/** Whether every connected proxy has acknowledged the generation that this object shows. */
function isReconciled(virtualService: KubeObject): boolean {
  const observed = fieldAt(virtualService, "status", "observedGeneration");
  return (
    String(observed) === String(virtualService.metadata.generation) &&
    conditionOf(virtualService, "Reconciled")?.status === "True"
  );
}

function conditionOf(object: KubeObject | undefined, type: string) {
  for (const condition of listAt(object, "status", "conditions")) {
    if (textAt(condition, "type") !== type) continue;
    return { status: textAt(condition, "status"), message: textAt(condition, "message") };
  }
  return undefined;
}

function append<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > MAX_HISTORY) list.shift();
}
