import { createHash } from "node:crypto";
import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import type { KubeStore } from "../kube/store.ts";
import { canonicalJson, objectAt } from "./core/json.ts";
import type { Observation, TrackedConfig } from "./core/observation.ts";
import { configReferences } from "./core/render/primary.ts";
import { apexName, parseCanarySpec } from "./core/spec.ts";
import { parseStatus } from "./core/state.ts";

/** Secrets of other types belong to somebody else (Flagger copies these only). */
const SECRET_TYPES = [
  "Opaque",
  "kubernetes.io/basic-auth",
  "kubernetes.io/ssh-auth",
  "kubernetes.io/tls",
];

/**
 * Reads everything one pass decides on. Throws SERIN_INVALID_RESOURCE or SERIN_IMPOSSIBLE_STATUS for
 * a Canary that cannot be read, and what the store throws.
 */
export async function observe(
  store: KubeStore,
  canary: KubeObject,
  options: { readonly awaitProxyAcks: boolean; readonly nowMs: number },
): Promise<Observation> {
  const spec = parseCanarySpec(canary);
  const state = parseStatus(canary, options.nowMs);
  const namespace = canary.metadata.namespace ?? "default";
  const get = (type: ResourceType, name: string) => store.get(type, { namespace, name });
  const apex = apexName(spec);
  const { service, deployment, destinationRule, virtualService } = RESOURCES;
  const [
    target,
    primary,
    apexService,
    primaryService,
    canaryService,
    primaryRule,
    canaryRule,
    routes,
  ] = await Promise.all([
    get(deployment, spec.targetRef.name),
    get(deployment, `${spec.targetRef.name}-primary`),
    get(service, apex),
    get(service, `${apex}-primary`),
    get(service, `${apex}-canary`),
    get(destinationRule, `${apex}-primary`),
    get(destinationRule, `${apex}-canary`),
    get(virtualService, apex),
  ]);
  const template = objectAt(objectAt(target, "spec"), "template");
  return {
    ...{ canary, spec, state, target, primary },
    targetHash: specHash(template),
    configs: await trackedConfigs(get, template),
    services: { apex: apexService, primary: primaryService, canary: canaryService },
    destinationRules: { primary: primaryRule, canary: canaryRule },
    virtualService: routes,
    awaitProxyAcks: options.awaitProxyAcks,
  };
}

/** Hash of a pod template: canonical JSON, so that any version of Serin computes the same. */
export function specHash(template: unknown): string {
  return `v2:${sha256(canonicalJson(template)).slice(0, 16)}`;
}

/** Flagger's checksum of a ConfigMap's or Secret's `.data`: first 8 bytes of SHA-256, in hex. */
export function configChecksum(object: KubeObject): string {
  return sha256(canonicalJson(object["data"] ?? null)).slice(0, 16);
}

async function trackedConfigs(
  get: (type: ResourceType, name: string) => Promise<KubeObject | undefined>,
  template: unknown,
): Promise<TrackedConfig[]> {
  const found = await Promise.all(
    configReferences(objectAt(template, "spec")).map(
      async (reference): Promise<TrackedConfig[]> => {
        const [kind, name = ""] = reference.split("/");
        const type = kind === "secret" ? RESOURCES.secret : RESOURCES.configMap;
        const [object, primaryCopy] = await Promise.all([
          get(type, name),
          get(type, `${name}-primary`),
        ]);
        if (object === undefined || !isTracked(object)) return [];
        const checksum = configChecksum(object);
        return [
          { kind: kind === "secret" ? "Secret" : "ConfigMap", object, checksum, primaryCopy },
        ];
      },
    ),
  );
  return found.flat();
}

function isTracked(object: KubeObject): boolean {
  if (object.metadata.annotations?.["flagger.app/config-tracking"] === "disabled") return false;
  return object.kind !== "Secret" || SECRET_TYPES.includes(String(object["type"] ?? "Opaque"));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
