import type { z } from "zod";
import type { KubeObject } from "../../api/index.ts";
import { type Issue, invalidDocument, issuesOf } from "../../base/index.ts";
import { virtualServiceIssues } from "./model-check.ts";
import type {
  DestinationRuleSpec,
  GatewaySpec,
  PeerAuthenticationSpec,
  VirtualServiceSpec,
} from "./model-istio.ts";
import {
  destinationRuleSchema,
  gatewaySchema,
  peerAuthenticationSchema,
  virtualServiceSchema,
} from "./model-istio-schema.ts";

/** The spec of a VirtualService. Throws SERIN_INVALID_RESOURCE naming every bad field. */
export function parseVirtualService(object: KubeObject): VirtualServiceSpec {
  const spec = parse(object, virtualServiceSchema);
  const issues = virtualServiceIssues(spec);
  if (issues.length > 0) throw invalidDocument(subjectOf(object), issues);
  return spec;
}

/** The spec of a DestinationRule. Throws SERIN_INVALID_RESOURCE naming every bad field. */
export function parseDestinationRule(object: KubeObject): DestinationRuleSpec {
  return parse(object, destinationRuleSchema);
}

/** The spec of a PeerAuthentication. Throws SERIN_INVALID_RESOURCE naming every bad field. */
export function parsePeerAuthentication(object: KubeObject): PeerAuthenticationSpec {
  return parse(object, peerAuthenticationSchema);
}

/** The spec of a Gateway. Throws SERIN_INVALID_RESOURCE naming every bad field. */
export function parseGateway(object: KubeObject): GatewaySpec {
  return parse(object, gatewaySchema);
}

function parse<Spec>(object: KubeObject, schema: z.ZodType<Spec>): Spec {
  const result = schema.safeParse(object["spec"] ?? {});
  if (result.success) return result.data;
  const issues = issuesOf(result.error).map(
    ({ path, message }): Issue => ({ path: path === "" ? "spec" : `spec.${path}`, message }),
  );
  throw invalidDocument(subjectOf(object), issues);
}

function subjectOf(object: KubeObject): string {
  return `${object.kind} ${object.metadata.namespace ?? "default"}/${object.metadata.name}`;
}
