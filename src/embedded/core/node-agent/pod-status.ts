import { type JsonObject, objectsAt, stringAt } from "../api/json.ts";
import { isNativeSidecar, type Pod } from "./pod.ts";

/** A container's state as status shows it: exactly one of the three. */
export type ContainerState =
  | { readonly waiting: { readonly reason: string; readonly message?: string } }
  | { readonly running: { readonly startedAt: string } }
  | { readonly terminated: TerminatedState };

export interface TerminatedState {
  readonly exitCode: number;
  readonly signal?: number;
  readonly reason: string;
  readonly message?: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly containerID: string;
}

/** One entry of containerStatuses or initContainerStatuses. */
export interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly imageID: string;
  readonly containerID?: string;
  readonly state: ContainerState;
  readonly lastState: { readonly terminated?: TerminatedState };
  readonly ready: boolean;
  readonly started: boolean;
  readonly restartCount: number;
}

export interface PodStatusInput {
  readonly pod: Pod;
  readonly statuses: ReadonlyMap<string, ContainerStatus>;
  readonly podIp: string;
  readonly hostIp: string;
  readonly startTime: string;
  /** The status written last: conditions keep their transition times. */
  readonly previous: unknown;
  /** RFC 3339, whole seconds. */
  readonly now: string;
  /** A verdict about the pod as a whole, which ends it as Failed. */
  readonly failure?: { readonly reason: string; readonly message: string } | undefined;
}

type Phase = "Pending" | "Running" | "Succeeded" | "Failed";

/** The status of a pod, from its containers. Source: kubelet's getPhase and status/generate.go. */
export function podStatus(input: PodStatusInput): JsonObject {
  const { pod, statuses } = input;
  const ofSpec = (list: readonly { readonly name: string }[]): ContainerStatus[] =>
    list.flatMap(({ name }) => statuses.get(name) ?? []);
  const init = ofSpec(pod.spec.initContainers);
  const main = ofSpec(pod.spec.containers);
  const phase = input.failure === undefined ? podPhase(pod, init, main) : "Failed";
  return {
    phase,
    ...(input.failure === undefined ? {} : input.failure),
    conditions: conditions(input, phase, init, main),
    hostIP: input.hostIp,
    hostIPs: [{ ip: input.hostIp }],
    podIP: input.podIp,
    podIPs: [{ ip: input.podIp }],
    startTime: input.startTime,
    ...(init.length === 0 ? {} : { initContainerStatuses: init }),
    containerStatuses: main,
  };
}

function podPhase(
  { spec }: Pod,
  init: readonly ContainerStatus[],
  main: readonly ContainerStatus[],
): Phase {
  const sidecars = new Set(spec.initContainers.filter(isNativeSidecar).map((c) => c.name));
  const failedInit = init.some(
    (status) => !sidecars.has(status.name) && (exitCodeOf(status) ?? 0) !== 0,
  );
  if (failedInit && spec.restartPolicy === "Never") return "Failed";
  if (!hasBegun(main) && !init.every((status) => isInitialized(status, sidecars))) return "Pending";
  const isStopped = (status: ContainerStatus): boolean =>
    "terminated" in status.state ||
    ("waiting" in status.state && status.lastState.terminated !== undefined);
  if (main.some((status) => "waiting" in status.state && !isStopped(status))) return "Pending";
  if (main.some((status) => "running" in status.state)) return "Running";
  if (spec.restartPolicy === "Always") return "Running";
  if (main.every((status) => exitCodeOf(status) === 0)) return "Succeeded";
  return spec.restartPolicy === "Never" ? "Failed" : "Running";
}

/** Once a container has run the pod is initialized, even while a native sidecar restarts. */
function hasBegun(main: readonly ContainerStatus[]): boolean {
  return main.some(({ state }) => !("waiting" in state));
}

function exitCodeOf(status: ContainerStatus): number | undefined {
  return "terminated" in status.state ? status.state.terminated.exitCode : undefined;
}

function isInitialized(status: ContainerStatus, sidecars: ReadonlySet<string>): boolean {
  return sidecars.has(status.name) ? status.started : exitCodeOf(status) === 0;
}

interface Verdict {
  readonly status: "True" | "False";
  readonly reason?: string;
  readonly message?: string;
}

const HOLDS: Verdict = { status: "True" };

function conditions(
  input: PodStatusInput,
  phase: Phase,
  init: readonly ContainerStatus[],
  main: readonly ContainerStatus[],
): JsonObject[] {
  const { spec } = input.pod;
  const sidecars = new Set(spec.initContainers.filter(isNativeSidecar).map((c) => c.name));
  const incomplete = hasBegun(main)
    ? []
    : init.filter((status) => !isInitialized(status, sidecars));
  const counted = [...init.filter((status) => sidecars.has(status.name)), ...main];
  const unready = counted.filter((status) => !status.ready);
  const completed: Verdict = { status: "False", reason: "PodCompleted" };
  const failed: Verdict = { status: "False", reason: "PodFailed" };
  const containersReady =
    phase === "Succeeded"
      ? completed
      : phase === "Failed"
        ? failed
        : listing(unready, "ContainersNotReady", "containers with unready status");
  const initialized =
    phase === "Succeeded"
      ? { status: "True" as const, reason: "PodCompleted" }
      : listing(incomplete, "ContainersNotInitialized", "containers with incomplete status");
  const gates = spec.readinessGates
    .map((gate) => gate.conditionType)
    .filter((type) => conditionOf(input.previous, type)?.["status"] !== "True");
  const gated: Verdict = {
    status: "False",
    reason: "ReadinessGatesNotReady",
    message: gates
      .map((type) => `corresponding condition of pod readiness gate "${type}" does not exist.`)
      .join(", "),
  };
  const isReady = containersReady.status === "True";
  const verdicts: readonly [string, Verdict][] = [
    ["PodReadyToStartContainers", HOLDS],
    ["Initialized", initialized],
    ["Ready", isReady && gates.length > 0 ? gated : containersReady],
    ["ContainersReady", containersReady],
    ["PodScheduled", HOLDS],
  ];
  return verdicts.map(([type, verdict]) => condition(type, verdict, input));
}

function listing(unfit: readonly ContainerStatus[], reason: string, words: string): Verdict {
  if (unfit.length === 0) return HOLDS;
  const names = unfit.map((status) => status.name).join(" ");
  return { status: "False", reason, message: `${words}: [${names}]` };
}

function condition(type: string, verdict: Verdict, input: PodStatusInput): JsonObject {
  const before = conditionOf(input.previous, type);
  const since =
    before?.["status"] === verdict.status ? stringAt(before, "lastTransitionTime") : undefined;
  return {
    type,
    status: verdict.status,
    lastProbeTime: null,
    lastTransitionTime: since ?? input.now,
    ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
    ...(verdict.message === undefined ? {} : { message: verdict.message }),
  };
}

function conditionOf(status: unknown, type: string): JsonObject | undefined {
  return objectsAt(status, "conditions").find((each) => each["type"] === type);
}
