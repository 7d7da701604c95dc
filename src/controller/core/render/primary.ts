import type { KubeObject } from "../../../api/index.ts";
import { isJson, type Json, objectAt } from "../json.ts";
import type { Observation } from "../observation.ts";
import { ownedMeta, rolloutId, selectorLabel } from "./names.ts";

export const ROLLOUT_ID = "flagger-id";

/** The Deployment `<target>-primary` that runs the target's pod template under its own label. */
export function renderPrimary(observation: Observation, target: KubeObject): KubeObject {
  const { canary, primary } = observation;
  const spec = objectAt(target, "spec");
  const label = selectorLabel(target);
  const value = `${label.value}-primary`;
  const template = objectAt(spec, "template");
  const meta = objectAt(template, "metadata");
  const annotations = withoutFlux(objectAt(meta, "annotations"));
  const replicas = Number(spec["replicas"] ?? 1);
  const name = `${target.metadata.name}-primary`;
  const suffixed = withPrimaryConfigs(objectAt(template, "spec"), configNames(observation));
  return {
    ...(primary ?? { apiVersion: "apps/v1", kind: "Deployment" }),
    metadata: {
      ...ownedMeta(
        canary,
        name,
        { [label.key]: value },
        primary === undefined ? withoutFlux(target.metadata.annotations ?? {}) : {},
      ),
      ...primary?.metadata,
    },
    spec: {
      ...(primary === undefined ? {} : objectAt(primary, "spec")),
      ...pick(spec, [
        "strategy",
        "minReadySeconds",
        "progressDeadlineSeconds",
        "revisionHistoryLimit",
      ]),
      replicas: replicas > 0 ? replicas : Number(objectAt(primary, "spec")["replicas"] ?? 1),
      selector: { matchLabels: { [label.key]: value } },
      template: {
        ...template,
        metadata: {
          ...meta,
          labels: { ...objectAt(meta, "labels"), [label.key]: value },
          annotations: { ...annotations, [ROLLOUT_ID]: rolloutId(observation) },
        },
        spec: suffixed,
      },
    },
  };
}

/** The `flagger-id` of the pod template a primary runs. */
export function promotedId(primary: KubeObject): unknown {
  const meta = objectAt(objectAt(objectAt(primary, "spec"), "template"), "metadata");
  return objectAt(meta, "annotations")[ROLLOUT_ID];
}

/** The copy `<x>-primary` of a tracked ConfigMap or Secret. */
export function renderConfigCopies(
  observation: Observation,
): { readonly existing: KubeObject | undefined; readonly desired: KubeObject }[] {
  return observation.configs.map(({ object, primaryCopy }) => {
    const { name, labels = {} } = object.metadata;
    const metadata =
      primaryCopy?.metadata ?? ownedMeta(observation.canary, `${name}-primary`, labels, {});
    const { apiVersion, kind } = object;
    return {
      existing: primaryCopy,
      desired: { apiVersion, kind, ...pick(object, ["type", "data", "binaryData"]), metadata },
    };
  });
}

/** Names of the ConfigMaps and Secrets a pod spec reads: `configmap/x`, `secret/y`. */
export function configReferences(podSpec: unknown): string[] {
  const found = new Set<string>();
  visitReferences(podSpec, (kind, name) => {
    found.add(`${kind}/${name}`);
    return name;
  });
  return [...found].sort();
}

function configNames(observation: Observation): ReadonlySet<string> {
  return new Set(
    observation.configs.map((c) => `${c.kind.toLowerCase()}/${c.object.metadata.name}`),
  );
}

function withPrimaryConfigs(podSpec: Json, tracked: ReadonlySet<string>): unknown {
  return visitReferences(podSpec, (kind, name) =>
    tracked.has(`${kind}/${name}`) ? `${name}-primary` : name,
  );
}

type Rename = (kind: "configmap" | "secret", name: string) => string;
const REFERENCE_FIELDS: Readonly<Record<string, readonly ["configmap" | "secret", string]>> = {
  configMapRef: ["configmap", "name"],
  configMapKeyRef: ["configmap", "name"],
  configMap: ["configmap", "name"],
  secretRef: ["secret", "name"],
  secretKeyRef: ["secret", "name"],
};

/** Rewrites every reference in containers, initContainers and volumes (projected ones included). */
function visitReferences(podSpec: unknown, rename: Rename): unknown {
  if (!isJson(podSpec)) return podSpec;
  const visited = Object.entries(podSpec).map(([key, value]) =>
    ["containers", "initContainers", "volumes"].includes(key)
      ? [key, walk(value, "", rename)]
      : [key, value],
  );
  return Object.fromEntries(visited);
}

function walk(value: unknown, key: string, rename: Rename): unknown {
  if (Array.isArray(value)) return value.map((item) => walk(item, "", rename));
  if (!isJson(value)) return value;
  // A volume says `secret: {secretName}`, a projected source `secret: {name}`.
  const secretField = typeof value["secretName"] === "string" ? "secretName" : "name";
  const reference = key === "secret" ? (["secret", secretField] as const) : REFERENCE_FIELDS[key];
  const entries = Object.entries(value).map(([field, item]) => [field, walk(item, field, rename)]);
  const copy: Record<string, unknown> = Object.fromEntries(entries);
  if (reference !== undefined) {
    const name = value[reference[1]];
    if (typeof name === "string") copy[reference[1]] = rename(reference[0], name);
  }
  return copy;
}

function withoutFlux(annotations: Json): Record<string, string> {
  const skipped = (key: string) =>
    key.includes("toolkit.fluxcd.io") ||
    key.startsWith("kubectl.kubernetes.io/last-applied") ||
    key.startsWith("deployment.kubernetes.io/");
  return Object.fromEntries(
    Object.entries(annotations).flatMap(([k, v]) => (skipped(k) ? [] : [[k, String(v)]])),
  );
}

function pick(value: Json, fields: readonly string[]): Json {
  return Object.fromEntries(fields.flatMap((f) => (value[f] === undefined ? [] : [[f, value[f]]])));
}
