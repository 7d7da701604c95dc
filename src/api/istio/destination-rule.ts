import { z } from "zod";
import { stringMap } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";
import { exportTo } from "./export-to.ts";
import { dnsLabel, serviceHost } from "./host-name.ts";
import { trafficPolicy, workloadSelector } from "./traffic-policy.ts";

const subsets = z
  .array(
    z.strictObject({
      name: dnsLabel,
      labels: stringMap.optional(),
      trafficPolicy: trafficPolicy.optional(),
    }),
  )
  .superRefine(
    rules(function* (list) {
      const seen = new Set<string>();
      for (const [index, { name }] of list.entries()) {
        if (seen.has(name)) yield [[index, "name"], `duplicate subset name ${name}`];
        seen.add(name);
      }
    }),
  );

/** Schema of a DestinationRule's spec (networking.istio.io). */
export const destinationRuleSpec = z.strictObject({
  host: serviceHost,
  trafficPolicy: trafficPolicy.optional(),
  subsets: subsets.optional(),
  exportTo: exportTo.optional(),
  workloadSelector: workloadSelector.optional(),
});
export type DestinationRuleSpec = z.infer<typeof destinationRuleSpec>;

/** Reads a DestinationRule. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseDestinationRule(object: KubeObject): DestinationRuleSpec {
  return parseSpec(object, destinationRuleSpec);
}
