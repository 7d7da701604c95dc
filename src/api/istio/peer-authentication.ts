import { z } from "zod";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { workloadSelector } from "./traffic-policy.ts";

const mutualTls = z.strictObject({
  mode: z.enum(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]).optional(),
});

/** Schema of a PeerAuthentication's spec (security.istio.io). */
export const peerAuthenticationSpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    mtls: mutualTls.optional(),
    portLevelMtls: z
      .record(z.string().regex(/^[1-9]\d{0,4}$/, "must be a port number"), mutualTls)
      .optional(),
  })
  .refine(
    ({ portLevelMtls, selector }) =>
      portLevelMtls === undefined || Object.keys(selector?.matchLabels ?? {}).length > 0,
    { path: ["portLevelMtls"], error: "needs a selector: it applies to workloads" },
  );
export type PeerAuthenticationSpec = z.infer<typeof peerAuthenticationSpec>;

/** Reads a PeerAuthentication. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parsePeerAuthentication(object: KubeObject): PeerAuthenticationSpec {
  return parseSpec(object, peerAuthenticationSpec);
}
