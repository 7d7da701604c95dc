import type { MessageTypes } from "../../../xds/index.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import { hostLookup } from "../model-hosts.ts";
import type { MeshService } from "../model-services.ts";
import { MESH_GATEWAY, type MeshVirtualService } from "../model-virtual-services.ts";
import { outboundClusterName } from "../translate/names.ts";
import { httpProxyRoutes, httpVirtualServices } from "../translate/virtual-hosts.ts";
import { type RouteCandidate, routeCandidates } from "../translate/virtual-service-routes.ts";
import { mismatches } from "./match-reasons.ts";
import type { Question, RequestHead } from "./question.ts";
import { referenceTo, ruleSource } from "./reference.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];

/** One match block of a VirtualService, and what became of it. */
export interface TriedMatch {
  /** `http[1].match[0]`, with the rule's name where it has one. */
  readonly match: string;
  readonly result: "matched" | "no match" | "not for this caller" | "not tried";
  /** What does not fit; empty for the one that matched. */
  readonly reasons: readonly string[];
}

/** The route that a request takes out of the source's proxy. */
export interface RouteDecision {
  /** closed: nobody listens. */
  readonly kind: "forward" | "passthrough" | "blocked" | "direct to endpoints" | "closed";
  readonly reason: string;
  /** The service that the request's host names; undefined for one that nobody knows. */
  readonly service: MeshService | undefined;
  readonly port: number | undefined;
  readonly virtualHost: string | undefined;
  readonly virtualService: string | undefined;
  /** The VirtualService itself. */
  readonly definition: MeshVirtualService | undefined;
  readonly rule: number | undefined;
  readonly candidate: RouteCandidate | undefined;
  readonly tried: readonly TriedMatch[];
  /** As the proxy has it; undefined when none matches. */
  readonly route: Route | undefined;
}

/** A decision in which nobody has a say. */
export const NO_ROUTE = {
  service: undefined,
  port: undefined,
  virtualHost: undefined,
  virtualService: undefined,
  definition: undefined,
  rule: undefined,
  candidate: undefined,
  tried: [],
  route: undefined,
} as const;

/** Finds the virtual host by the request's authority, then the first of its routes that matches. */
export function decideRoute(question: Question, request: RequestHead): RouteDecision {
  const { source, view, dataPlane } = question;
  const { namespace, labels } = source;
  const table = httpProxyRoutes(view, { namespace, labels });
  const hasPort = /:\d+$/.test(request.authority);
  const asked = question.isRedirected && !hasPort ? `${request.authority}:80` : request.authority;
  const name = dataPlane.virtualHost(table, asked);
  const virtualHost = table.virtual_hosts?.find((each) => each.name === name);
  const { host, port } = hostAndPort(name ?? "");
  const service = view.serviceByHost.get(host);
  if (!source.hasSidecar) return withoutSidecar(service, port, request);
  const common = { ...NO_ROUTE, virtualHost: name, service, port };
  const [first] = virtualHost?.routes ?? [];
  if (name === "block_all" || name === "allow_any") {
    const meant = dataPlane.virtualHost(table, asked.replace(/:\d+$/, ""));
    const known =
      meant === name ? undefined : view.serviceByHost.get(hostAndPort(meant ?? "").host);
    const unknown =
      known === undefined
        ? `no service of the mesh that ${namespace} may see is called ${request.authority}`
        : `${asked} is no port of the service ${known.name}, which has ${known.ports.map((each) => each.number).join(", ")}`;
    const isBlocked = name === "block_all";
    const reason = isBlocked
      ? `${unknown}, and the outbound traffic policy is REGISTRY_ONLY`
      : unknown;
    const kind = isBlocked ? "blocked" : "passthrough";
    return { ...common, port: undefined, kind, reason, route: first };
  }
  const lookup = hostLookup(httpVirtualServices(view, namespace), ({ hosts }) => hosts);
  const virtualService = lookup(host);
  if (virtualService === undefined) {
    const reason = `no VirtualService is for ${host}: all requests go to the service`;
    return { ...common, kind: "forward", reason, route: first };
  }
  const client = {
    ...{ namespace, labels, gateways: [MESH_GATEWAY] },
    ruleOf: destinationRulesFor(view.destinationRules, namespace, view.rootNamespace),
  };
  const candidates = routeCandidates(virtualService, port, client);
  const usable = candidates.filter(({ exclusion }) => exclusion === undefined);
  const chosen = usable.find(({ match }) => mismatches(match, request, dataPlane).length === 0);
  const origin = ruleSource(virtualService, chosen?.rule);
  const reason =
    chosen === undefined
      ? `no rule of ${origin} matches`
      : `${blockName(chosen)} of ${origin} is the first that matches`;
  return {
    ...common,
    kind: "forward",
    reason,
    virtualService: referenceTo(chosen?.rule.origin ?? virtualService),
    definition: virtualService,
    rule: chosen?.ruleIndex,
    candidate: chosen,
    tried: candidates.map((each) => tried(each, chosen, candidates, request, question)),
    // The proxy's routes are those of the usable blocks, in their order.
    route: chosen === undefined ? undefined : virtualHost?.routes?.[usable.indexOf(chosen)],
  };
}

/** Without a sidecar nobody routes: the request goes to an endpoint of the service. */
function withoutSidecar(
  service: MeshService | undefined,
  port: number,
  request: RequestHead,
): RouteDecision {
  if (service === undefined) {
    const reason = `no service is called ${request.authority}`;
    return { ...NO_ROUTE, kind: "passthrough", reason, route: {} };
  }
  return {
    ...NO_ROUTE,
    ...{ service, port },
    kind: "direct to endpoints",
    reason: "the caller has no sidecar: VirtualServices and DestinationRules have no effect on it",
    route: {
      match: { prefix: "/" },
      route: { cluster: outboundClusterName(service.host, port) },
    },
  };
}

function tried(
  candidate: RouteCandidate,
  chosen: RouteCandidate | undefined,
  candidates: readonly RouteCandidate[],
  request: RequestHead,
  { dataPlane }: Question,
): TriedMatch {
  const match = blockName(candidate);
  if (candidate === chosen) return { match, result: "matched", reasons: [] };
  if (candidate.exclusion !== undefined) {
    return { match, result: "not for this caller", reasons: [candidate.exclusion] };
  }
  if (chosen !== undefined && candidates.indexOf(candidate) > candidates.indexOf(chosen)) {
    return { match, result: "not tried", reasons: ["an earlier one matched"] };
  }
  return {
    match,
    result: "no match",
    reasons: mismatches(candidate.match, request, dataPlane),
  };
}

/** `http[1].match[0] (name)`; of a route of Gateway API, whose rules are sorted, `rule NAME`. */
export function blockName({ rule, ruleIndex, match, matchIndex }: RouteCandidate): string {
  const { origin } = rule;
  if (origin !== undefined) {
    return `rule ${rule.name?.slice(`${origin.namespace}.${origin.name}.`.length) ?? ""}`;
  }
  const block = match === undefined ? "" : `.match[${matchIndex}]`;
  const name = [rule.name, match?.name].filter((part) => part !== undefined && part !== "");
  return `http[${ruleIndex}]${block}${name.length === 0 ? "" : ` (${name.join(".")})`}`;
}

/** Virtual hosts are named `host:port`. */
function hostAndPort(name: string): { readonly host: string; readonly port: number } {
  const colon = name.lastIndexOf(":");
  return colon < 0
    ? { host: name, port: 0 }
    : { host: name.slice(0, colon), port: Number(name.slice(colon + 1)) };
}
