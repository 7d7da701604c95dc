import type { KubeObject } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import { virtualServiceIssues } from "./model-check.ts";
import type {
  DestinationRuleSpec,
  PeerAuthenticationSpec,
  VirtualServiceSpec,
} from "./model-istio.ts";
import { listOf, objectOf } from "./model-object.ts";

/** The spec of a VirtualService. Throws SERIN_INVALID_RESOURCE naming the bad field. */
export function parseVirtualService(object: KubeObject): VirtualServiceSpec {
  const spec = objectOf(object["spec"]);
  const hosts = listOf(spec["hosts"]);
  if (hosts.length === 0 || hosts.some((host) => typeof host !== "string")) {
    throw invalid(object, "spec.hosts: must be a list of names");
  }
  const parsed = spec as unknown as VirtualServiceSpec;
  const issues = virtualServiceIssues(parsed);
  if (issues.length > 0) throw invalid(object, issues.join("; "));
  return parsed;
}

/** The spec of a DestinationRule. Throws SERIN_INVALID_RESOURCE naming the bad field. */
export function parseDestinationRule(object: KubeObject): DestinationRuleSpec {
  const spec = objectOf(object["spec"]);
  if (typeof spec["host"] !== "string" || spec["host"] === "") {
    throw invalid(object, "spec.host: is required");
  }
  return spec as unknown as DestinationRuleSpec;
}

/** The spec of a PeerAuthentication. */
export function parsePeerAuthentication(object: KubeObject): PeerAuthenticationSpec {
  return objectOf(object["spec"]) as unknown as PeerAuthenticationSpec;
}

function invalid(object: KubeObject, message: string): SerinError {
  const { namespace = "default", name } = object.metadata;
  return new SerinError(
    "SERIN_INVALID_RESOURCE",
    `${object.kind} ${namespace}/${name}: ${message}`,
    {
      source: "caller",
    },
  );
}
