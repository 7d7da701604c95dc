import { numberAt, objectAt, objectsAt, stringAt } from "../api/json.ts";
import { type ContainerSpec, isNativeSidecar, type Pod } from "./pod.ts";
import type { ContainerStatus, TerminatedState } from "./pod-status.ts";
import { isRestarted } from "./restart.ts";

/** SIGKILL: what became of a container whose cluster ended. */
const KILLED_EXIT_CODE = 137;

/**
 * The statuses a pod's containers begin with. Of a pod that ran before the cluster was restarted,
 * restart counts go on; main containers that had ended for good stay ended.
 */
export function initialStatuses(pod: Pod, now: string): ReadonlyMap<string, ContainerStatus> {
  const { initContainers, containers } = pod.spec;
  const status = pod.object["status"];
  const creating = initContainers.length > 0 ? "PodInitializing" : "ContainerCreating";
  return new Map([
    ...initContainers.map((spec) => entry(pod, spec, "initContainerStatuses", "PodInitializing")),
    ...containers.map((spec) => entry(pod, spec, "containerStatuses", creating)),
  ]);

  function entry(
    { spec: { restartPolicy } }: Pod,
    spec: ContainerSpec,
    list: "initContainerStatuses" | "containerStatuses",
    reason: string,
  ): [string, ContainerStatus] {
    const before = objectsAt(status, list).find((each) => each["name"] === spec.name);
    const ended = terminatedAt(before, "state");
    const isOver =
      list === "containerStatuses" &&
      ended !== undefined &&
      !isRestarted(restartPolicy, ended.exitCode);
    const isWaiting = objectAt(before, "state", "waiting") !== undefined;
    const last = lostRun(before, now) ?? ended ?? terminatedAt(before, "lastState");
    const count = numberAt(before, "restartCount") ?? 0;
    const hasRun = last !== undefined && !(isWaiting && !isCrashLooping(before));
    return [
      spec.name,
      {
        name: spec.name,
        image: spec.image,
        imageID: spec.image,
        ...(isOver ? { containerID: ended.containerID } : {}),
        state: isOver ? { terminated: ended } : { waiting: { reason } },
        lastState: isOver || last === undefined ? {} : { terminated: last },
        ready: false,
        started: false,
        restartCount: isOver || !hasRun ? count : count + 1,
      },
    ];
  }
}

/** Whether a container still has to run, given the status it begins with. */
export function isToRun(spec: ContainerSpec, status: ContainerStatus | undefined): boolean {
  return isNativeSidecar(spec) || status === undefined || !("terminated" in status.state);
}

function isCrashLooping(status: unknown): boolean {
  return stringAt(status, "state", "waiting", "reason") === "CrashLoopBackOff";
}

/** A container that ran when the cluster ended. */
function lostRun(status: unknown, now: string): TerminatedState | undefined {
  const startedAt = stringAt(status, "state", "running", "startedAt");
  if (startedAt === undefined) return undefined;
  return {
    exitCode: KILLED_EXIT_CODE,
    reason: "ContainerStatusUnknown",
    message: "The container ended with the cluster it ran in",
    startedAt,
    finishedAt: now,
    containerID: stringAt(status, "containerID") ?? "",
  };
}

function terminatedAt(status: unknown, field: "state" | "lastState"): TerminatedState | undefined {
  const found = objectAt(status, field, "terminated");
  if (found === undefined) return undefined;
  const signal = numberAt(found, "signal");
  const message = stringAt(found, "message");
  return {
    exitCode: numberAt(found, "exitCode") ?? 0,
    ...(signal === undefined ? {} : { signal }),
    reason: stringAt(found, "reason") ?? "Error",
    ...(message === undefined ? {} : { message }),
    startedAt: stringAt(found, "startedAt") ?? "",
    finishedAt: stringAt(found, "finishedAt") ?? "",
    containerID: stringAt(found, "containerID") ?? "",
  };
}
