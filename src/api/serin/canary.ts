import { z } from "zod";
import {
  alternatives,
  freeForm,
  int64,
  intOrString,
  name,
  percentNumber,
  stringMap,
  text,
  texts,
} from "../fields.ts";
import { headers, httpMatch, stringMatch } from "../istio/http-match.ts";
import { httpRetry } from "../istio/retry.ts";
import { trafficPolicy } from "../istio/traffic-policy.ts";
import { corsPolicy } from "../istio/virtual-service.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";

/** Flagger's providers; on Serin's own mesh and on Istio it is `istio`. */
const PROVIDERS = [
  "serin",
  "istio",
  "kubernetes",
  "gatewayapi:v1",
  "gatewayapi:v1beta1",
  "linkerd",
  "appmesh",
  "appmesh:v1beta2",
  "apisix",
  "contour",
  "gloo",
  "knative",
  "kuma",
  "nginx",
  "osm",
  "skipper",
  "smi:v1alpha1",
  "smi:v1alpha2",
  "smi:v1alpha3",
  "traefik",
] as const;
const WEBHOOK_TYPES = [
  "",
  "confirm-rollout",
  "pre-rollout",
  "rollout",
  "confirm-promotion",
  "post-rollout",
  "event",
  "rollback",
  "confirm-traffic-increase",
] as const;
/** As Flagger's CRD: minutes or seconds, more may follow (`1m30s`). */
const interval = z.string().regex(/^[0-9]+(m|s)/, "must be a duration in m or s, such as 30s");

const reference = {
  apiVersion: text,
  kind: text,
  name,
};

const metadata = z.strictObject({
  labels: stringMap.optional(),
  annotations: stringMap.optional(),
});

const service = z.strictObject({
  name: text.optional(),
  port: z.int().min(1).max(65_535),
  portName: text.optional(),
  targetPort: intOrString.optional(),
  appProtocol: text.optional(),
  trafficDistribution: z.enum(["PreferClose", "PreferSameZone", "PreferSameNode"]).optional(),
  portDiscovery: z.boolean().optional(),
  headless: z.boolean().optional(),
  timeout: text.optional(),
  backendTimeout: text.optional(),
  gateways: texts.optional(),
  gatewayRefs: z.array(freeForm).max(32).optional(),
  hosts: texts.optional(),
  delegation: z.boolean().optional(),
  trafficPolicy: trafficPolicy.optional(),
  match: z.array(httpMatch).optional(),
  rewrite: z
    .strictObject({ uri: text.optional(), authority: text.optional(), type: text.optional() })
    .optional(),
  retries: httpRetry.optional(),
  headers: headers.optional(),
  mirror: z.array(freeForm).optional(),
  corsPolicy: corsPolicy.optional(),
  meshName: text.optional(),
  backends: texts.optional(),
  apex: metadata.optional(),
  primary: metadata.optional(),
  canary: metadata.optional(),
  unmanagedMetadata: z
    .strictObject({ labels: texts.optional(), annotations: texts.optional() })
    .optional(),
});

const metric = z.strictObject({
  name,
  interval: interval.optional(),
  threshold: z.number().optional(),
  thresholdRange: z
    .strictObject({ min: z.number().optional(), max: z.number().optional() })
    .optional(),
  query: text.optional(),
  templateRef: z.strictObject({ name, namespace: text.optional() }).optional(),
  templateVariables: stringMap.optional(),
});

const webhook = z.strictObject({
  name,
  url: z.string().regex(/^https?:\/\/./, "must be an http or https URL"),
  type: z.enum(WEBHOOK_TYPES).optional(),
  muteAlert: z.boolean().optional(),
  timeout: text.optional(),
  retries: z.int().min(0).optional(),
  disableTLS: z.boolean().optional(),
  metadata: stringMap.optional(),
});

const alert = z.strictObject({
  name,
  severity: z.enum(["", "info", "warn", "error"]).optional(),
  providerRef: z.strictObject({ name, namespace: text.optional() }),
});

/** How a rollout advances; Flagger takes exactly one. */
const LADDERS = ["iterations", "stepWeight", "stepWeights"] as const;

