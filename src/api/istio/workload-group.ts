import { z } from "zod";
import { freeForm, stringMap } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { endpointFields } from "./workload-entry.ts";

/** Schema of a WorkloadGroup's spec (networking.istio.io). */
export const workloadGroupSpec = z.strictObject({
  metadata: z
    .strictObject({ labels: stringMap.optional(), annotations: stringMap.optional() })
    .optional(),
  template: z.strictObject(endpointFields),
  probe: freeForm.optional(),
});
export type WorkloadGroupSpec = z.infer<typeof workloadGroupSpec>;

/** Reads a WorkloadGroup. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseWorkloadGroup(object: KubeObject): WorkloadGroupSpec {
  return parseSpec(object, workloadGroupSpec);
}
