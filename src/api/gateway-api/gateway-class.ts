import { z } from "zod";
import { name, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";

/** Schema of a GatewayClass's spec (gateway.networking.k8s.io). */
export const gatewayClassSpec = z.strictObject({
  controllerName: z
    .string()
    .regex(/^[a-z0-9.-]+\/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/, "must be a domain and a path"),
  parametersRef: z
    .strictObject({ group: text, kind: name, name, namespace: name.optional() })
    .optional(),
  description: text.max(64).optional(),
});
export type GatewayClassSpec = z.infer<typeof gatewayClassSpec>;

/** Reads a GatewayClass. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseGatewayClass(object: KubeObject): GatewayClassSpec {
  return parseSpec(object, gatewayClassSpec);
}
