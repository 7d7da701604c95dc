import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { apiVersionOf, type KubeObject, RESOURCES, type ResourceType } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import { listAt, textAt } from "./object-fields.ts";

const EXAMPLES = new URL("../../../examples/", import.meta.url);

/** What the demo deploys besides the canary. */
export const BOOKINFO = [
  "bookinfo/details.yaml",
  "bookinfo/ratings.yaml",
  "bookinfo/productpage.yaml",
];
export const CANARY = "canaries/reviews.yaml";

/** The image of a version of reviews, as in the textbook. */
export function reviewsImage(version: string): string {
  return `docker.io/istio/examples-bookinfo-reviews-${version}:1.17.0`;
}

/** `v2` of an image named `…-v2:1.17.0`; of others the tag. */
export function versionOfImage(image: string): string {
  const name = image.slice(image.lastIndexOf("/") + 1);
  return /-(v\d+)(?:[:@]|$)/.exec(name)?.[1] ?? name.split(":")[1] ?? name;
}

/** Creates the objects of a manifest from `examples/`, or brings existing ones to its spec. */
export async function applyExample(store: KubeStore, path: string): Promise<void> {
  const text = readFileSync(new URL(path, EXAMPLES), "utf8");
  for (const document of parseAllDocuments(text)) {
    await applyObject(store, document.toJS() as KubeObject);
  }
}

async function applyObject(store: KubeStore, manifest: KubeObject): Promise<void> {
  const type = typeOf(manifest);
  const namespace = manifest.metadata.namespace ?? "default";
  const object = { ...manifest, metadata: { ...manifest.metadata, namespace } };
  try {
    await store.create(type, object);
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    const key = { namespace, name: object.metadata.name };
    await store.patch(type, key, { spec: manifest["spec"] }, { kind: "merge" });
  }
}

function typeOf(object: KubeObject): ResourceType {
  const type = Object.values(RESOURCES).find(
    (known) => known.kind === object.kind && apiVersionOf(known) === object.apiVersion,
  );
  if (type !== undefined) return type;
  throw new SerinError(
    "SERIN_INVALID_RESOURCE",
    `the examples hold an unknown kind: ${object.apiVersion} ${object.kind}`,
  );
}

/** Address of a ready pod with the label `app`, or undefined while there is none. */
export async function readyPodIp(store: KubeStore, app: string): Promise<string | undefined> {
  const pods = await store.list(RESOURCES.pod, {
    namespace: "default",
    labelSelector: `app=${app}`,
  });
  const ready = pods.items.find(
    (pod) => pod.metadata.deletionTimestamp === undefined && isReady(pod),
  );
  return textAt(ready, "status", "podIP");
}

function isReady(pod: KubeObject): boolean {
  return listAt(pod, "status", "conditions").some(
    (condition) => textAt(condition, "type") === "Ready" && textAt(condition, "status") === "True",
  );
}
