import { z } from "zod";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";
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
  .superRefine(
    rules(function* ({ portLevelMtls, selector }) {
      if (portLevelMtls === undefined) return;
      const ports = Object.keys(portLevelMtls);
      if (ports.length === 0) yield [["portLevelMtls"], "must have at least one port"];
      if (ports.length > 0 && Object.keys(selector?.matchLabels ?? {}).length === 0) {
        yield [["portLevelMtls"], "needs a selector: it applies to workloads"];
      }
      for (const port of ports.filter((each) => Number(each) > 65_535)) {
        yield [["portLevelMtls", port], "must be a port from 1 to 65535"];
      }
    }),
  );
export type PeerAuthenticationSpec = z.infer<typeof peerAuthenticationSpec>;

/** Reads a PeerAuthentication. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parsePeerAuthentication(object: KubeObject): PeerAuthenticationSpec {
  return parseSpec(object, peerAuthenticationSpec);
}
