import { z } from "zod";
import { name, stringMap, texts } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { trafficPolicy, workloadSelector } from "./traffic-policy.ts";

const subsets = z
  .array(
    z.strictObject({
      name,
      labels: stringMap.optional(),
      trafficPolicy: trafficPolicy.optional(),
    }),
  )
  .superRefine((list, context) => {
    const seen = new Set<string>();
    for (const [index, subset] of list.entries()) {
      if (seen.has(subset.name)) {
        context.addIssue({
          code: "custom",
          path: [index, "name"],
          message: `duplicate subset name ${subset.name}`,
        });
      }
      seen.add(subset.name);
    }
  });

/** Schema of a DestinationRule's spec (networking.istio.io). */
export const destinationRuleSpec = z.strictObject({
  host: name,
  trafficPolicy: trafficPolicy.optional(),
  subsets: subsets.optional(),
  exportTo: texts.optional(),
  workloadSelector: workloadSelector.optional(),
});
export type DestinationRuleSpec = z.infer<typeof destinationRuleSpec>;

/** Reads a DestinationRule. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseDestinationRule(object: KubeObject): DestinationRuleSpec {
  return parseSpec(object, destinationRuleSpec);
}
