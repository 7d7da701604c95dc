import {
  type KubeObject,
  parseAuthorizationPolicy,
  parseDestinationRule,
  parseGateway,
  parsePeerAuthentication,
  parseRequestAuthentication,
  parseVirtualService as parseSpec,
} from "../../api/index.ts";
import { invalidDocument } from "../../base/index.ts";
import { virtualServiceIssues } from "./model-check.ts";
import type { VirtualServiceSpec } from "./model-istio.ts";

export {
  parseAuthorizationPolicy,
  parseDestinationRule,
  parseGateway,
  parsePeerAuthentication,
  parseRequestAuthentication,
};

/** The spec of a VirtualService. Throws SERIN_INVALID_RESOURCE naming every bad field. */
export function parseVirtualService(object: KubeObject): VirtualServiceSpec {
  const spec = parseSpec(object);
  const issues = virtualServiceIssues(spec);
  if (issues.length > 0) {
    const { namespace = "default", name } = object.metadata;
    throw invalidDocument(`${object.kind} ${namespace}/${name}`, issues);
  }
  return spec;
}
