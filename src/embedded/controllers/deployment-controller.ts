import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import {
  deepEqual,
  isObject,
  type JsonObject,
  numberAt,
  objectAt,
  valueAt,
} from "../core/api/json.ts";
import {
  deploymentStatus,
  isComplete,
  type ProgressNote,
} from "../core/controllers/deployment-status.ts";
import { controllerOf, ownerReferenceTo } from "../core/controllers/owner.ts";
import { isActive } from "../core/controllers/pod-state.ts";
import {
  newReplicaSetSize,
  oldReplicaSetSizes,
  proportionalSizes,
  type ReplicaSetCounts,
  type RollingUpdateLimits,
  rollingUpdateLimits,
} from "../core/controllers/rolling-update.ts";
import {
  isSameTemplate,
  TEMPLATE_HASH_LABEL,
  templateHash,
} from "../core/controllers/template-hash.ts";
import { claimObjects } from "./claim.ts";
import { type ControllerContext, type RunningController, timestamp } from "./context.ts";
import { EventWriter } from "./event-writer.ts";
import { createKeyedWorker, keyOf, splitKey } from "./keyed-worker.ts";

const { deployment: DEPLOYMENT, replicaSet: REPLICA_SET, pod: POD } = RESOURCES;
const REVISION = "deployment.kubernetes.io/revision";
const REVISION_HISTORY = "deployment.kubernetes.io/revision-history";
const DESIRED = "deployment.kubernetes.io/desired-replicas";
const MAX = "deployment.kubernetes.io/max-replicas";
/** Annotations of a Deployment that are not copied to its ReplicaSets. */
const OWN_ANNOTATIONS: readonly string[] = [
  "kubectl.kubernetes.io/last-applied-configuration",
  REVISION,
  REVISION_HISTORY,
  DESIRED,
  MAX,
  "deprecated.deployment.rollback.to",
];

/** How often a rollout that stands still is looked at for its deadline. */
const DEADLINE_CHECK_MS = 1000;

