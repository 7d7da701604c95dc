import { type KubeObject, RESOURCES, type ResourceType } from "../../api/index.ts";
import { arrayAt, objectAt } from "../core/api/json.ts";
import type { ControllerContext, RunningController } from "./context.ts";
import { createKeyedWorker } from "./keyed-worker.ts";
import { customKind, NAMESPACED_KINDS } from "./kinds.ts";

const { namespace: NAMESPACE, customResourceDefinition: DEFINITION } = RESOURCES;
const POLL_MS = 200;

/** Empties a namespace that is being deleted, then lets it go. */
export function startNamespaceController(context: ControllerContext): RunningController {
  const { api } = context;
  const worker = createKeyedWorker({ ...context, name: "namespace" }, (name) =>
    reconcile(context, name),
  );
  const stop = api.watch(NAMESPACE, ({ type, object }) => {
    if (type !== "DELETED" && object.metadata.deletionTimestamp !== undefined) {
      worker.add(object.metadata.name);
    }
  });
  return {
    async stop() {
      stop();
      await worker.stop();
    },
  };
}

async function reconcile({ api }: ControllerContext, name: string): Promise<number | undefined> {
  const namespace = await api.get(NAMESPACE, { name });
  if (namespace?.metadata.deletionTimestamp === undefined) return undefined;
  const custom = (await api.list(DEFINITION)).flatMap((each) => customKind(each) ?? []);
  const kinds = [...custom, ...NAMESPACED_KINDS].filter((kind) => kind.namespaced);
  let left = 0;
  for (const kind of kinds) left += await empty(api, kind, name);
  if (left > 0) return POLL_MS;
  if (!arrayAt(namespace, "spec", "finalizers").includes("kubernetes")) return undefined;
  const finalizers = arrayAt(namespace, "spec", "finalizers").filter(
    (name) => name !== "kubernetes",
  );
  const spec = { ...objectAt(namespace, "spec"), finalizers };
  await api.update(NAMESPACE, { ...namespace, spec } as KubeObject);
  return undefined;
}

/** Deletes what is not on its way yet; answers how many objects there still are. */
async function empty(
  api: ControllerContext["api"],
  kind: ResourceType,
  namespace: string,
): Promise<number> {
  const objects = await api.list(kind, { namespace });
  for (const { metadata } of objects) {
    if (metadata.deletionTimestamp !== undefined) continue;
    await api.delete(kind, { namespace, name: metadata.name }, { propagation: "Background" });
  }
  return objects.length;
}
