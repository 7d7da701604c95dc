import { z } from "zod";
import { text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { backendRef, hostname, parentRefs, sectionName } from "./references.ts";

const rule = z.strictObject({
  name: sectionName.optional(),
  backendRefs: z.array(backendRef).min(1).max(16),
});
const fields = {
  parentRefs: parentRefs.optional(),
  rules: z.array(rule).min(1).max(16),
  useDefaultGateways: text.optional(),
};

/** Schema of a TCPRoute's spec (gateway.networking.k8s.io). */
export const tcpRouteSpec = z.strictObject(fields);
export type TcpRouteSpec = z.infer<typeof tcpRouteSpec>;

/** Schema of a TLSRoute's spec (gateway.networking.k8s.io). */
export const tlsRouteSpec = z.strictObject({
  ...fields,
  hostnames: z.array(hostname).max(16).optional(),
});
export type TlsRouteSpec = z.infer<typeof tlsRouteSpec>;

/** Reads a TCPRoute. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseTcpRoute(object: KubeObject): TcpRouteSpec {
  return parseSpec(object, tcpRouteSpec);
}

/** Reads a TLSRoute. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseTlsRoute(object: KubeObject): TlsRouteSpec {
  return parseSpec(object, tlsRouteSpec);
}
