import { SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import {
  buildModel,
  type MeshModel,
  type MeshObjects,
  readMesh,
  type Workload,
} from "../mesh/index.ts";
import { createLogger } from "../runtime/index.ts";
import { ROOT_NAMESPACE, TRUST_DOMAIN } from "./control-plane.ts";
import { splitName } from "./proxy-admin.ts";

/** The cluster's objects that make the mesh, read once. Throws SERIN_UNAVAILABLE, SERIN_API. */
export function readObjects(store: KubeStore): Promise<MeshObjects> {
  return readMesh(store, createLogger("cli", "silent"));
}

/** What the control plane makes of these objects: the same code, on the operator's machine. */
export function modelOf(objects: MeshObjects): MeshModel {
  return buildModel(objects, { trustDomain: TRUST_DOMAIN, rootNamespace: ROOT_NAMESPACE });
}

/**
 * The pod that `POD`, `POD.NAMESPACE` or `pod/POD` names, with or without a sidecar.
 * Throws SERIN_NOT_FOUND.
 */
export function podNamed(model: MeshModel, argument: string, namespace: string): Workload {
  const text = argument.replace(/^pods?\//, "");
  const [name, where] = splitName(text, namespace);
  const found =
    model.workloads.get(`${namespace}/${text}`) ?? model.workloads.get(`${where}/${name}`);
  if (found !== undefined) return found;
  throw new SerinError("SERIN_NOT_FOUND", `there is no pod ${name} in namespace ${where}`, {
    source: "caller",
  });
}
