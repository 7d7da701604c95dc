import { availableParallelism, hostname, release, totalmem } from "node:os";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import { timestamp } from "../api-server/timestamp.ts";
import { objectsAt, stringAt } from "../core/api/json.ts";
import { ADDRESSES_PER_BLOCK } from "../core/node-agent/network.ts";
import type { LocalApi } from "../local-api.ts";

export const NODE_NAME = "serin-local";
export const NODE_IP = "127.0.0.1";
/** kubelet's nodeStatusReportFrequency. */
const HEARTBEAT_MS = 300_000;

/** What this machine has, in plain units: cores and bytes. */
export function nodeCapacity(): Readonly<Record<string, number>> {
  return { cpu: availableParallelism(), memory: totalmem(), "ephemeral-storage": 0 };
}

export const NODE_LABELS: Readonly<Record<string, string>> = {
  "kubernetes.io/hostname": NODE_NAME,
  "kubernetes.io/os": process.platform === "darwin" ? "darwin" : "linux",
  "kubernetes.io/arch": process.arch === "x64" ? "amd64" : process.arch,
};

/** Creates or renews the Node object and keeps its heartbeat; the returned function ends that. */
export async function registerNode(
  api: LocalApi,
  clock: Clock,
  logger: Logger,
  address: string,
): Promise<() => void> {
  const key = { name: NODE_NAME };
  if ((await api.get(RESOURCES.node, key)) === undefined) {
    await api.create(RESOURCES.node, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: NODE_NAME, labels: NODE_LABELS },
    });
  }
  let cancel: (() => void) | undefined;
  const beat = async (): Promise<void> => {
    const node = await api.get(RESOURCES.node, key);
    const status = nodeStatus(node, timestamp(clock.nowMs()), address);
    await api.patch(RESOURCES.node, key, { status }, { kind: "merge", subresource: "status" });
  };
  const schedule = (): void => {
    cancel = clock.schedule(HEARTBEAT_MS, () => {
      beat().catch((error: unknown) => {
        logger.warn({ error: messageOf(error) }, "node heartbeat failed");
      });
      schedule();
    });
  };
  await beat();
  schedule();
  return () => cancel?.();
}

function nodeStatus(node: KubeObject | undefined, now: string, address: string): object {
  const { cpu = 1, memory = 0 } = nodeCapacity();
  const amounts = {
    cpu: String(cpu),
    memory: `${Math.floor(memory / 1024)}Ki`,
    pods: String(ADDRESSES_PER_BLOCK),
  };
  return {
    capacity: amounts,
    allocatable: amounts,
    addresses: [
      { type: "InternalIP", address },
      { type: "Hostname", address: NODE_NAME },
    ],
    conditions: [
      condition(node, now, "MemoryPressure", "False", "KubeletHasSufficientMemory"),
      condition(node, now, "DiskPressure", "False", "KubeletHasNoDiskPressure"),
      condition(node, now, "PIDPressure", "False", "KubeletHasSufficientPID"),
      condition(node, now, "Ready", "True", "KubeletReady"),
    ],
    nodeInfo: {
      machineID: hostname(),
      systemUUID: hostname(),
      bootID: "",
      kernelVersion: release(),
      osImage: `Node.js ${process.version}`,
      containerRuntimeVersion: "serin://1",
      kubeletVersion: "v1.32.0",
      kubeProxyVersion: "",
      operatingSystem: NODE_LABELS["kubernetes.io/os"],
      architecture: NODE_LABELS["kubernetes.io/arch"],
    },
  };
}

function condition(
  node: KubeObject | undefined,
  now: string,
  type: string,
  status: string,
  reason: string,
): object {
  const before = objectsAt(node, "status", "conditions").find((each) => each["type"] === type);
  const since = before?.["status"] === status ? stringAt(before, "lastTransitionTime") : undefined;
  return { type, status, reason, lastHeartbeatTime: now, lastTransitionTime: since ?? now };
}
