import { z } from "zod";
import { name, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";

/** Schema of a ReferenceGrant's spec (gateway.networking.k8s.io). */
export const referenceGrantSpec = z.strictObject({
  from: z
    .array(z.strictObject({ group: text, kind: name, namespace: name }))
    .min(1)
    .max(16),
  to: z
    .array(z.strictObject({ group: text, kind: name, name: name.optional() }))
    .min(1)
    .max(16),
});
export type ReferenceGrantSpec = z.infer<typeof referenceGrantSpec>;

/** Reads a ReferenceGrant. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseReferenceGrant(object: KubeObject): ReferenceGrantSpec {
  return parseSpec(object, referenceGrantSpec);
}
