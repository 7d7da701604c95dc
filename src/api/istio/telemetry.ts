import { z } from "zod";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";
import { workloadSelector } from "./traffic-policy.ts";

const providers = z.array(z.strictObject({ name: z.string().min(1) })).optional();
const mode = z.enum(["CLIENT_AND_SERVER", "CLIENT", "SERVER"]);

const customTag = z
  .strictObject({
    literal: z.strictObject({ value: z.string().min(1) }).optional(),
    environment: z
      .strictObject({ name: z.string().min(1), defaultValue: z.string().optional() })
      .optional(),
    header: z
      .strictObject({ name: z.string().min(1), defaultValue: z.string().optional() })
      .optional(),
    formatter: z.strictObject({ value: z.string().min(1) }).optional(),
  })
  .superRefine(
    rules(function* (tag) {
      const kinds = Object.values(tag).filter((value) => value !== undefined);
      if (kinds.length !== 1) {
        yield [[], "must have one of literal, environment, header, formatter"];
      }
    }),
  );
export type TelemetryCustomTag = z.infer<typeof customTag>;

const tracing = z.strictObject({
  match: z.strictObject({ mode: mode.optional() }).optional(),
  providers,
  randomSamplingPercentage: z.number().min(0).max(100).optional(),
  disableSpanReporting: z.boolean().optional(),
  customTags: z.record(z.string().min(1), customTag).optional(),
  enableIstioTags: z.boolean().optional(),
  useRequestIdForTraceSampling: z.boolean().optional(),
  disableContextPropagation: z.boolean().optional(),
});

const accessLogging = z.strictObject({
  match: z.strictObject({ mode: mode.optional() }).optional(),
  providers,
  disabled: z.boolean().optional(),
  filter: z.strictObject({ expression: z.string().optional() }).optional(),
});

const metricOverride = z.strictObject({
  match: z
    .strictObject({
      metric: z.string().optional(),
      customMetric: z.string().optional(),
      mode: mode.optional(),
    })
    .optional(),
  disabled: z.boolean().optional(),
  tagOverrides: z
    .record(
      z.string(),
      z.strictObject({
        operation: z.enum(["UPSERT", "REMOVE"]).optional(),
        value: z.string().optional(),
      }),
    )
    .optional(),
});

const metrics = z.strictObject({
  providers,
  overrides: z.array(metricOverride).optional(),
  reportingInterval: z.string().optional(),
});

/** Schema of a Telemetry's spec (telemetry.istio.io). */
export const telemetrySpec = z.strictObject({
  selector: workloadSelector.optional(),
  tracing: z.array(tracing).optional(),
  accessLogging: z.array(accessLogging).optional(),
  metrics: z.array(metrics).optional(),
});
export type TelemetrySpec = z.infer<typeof telemetrySpec>;

/** Reads a Telemetry. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseTelemetry(object: KubeObject): TelemetrySpec {
  return parseSpec(object, telemetrySpec);
}
