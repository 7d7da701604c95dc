import { z } from "zod";
import type { KubeObject } from "../../api/index.ts";
import { invalidDocument, issuesOf, tryParseDurationMs } from "../../base/index.ts";

const percent = z.int().min(0).max(100);
const metadata = z.object({
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const metric = z.object({
  name: z.string(),
  interval: z.string().optional(),
  threshold: z.number().optional(),
  thresholdRange: z.object({ min: z.number().optional(), max: z.number().optional() }).optional(),
  templateRef: z.unknown().optional(),
  query: z.string().optional(),
});
const schema = z.object({
  provider: z.string().optional(),
  targetRef: z.object({ kind: z.literal("Deployment"), name: z.string() }),
  autoscalerRef: z.unknown().optional(),
  progressDeadlineSeconds: z.number().positive().default(600),
  skipAnalysis: z.boolean().default(false),
  suspend: z.boolean().default(false),
  revertOnDeletion: z.boolean().default(false),
  service: z.object({
    name: z.string().optional(),
    port: z.int(),
    portName: z.string().default("http"),
    targetPort: z.union([z.int(), z.string()]).optional(),
    appProtocol: z.string().optional(),
    portDiscovery: z.boolean().default(false),
    headless: z.boolean().default(false),
    delegation: z.boolean().default(false),
    gateways: z.array(z.string()).default([]),
    hosts: z.array(z.string()).default([]),
    timeout: z.string().optional(),
    retries: z.unknown().optional(),
    match: z.unknown().optional(),
    rewrite: z.unknown().optional(),
    headers: z.unknown().optional(),
    corsPolicy: z.unknown().optional(),
    trafficPolicy: z.unknown().optional(),
    apex: metadata.default({}),
    primary: metadata.default({}),
    canary: metadata.default({}),
  }),
  analysis: z.object({
    interval: z.string().default("60s"),
    threshold: z.number().default(1),
    stepWeight: percent.default(0),
    stepWeightPromotion: percent.default(0),
    maxWeight: percent.default(100),
    stepWeights: z.array(percent).default([]),
    mirror: z.boolean().default(false),
    mirrorWeight: percent.default(0),
    primaryReadyThreshold: percent.default(100),
    canaryReadyThreshold: percent.default(100),
    iterations: z.number().default(0),
    match: z.array(z.unknown()).default([]),
    webhooks: z.array(z.unknown()).default([]),
    sessionAffinity: z.unknown().optional(),
    alerts: z.array(z.unknown()).default([]),
    metrics: z.array(metric).default([]),
  }),
});
/** Both write Istio's resources; another provider's would be left unwritten. */
const PROVIDERS: readonly string[] = ["serin", "istio"];

/** What of a Canary's spec the controller acts on, defaults filled in. */
export type CanarySpec = z.infer<typeof schema>;
export type MetricCheck = CanarySpec["analysis"]["metrics"][number];

/** Reads a Canary's spec. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseCanarySpec(canary: KubeObject): CanarySpec {
  const result = schema.safeParse(canary["spec"]);
  if (result.success) return result.data;
  const { namespace, name } = canary.metadata;
  const issues = issuesOf(result.error).map((i) => ({
    ...i,
    path: i.path === "" ? "spec" : `spec.${i.path}`,
  }));
  throw invalidDocument(`Canary ${namespace}/${name}`, issues);
}

/** Time between checks; unparsable is 60 s. Not clamped to Flagger's 10 s: nothing here polls on a grid. */
export function intervalMs(spec: CanarySpec): number {
  const parsed = tryParseDurationMs(spec.analysis.interval);
  return parsed !== undefined && parsed > 0 ? parsed : 60_000;
}

/** Failed checks of a whole run that roll it back. */
export function failureThreshold(spec: CanarySpec): number {
  return Math.max(1, spec.analysis.threshold);
}

export function apexName(spec: CanarySpec): string {
  return spec.service.name ?? spec.targetRef.name;
}

/** Fields whose meaning is not built yet and without which a rollout would be a different one. */
export function unsupportedFields(spec: CanarySpec): string[] {
  const { analysis } = spec;
  return [
    ...(analysis.iterations > 0 ? ["spec.analysis.iterations"] : []),
    ...(analysis.match.length > 0 ? ["spec.analysis.match"] : []),
    ...(analysis.webhooks.length > 0 ? ["spec.analysis.webhooks"] : []),
    ...(analysis.sessionAffinity === undefined ? [] : ["spec.analysis.sessionAffinity"]),
    ...(spec.service.delegation ? ["spec.service.delegation"] : []),
    ...(PROVIDERS.includes(spec.provider ?? "istio") ? [] : [`spec.provider: ${spec.provider}`]),
    ...(spec.service.appProtocol?.toLowerCase() === "tcp" ? ["spec.service.appProtocol: tcp"] : []),
  ];
}

/** Fields without which the rollout still means the same; the user is warned that they do nothing yet. */
export function ignoredFields(spec: CanarySpec): string[] {
  return [
    ...(spec.autoscalerRef === undefined ? [] : ["spec.autoscalerRef"]),
    ...(spec.analysis.alerts.length > 0 ? ["spec.analysis.alerts"] : []),
    ...(spec.service.portDiscovery ? ["spec.service.portDiscovery"] : []),
    ...(spec.service.headless ? ["spec.service.headless"] : []),
  ];
}