const analysis = z
  .strictObject({
    interval,
    threshold: z.number(),
    iterations: z.number().min(0).optional(),
    maxWeight: percentNumber.optional(),
    stepWeight: percentNumber.optional(),
    stepWeights: z.array(percentNumber).optional(),
    stepWeightPromotion: percentNumber.optional(),
    mirror: z.boolean().optional(),
    mirrorWeight: percentNumber.optional(),
    primaryReadyThreshold: percentNumber.optional(),
    canaryReadyThreshold: percentNumber.optional(),
    match: z
      .array(
        z.strictObject({
          headers: z.record(z.string(), stringMatch).optional(),
          queryParams: z.record(z.string(), stringMatch).optional(),
          sourceLabels: stringMap.optional(),
        }),
      )
      .optional(),
    metrics: z.array(metric).optional(),
    alerts: z.array(alert).optional(),
    webhooks: z.array(webhook).optional(),
    sessionAffinity: z
      .strictObject({
        cookieName: name,
        primaryCookieName: text.optional(),
        maxAge: z.int().optional(),
        domain: text.optional(),
        path: text.optional(),
        httpOnly: z.boolean().optional(),
        secure: z.boolean().optional(),
        sameSite: z.enum(["Strict", "Lax", "None"]).optional(),
        partitioned: z.boolean().optional(),
      })
      .optional(),
  })
  .superRefine(
    rules(function* (value) {
      const set = LADDERS.filter((field) => value[field] !== undefined);
      if (set.length === 0) yield [[], `must set one of ${LADDERS.join(", ")}`];
      if (set.length > 1) {
        const found = `(found ${set.join(", ")})`;
        yield [[set[1] ?? ""], `must set only one of ${LADDERS.join(", ")} ${found}`];
      }
    }),
  );

alternatives.set(
  analysis,
  LADDERS.map((ladder) => ["interval", "threshold", ladder]),
);

/** Schema of a Canary's spec: Flagger's fields and meanings (flagger.app/v1beta1). */
export const canarySpec = z.strictObject({
  provider: z.enum(PROVIDERS).optional(),
  metricsServer: text.optional(),
  targetRef: z.strictObject({
    ...reference,
    kind: z.enum(["Deployment", "DaemonSet", "Service"]),
  }),
  autoscalerRef: z
    .strictObject({
      ...reference,
      kind: z.enum(["HorizontalPodAutoscaler", "ScaledObject"]),
      primaryScalerQueries: stringMap.optional(),
      primaryScalerReplicas: z
        .strictObject({
          minReplicas: z.int().min(1).optional(),
          maxReplicas: z.int().min(1).optional(),
        })
        .optional(),
    })
    .optional(),
  ingressRef: z.strictObject({ ...reference, kind: z.literal("Ingress") }).optional(),
  routeRef: z.strictObject({ ...reference, kind: z.literal("ApisixRoute") }).optional(),
  upstreamRef: z
    .strictObject({ ...reference, kind: z.literal("Upstream"), namespace: text.optional() })
    .optional(),
  /** Not required by Flagger's CRD either, though nothing is rolled out without its port. */
  service: service.optional(),
  analysis,
  progressDeadlineSeconds: z.number().min(1).optional(),
  skipAnalysis: z.boolean().optional(),
  revertOnDeletion: z.boolean().optional(),
  suspend: z.boolean().optional(),
});

/** Schema of a Canary's status: Flagger's, and what Serin adds (`message`, `rollout`). */
export const canaryStatus = z.object({
  phase: z
    .enum([
      "",
      "Initializing",
      "Initialized",
      "Waiting",
      "Progressing",
      "WaitingPromotion",
      "Promoting",
      "Finalising",
      "Succeeded",
      "Failed",
      "Terminating",
      "Terminated",
    ])
    .optional(),
  canaryWeight: z.number().optional(),
  failedChecks: z.number().optional(),
  iterations: z.number().optional(),
  trackedConfigs: stringMap.optional(),
  lastAppliedSpec: text.optional(),
  lastPromotedSpec: text.optional(),
  lastTrackedRevision: text.optional(),
  lastTransitionTime: text.optional(),
  previousSessionAffinityCookie: text.optional(),
  sessionAffinityCookie: text.optional(),
  primarySessionAffinityCookie: text.optional(),
  observedGeneration: z.int().optional(),
  conditions: z
    .array(
      z.object({
        type: text,
        status: text,
        reason: text.optional(),
        message: text.optional(),
        lastUpdateTime: text.optional(),
        lastTransitionTime: text.optional(),
      }),
    )
    .optional(),
  /** The last thing there was to say. */
  message: text.optional(),
  /** Where the current step stands; times are epoch milliseconds. */
  rollout: z
    .object({
      routedAtMs: int64.optional(),
      startedAtMs: int64.optional(),
      checkedAtMs: int64.optional(),
      unavailableSinceMs: int64.optional(),
      isMirrored: z.boolean().optional(),
      isScaledDown: z.boolean().optional(),
    })
    .optional(),
});

export type CanaryObjectSpec = z.infer<typeof canarySpec>;

/** Reads a Canary's spec whole. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseCanary(object: KubeObject): CanaryObjectSpec {
  return parseSpec(object, canarySpec);
}