/** Rolls Deployments out through ReplicaSets (kube-controller-manager's deployment). */
export function startDeploymentController(context: ControllerContext): RunningController {
  const { api } = context;
  const events = new EventWriter(context, "deployment-controller");
  const worker = createKeyedWorker({ ...context, name: "deployment" }, (key) =>
    reconcile(context, events, key),
  );
  const stops = [
    api.watch(DEPLOYMENT, ({ object }) => worker.add(keyOf(object.metadata))),
    api.watch(REPLICA_SET, ({ object }) => {
      const { namespace = "" } = object.metadata;
      const owner = controllerOf(object);
      if (owner?.kind === "Deployment") worker.add(keyOf({ namespace, name: owner.name }));
    }),
    // Recreate waits until the old pods are gone.
    api.watch(POD, ({ type, object }) => {
      const owner = controllerOf(object);
      if (type !== "DELETED" || owner?.kind !== "ReplicaSet") return;
      const name = owner.name.slice(0, owner.name.lastIndexOf("-"));
      worker.add(keyOf({ namespace: object.metadata.namespace ?? "", name }));
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

/** What one pass works on; ReplicaSets are replaced as they are written. */
interface Pass {
  readonly context: ControllerContext;
  readonly events: EventWriter;
  readonly deployment: KubeObject;
  readonly limits: RollingUpdateLimits;
  /** Undefined until it is needed. */
  fresh: KubeObject | undefined;
  /** Oldest first. */
  old: readonly KubeObject[];
  note: ProgressNote | undefined;
  collisionCount: number;
}

async function reconcile(
  context: ControllerContext,
  events: EventWriter,
  key: string,
): Promise<number | undefined> {
  const { api } = context;
  const deployment = await api.get(DEPLOYMENT, splitKey(key));
  if (deployment === undefined) return undefined;
  const sets = (await claimObjects(api, deployment, REPLICA_SET)).toSorted(byAge);
  const template = valueAt(deployment, "spec", "template");
  const fresh = sets.find((set) => isSameTemplate(valueAt(set, "spec", "template"), template));
  const strategy = objectAt(deployment, "spec", "strategy");
  const pass: Pass = {
    context,
    events,
    deployment,
    limits: isRecreate(deployment)
      ? { replicas: replicasOf(deployment), maxSurge: 0, maxUnavailable: replicasOf(deployment) }
      : rollingUpdateLimits(
          replicasOf(deployment),
          valueAt(strategy, "rollingUpdate", "maxSurge"),
          valueAt(strategy, "rollingUpdate", "maxUnavailable"),
        ),
    fresh,
    old: sets.filter((set) => set !== fresh),
    note: undefined,
    collisionCount: numberAt(deployment, "status", "collisionCount") ?? 0,
  };
  const isPaused = valueAt(deployment, "spec", "paused") === true;
  if (deployment.metadata.deletionTimestamp === undefined) {
    if (isPaused || isScaling(pass)) await scaleProportionally(pass);
    else if (isRecreate(deployment)) await recreate(pass);
    else await rollOut(pass);
    if (!isPaused) await adoptRevision(pass);
  }
  await writeStatus(pass, isPaused);
  const deadline = numberAt(deployment, "spec", "progressDeadlineSeconds");
  // Nothing may happen any more, and then the deadline still has to be seen.
  const isOverdue =
    conditionOf(deployment, "Progressing")?.["reason"] === "ProgressDeadlineExceeded";
  const isWatched = deadline !== undefined && !isOverdue && !isPaused && !isSettled(pass);
  return isWatched ? DEADLINE_CHECK_MS : undefined;
}

function isSettled({ fresh, old, limits }: Pass): boolean {
  const { replicas } = limits;
  return (
    fresh !== undefined &&
    numberAt(fresh, "status", "availableReplicas") === replicas &&
    old.every((set) => (numberAt(set, "status", "replicas") ?? 0) === 0)
  );
}

function isRecreate(deployment: KubeObject): boolean {
  return valueAt(deployment, "spec", "strategy", "type") === "Recreate";
}

function replicasOf(object: KubeObject): number {
  return numberAt(object, "spec", "replicas") ?? 1;
}

function byAge(a: KubeObject, b: KubeObject): number {
  const created = (object: KubeObject): string => object.metadata.creationTimestamp ?? "";
  const order = created(a).localeCompare(created(b));
  return order !== 0 ? order : a.metadata.name.localeCompare(b.metadata.name);
}

/** The Deployment was resized since its ReplicaSets were last written. */
function isScaling({ fresh, old, limits }: Pass): boolean {
  return [...old, ...(fresh === undefined ? [] : [fresh])].some((set) => {
    const desired = set.metadata.annotations?.[DESIRED];
    return replicasOf(set) > 0 && desired !== undefined && Number(desired) !== limits.replicas;
  });
}

/** Scales what runs: one ReplicaSet alone takes it all, several keep their shares. */
async function scaleProportionally(pass: Pass): Promise<void> {
  const { fresh, old, limits } = pass;
  const all = [...old, ...(fresh === undefined ? [] : [fresh])];
  const active = all.filter((set) => replicasOf(set) > 0);
  const [only] = active.length === 0 ? [fresh] : active;
  if (only !== undefined && active.length <= 1) {
    await scale(pass, only, limits.replicas);
    return;
  }
  if (fresh !== undefined && isSettled(pass)) {
    for (const set of old) await scale(pass, set, 0);
    return;
  }
  const allowed = limits.replicas === 0 ? 0 : limits.replicas + limits.maxSurge;
  const sizes = proportionalSizes(
    active.map((set) => ({
      name: set.metadata.name,
      replicas: replicasOf(set),
      maxReplicas: Number(set.metadata.annotations?.[MAX] ?? 0),
    })),
    allowed,
  );
  for (const set of active) await scale(pass, set, sizes.get(set.metadata.name) ?? 0);
}

async function rollOut(pass: Pass): Promise<void> {
  const fresh = await requireFresh(pass);
  const counts = () => [...pass.old.map(countsOf), countsOf(pass.fresh ?? fresh)];
  const size = newReplicaSetSize(replicasOf(fresh), counts(), pass.limits);
  if (size !== replicasOf(fresh)) await scale(pass, fresh, size);
  const sizes = oldReplicaSetSizes(
    pass.old.map(countsOf),
    countsOf(pass.fresh ?? fresh),
    pass.limits,
  );
  for (const set of pass.old) {
    const next = sizes.get(set.metadata.name);
    if (next !== undefined) await scale(pass, set, next);
  }
  // What was refused before is refreshed even when sizes stay.
  await annotate(pass, pass.fresh ?? fresh);
  await cleanUp(pass);
}

/** All old pods end before the first new one starts. */
async function recreate(pass: Pass): Promise<void> {
  for (const set of pass.old) await scale(pass, set, 0);
  const { namespace = "" } = pass.deployment.metadata;
  const olds = new Set(pass.old.map(({ metadata }) => metadata.uid));
  const pods = await pass.context.api.list(POD, { namespace });
  const isRunning = (pod: KubeObject): boolean =>
    isActive(pod) || pod.metadata.deletionTimestamp !== undefined;
  if (pods.some((pod) => olds.has(controllerOf(pod)?.uid ?? "") && isRunning(pod))) return;
  const fresh = await requireFresh(pass);
  await scale(pass, fresh, pass.limits.replicas);
  await cleanUp(pass);
}

function countsOf(set: KubeObject): ReplicaSetCounts {
  return {
    name: set.metadata.name,
    replicas: replicasOf(set),
    available: numberAt(set, "status", "availableReplicas") ?? 0,
  };
}

/** The ReplicaSet of the template as it is now, created when there is none. */
async function requireFresh(pass: Pass): Promise<KubeObject> {
  if (pass.fresh !== undefined) {
    if (conditionOf(pass.deployment, "Progressing") === undefined) {
      const { name } = pass.fresh.metadata;
      pass.note = { reason: "FoundNewReplicaSet", message: `Found new replica set "${name}"` };
    }
    return pass.fresh;
  }
  const { deployment, limits } = pass;
  const size = newReplicaSetSize(0, pass.old.map(countsOf), limits);
  const set = replicaSetOf(pass, size);
  const { name } = set.metadata;
  try {
    pass.fresh = await pass.context.api.create(REPLICA_SET, set);
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    // Another template has this hash: the next pass tries another one.
    pass.collisionCount += 1;
    await writeStatus(pass, false);
    throw error;
  }
  pass.note = { reason: "NewReplicaSetCreated", message: `Created new replica set "${name}"` };
  if (size > 0) {
    pass.events.write(
      deployment,
      "Normal",
      "ScalingReplicaSet",
      `Scaled up replica set ${name} from 0 to ${size}`,
    );
  }
  return pass.fresh;
}

function replicaSetOf(pass: Pass, size: number): KubeObject {
  const { deployment } = pass;
  const spec = objectAt(deployment, "spec") ?? {};
  const template = objectAt(spec, "template") ?? {};
  const hash = templateHash(template, pass.collisionCount);
  const metadata = objectAt(template, "metadata") ?? {};
  const labels = { ...objectAt(metadata, "labels"), [TEMPLATE_HASH_LABEL]: hash };
  const selector = objectAt(spec, "selector") ?? {};
  const minReadySeconds = numberAt(spec, "minReadySeconds");
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace ?? "default",
      labels,
      annotations: annotationsOf(pass, undefined),
      ownerReferences: [ownerReferenceTo(deployment)],
    },
    spec: {
      replicas: size,
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
      selector: {
        ...selector,
        matchLabels: { ...objectAt(selector, "matchLabels"), [TEMPLATE_HASH_LABEL]: hash },
      },
      template: { ...template, metadata: { ...metadata, labels } },
    },
  };
}

/** What a ReplicaSet says about its Deployment; the new one also carries the next revision. */
function annotationsOf(pass: Pass, set: KubeObject | undefined): Record<string, string> {
  const { deployment, old, limits } = pass;
  const known = set?.metadata.annotations ?? {};
  const copied = Object.entries(deployment.metadata.annotations ?? {}).filter(
    ([name]) => !OWN_ANNOTATIONS.includes(name),
  );
  const newest = Math.max(
    0,
    ...old.map((each) => Number(each.metadata.annotations?.[REVISION] ?? 0)),
  );
  const was = Number(known[REVISION] ?? 0);
  const history = known[REVISION_HISTORY];
  return {
    ...known,
    ...Object.fromEntries(copied),
    ...sizeAnnotations(limits),
    ...(was > newest
      ? {}
      : {
          [REVISION]: String(newest + 1),
          ...(was === 0
            ? {}
            : { [REVISION_HISTORY]: history === undefined ? String(was) : `${history},${was}` }),
        }),
  };
}

function sizeAnnotations({ replicas, maxSurge }: RollingUpdateLimits): Record<string, string> {
  return { [DESIRED]: String(replicas), [MAX]: String(replicas + maxSurge) };
}

async function annotate(pass: Pass, set: KubeObject): Promise<void> {
  const annotations = annotationsOf(pass, set);
  const minReadySeconds = numberAt(pass.deployment, "spec", "minReadySeconds");
  const isSame =
    deepEqual(annotations, set.metadata.annotations) &&
    minReadySeconds === numberAt(set, "spec", "minReadySeconds");
  if (isSame) return;
  const spec: JsonObject = { ...objectAt(set, "spec") };
  if (minReadySeconds === undefined) delete spec["minReadySeconds"];
  else spec["minReadySeconds"] = minReadySeconds;
  const written = { ...set, metadata: { ...set.metadata, annotations }, spec };
  replace(pass, await pass.context.api.update(REPLICA_SET, written));
}

function replace(pass: Pass, set: KubeObject): void {
  const isSame = (other: KubeObject): boolean => other.metadata.uid === set.metadata.uid;
  if (pass.fresh !== undefined && isSame(pass.fresh)) pass.fresh = set;
  else pass.old = pass.old.map((other) => (isSame(other) ? set : other));
}

async function scale(pass: Pass, set: KubeObject, size: number): Promise<void> {
  const sizes = sizeAnnotations(pass.limits);
  const { annotations = {}, name } = set.metadata;
  const from = replicasOf(set);
  const isAnnotated = annotations[DESIRED] === sizes[DESIRED] && annotations[MAX] === sizes[MAX];
  if (from === size && (isAnnotated || size === 0)) return;
  const written = {
    ...set,
    metadata: { ...set.metadata, annotations: { ...annotations, ...sizes } },
    spec: { ...objectAt(set, "spec"), replicas: size },
  };
  replace(pass, await pass.context.api.update(REPLICA_SET, written));
  if (from === size) return;
  const direction = size > from ? "up" : "down";
  pass.events.write(
    pass.deployment,
    "Normal",
    "ScalingReplicaSet",
    `Scaled ${direction} replica set ${name} from ${from} to ${size}`,
  );
}

/** Old ReplicaSets beyond `revisionHistoryLimit` go once the rollout is through. */
async function cleanUp(pass: Pass): Promise<void> {
  if (!isSettled(pass)) return;
  const keep = numberAt(pass.deployment, "spec", "revisionHistoryLimit") ?? 10;
  const empty = pass.old.filter(
    (set) =>
      replicasOf(set) === 0 &&
      (numberAt(set, "status", "replicas") ?? 0) === 0 &&
      set.metadata.deletionTimestamp === undefined,
  );
  const revision = (set: KubeObject): number => Number(set.metadata.annotations?.[REVISION] ?? 0);
  const surplus = empty
    .toSorted((a, b) => revision(a) - revision(b))
    .slice(0, Math.max(0, empty.length - keep));
  for (const { metadata } of surplus) {
    const key = { namespace: metadata.namespace, name: metadata.name };
    await pass.context.api.delete(REPLICA_SET, key, { propagation: "Background" });
    pass.old = pass.old.filter((set) => set.metadata.uid !== metadata.uid);
  }
}

/** The Deployment carries the revision of its newest ReplicaSet. */
async function adoptRevision(pass: Pass): Promise<void> {
  const revision = pass.fresh?.metadata.annotations?.[REVISION];
  const { deployment } = pass;
  const { annotations, namespace, name } = deployment.metadata;
  if (revision === undefined || annotations?.[REVISION] === revision) return;
  const patch = { metadata: { annotations: { [REVISION]: revision } } };
  await pass.context.api.patch(DEPLOYMENT, { namespace, name }, patch, { kind: "merge" });
}

function conditionOf(deployment: KubeObject, type: string): JsonObject | undefined {
  const conditions = valueAt(deployment, "status", "conditions");
  if (!Array.isArray(conditions)) return undefined;
  return conditions.filter(isObject).find((condition) => condition["type"] === type);
}

async function writeStatus(pass: Pass, isPaused: boolean): Promise<void> {
  const { context, deployment, fresh, old, limits, note } = pass;
  const { api, clock } = context;
  const sets = [...old, ...(fresh === undefined ? [] : [fresh])];
  const sum = (...path: readonly string[]): number =>
    sets.reduce((total, set) => total + (numberAt(set, ...path) ?? 0), 0);
  const counts = {
    desired: limits.replicas,
    planned: sum("spec", "replicas"),
    replicas: sum("status", "replicas"),
    updated: fresh === undefined ? 0 : (numberAt(fresh, "status", "replicas") ?? 0),
    ready: sum("status", "readyReplicas"),
    available: sum("status", "availableReplicas"),
    maxUnavailable: isRecreate(deployment) ? 0 : limits.maxUnavailable,
  };
  const status = deploymentStatus({
    generation: deployment.metadata.generation ?? 0,
    old: objectAt(deployment, "status") ?? {},
    counts,
    newName: fresh?.metadata.name,
    note: isComplete(counts) ? undefined : note,
    progressDeadlineSeconds: numberAt(deployment, "spec", "progressDeadlineSeconds"),
    isPaused,
    collisionCount: pass.collisionCount,
    nowMs: clock.nowMs(),
    now: timestamp(clock),
  });
  const failure = fresh === undefined ? undefined : conditionOf(fresh, "ReplicaFailure");
  const others = (status["conditions"] as readonly JsonObject[]).filter(
    ({ type }) => type !== "ReplicaFailure",
  );
  status["conditions"] = failure === undefined ? others : [...others, failure];
  if (deepEqual(status, deployment["status"])) return;
  const { namespace, name } = deployment.metadata;
  // A patch: the revision annotation was written in this pass, and the status is ours alone.
  const empty = Object.fromEntries(
    Object.keys(objectAt(deployment, "status") ?? {}).map((field) => [field, null]),
  );
  await api.patch(
    DEPLOYMENT,
    { namespace, name },
    { status: { ...empty, ...status } },
    { kind: "merge", subresource: "status" },
  );
}
