import { z } from "zod";
import { name, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";

/** Schema of a MetricTemplate's spec: Flagger's. */
export const metricTemplateSpec = z.strictObject({
  provider: z.strictObject({
    type: z.enum([
      "prometheus",
      "influxdb",
      "datadog",
      "stackdriver",
      "cloudwatch",
      "newrelic",
      "graphite",
      "dynatrace",
      "keptn",
      "splunk",
      "victoriametrics",
      "signoz",
    ]),
    address: text.optional(),
    headers: z.record(z.string(), z.array(text)).optional(),
    secretRef: z.strictObject({ name }).optional(),
    region: text.optional(),
    insecureSkipVerify: z.boolean().optional(),
  }),
  query: name,
});
export type MetricTemplateSpec = z.infer<typeof metricTemplateSpec>;

/** Reads a MetricTemplate. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseMetricTemplate(object: KubeObject): MetricTemplateSpec {
  return parseSpec(object, metricTemplateSpec);
}
