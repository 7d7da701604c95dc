import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import { deepEqual, type JsonObject, numberAt, objectAt, objectsAt } from "../core/api/json.ts";
import { controllerOf, ownerReferenceTo } from "../core/controllers/owner.ts";
import {
  availableInMs,
  compareForDeletion,
  isActive,
  isReady,
} from "../core/controllers/pod-state.ts";
import { claimObjects } from "./claim.ts";
import { type ControllerContext, type RunningController, timestamp } from "./context.ts";
import { EventWriter } from "./event-writer.ts";
import { createKeyedWorker, keyOf, splitKey } from "./keyed-worker.ts";

/** At most so many pods at once, so that a quota or webhook that refuses is met by few. */
const MAX_BURST = 500;
const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";

/** Keeps as many pods of a ReplicaSet as it asks for (kube-controller-manager's replicaset). */
export function startReplicaSetController(context: ControllerContext): RunningController {
  const { api } = context;
  const events = new EventWriter(context, "replicaset-controller");
  const worker = createKeyedWorker({ ...context, name: "replicaset" }, (key) =>
    reconcile(context, events, key),
  );
  const { replicaSet, pod } = RESOURCES;
  const stops = [
    api.watch(replicaSet, ({ object }) => worker.add(keyOf(object.metadata))),
    api.watch(pod, ({ object }) => {
      const { namespace = "" } = object.metadata;
      const owner = controllerOf(object);
      if (owner?.kind === "ReplicaSet") worker.add(keyOf({ namespace, name: owner.name }));
      else if (owner === undefined) addMatching(context, object, (name) => worker.add(name));
    }),
  ];
  return {
    async stop() {
      for (const stop of stops) stop();
      await worker.stop();
      await events.flush();
    },
  };
}

/** An orphan pod may be adopted by any ReplicaSet of its namespace. */
function addMatching(
  { api }: ControllerContext,
  pod: KubeObject,
  add: (key: string) => void,
): void {
  const { namespace = "" } = pod.metadata;
  api.list(RESOURCES.replicaSet, { namespace }).then(
    (sets) => {
      for (const set of sets) add(keyOf(set.metadata));
    },
    // The server is going down.
    () => undefined,
  );
}

async function reconcile(
  context: ControllerContext,
  events: EventWriter,
  key: string,
): Promise<number | undefined> {
  const { api, clock } = context;
  const set = await api.get(RESOURCES.replicaSet, splitKey(key));
  if (set === undefined) return undefined;
  const pods = await claimObjects(api, set, RESOURCES.pod);
  const active = pods.filter(isActive);
  let failure: unknown;
  if (set.metadata.deletionTimestamp === undefined) {
    try {
      await manage(context, events, set, active);
    } catch (error) {
      failure = error;
    }
  }
  const now = (await claimObjects(api, set, RESOURCES.pod)).filter(isActive);
  const minReadySeconds = numberAt(set, "spec", "minReadySeconds") ?? 0;
  const waits = now.map((pod) => availableInMs(pod, minReadySeconds, clock.nowMs()));
  await writeStatus(context, set, now, waits.filter((wait) => wait === 0).length, failure);
  if (failure !== undefined) throw failure;
  const pending = waits.filter((wait) => wait !== undefined && wait > 0);
  return pending.length === 0 ? undefined : Math.min(...pending.map((wait) => wait ?? 0));
}

async function manage(
  context: ControllerContext,
  events: EventWriter,
  set: KubeObject,
  active: readonly KubeObject[],
): Promise<void> {
  const wanted = numberAt(set, "spec", "replicas") ?? 1;
  const missing = Math.min(wanted - active.length, MAX_BURST);
  for (let i = 0; i < missing; i += 1) await createPod(context, events, set);
  if (missing >= 0) return;
  const surplus = active.toSorted(compareForDeletion).slice(0, -missing);
  for (const pod of surplus) await deletePod(context, events, set, pod);
}

async function createPod(
  { api }: ControllerContext,
  events: EventWriter,
  set: KubeObject,
): Promise<void> {
  const template = objectAt(set, "spec", "template") ?? {};
  const metadata = objectAt(template, "metadata") ?? {};
  const name = `${set.metadata.name}-${suffix()}`;
  try {
    await api.create(RESOURCES.pod, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        ...metadata,
        name,
        generateName: `${set.metadata.name}-`,
        namespace: set.metadata.namespace ?? "default",
        ownerReferences: [ownerReferenceTo(set)],
      },
      spec: template["spec"],
    });
    events.write(set, "Normal", "SuccessfulCreate", `Created pod: ${name}`);
  } catch (error) {
    events.write(set, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
    throw error;
  }
}

async function deletePod(
  { api }: ControllerContext,
  events: EventWriter,
  set: KubeObject,
  pod: KubeObject,
): Promise<void> {
  const { namespace = "", name, uid = "" } = pod.metadata;
  try {
    await api.delete(RESOURCES.pod, { namespace, name }, { propagation: "Background", uid });
    events.write(set, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
  } catch (error) {
    if (error instanceof SerinError && error.code === "SERIN_NOT_FOUND") return;
    throw error;
  }
}

function suffix(): string {
  let text = "";
  for (let i = 0; i < 5; i += 1) {
    text += SUFFIX_LETTERS[Math.floor(Math.random() * SUFFIX_LETTERS.length)];
  }
  return text;
}

async function writeStatus(
  context: ControllerContext,
  set: KubeObject,
  active: readonly KubeObject[],
  available: number,
  failure: unknown,
): Promise<void> {
  const templateLabels = Object.entries(
    objectAt(set, "spec", "template", "metadata", "labels") ?? {},
  );
  const labeled = active.filter(({ metadata }) =>
    templateLabels.every(([label, value]) => metadata.labels?.[label] === value),
  );
  const count = (field: string, value: number): JsonObject => (value > 0 ? { [field]: value } : {});
  const others = objectsAt(set, "status", "conditions").filter(
    ({ type }) => type !== "ReplicaFailure",
  );
  const failed = objectsAt(set, "status", "conditions").find(
    ({ type }) => type === "ReplicaFailure",
  );
  const conditions =
    failure === undefined
      ? others
      : [
          ...others,
          {
            lastTransitionTime: timestamp(context.clock),
            ...failed,
            type: "ReplicaFailure",
            status: "True",
            reason: "FailedCreate",
            message: messageOf(failure),
          },
        ];
  const status: JsonObject = {
    replicas: active.length,
    ...count("fullyLabeledReplicas", labeled.length),
    ...count("readyReplicas", active.filter(isReady).length),
    ...count("availableReplicas", available),
    observedGeneration: set.metadata.generation ?? 0,
    ...(conditions.length === 0 ? {} : { conditions }),
  };
  if (deepEqual(status, set["status"])) return;
  await context.api.update(RESOURCES.replicaSet, { ...set, status }, { subresource: "status" });
}
