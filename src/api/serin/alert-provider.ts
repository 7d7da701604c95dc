import { z } from "zod";
import { name, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";

/** Schema of an AlertProvider's spec: Flagger's. */
export const alertProviderSpec = z
  .strictObject({
    type: z.enum(["slack", "msteams", "discord", "rocket", "gchat"]),
    channel: text.optional(),
    username: text.optional(),
    address: text.optional(),
    proxy: text.optional(),
    secretRef: z.strictObject({ name }).optional(),
  })
  .refine(
    ({ address, secretRef }) => address !== undefined || secretRef !== undefined,
    "must set address or secretRef",
  );
export type AlertProviderSpec = z.infer<typeof alertProviderSpec>;

/** Reads an AlertProvider. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseAlertProvider(object: KubeObject): AlertProviderSpec {
  return parseSpec(object, alertProviderSpec);
}
