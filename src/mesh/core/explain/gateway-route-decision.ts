import type { MessageTypes } from "../../../xds/index.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import { type GatewayPort, gatewayPorts, gatewayRoutes } from "../translate/gateway.ts";
import { configPath, routeConfigPath } from "../translate/names.ts";
import { type RouteCandidate, routeCandidates } from "../translate/virtual-service-routes.ts";
import { mismatches } from "./match-reasons.ts";
import type { Question, RequestHead } from "./question.ts";
import { referenceTo, ruleSource } from "./reference.ts";
import { blockName, NO_ROUTE, type RouteDecision, type TriedMatch } from "./route-decision.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];

const USUAL_PORT = { http: 80, https: 443 } as const;

/** The route that a request from outside takes out of a gateway: by its port, its host, then in order. */
export function decideGatewayRoute(question: Question, request: RequestHead): RouteDecision {
  const { source, view, dataPlane } = question;
  const { authority, scheme } = request;
  const number = Number(/:(\d+)$/.exec(authority)?.[1] ?? USUAL_PORT[scheme]);
  const ports = gatewayPorts(view, source);
  const port = ports.find((each) => each.number === number);
  if (port === undefined) {
    const known = ports.map((each) => each.number).join(", ");
    const reason = `no server of a Gateway for this pod listens on port ${number} (there is ${known || "none"})`;
    return { ...NO_ROUTE, kind: "closed", reason };
  }
  const tables = gatewayRoutes(port, source, view).filter(({ name }) =>
    name?.startsWith(`${scheme}.`),
  );
  for (const table of tables) {
    const name = dataPlane.virtualHost(table, authority);
    if (name !== undefined) return routeIn(table, name, port, question, request);
  }
  const reason = `no VirtualService that is bound to a Gateway of this pod is for ${authority} on port ${number}`;
  return { ...NO_ROUTE, kind: "forward", reason };
}

/** A route with the match block that it was made of. */
interface Traced {
  readonly route: Route;
  readonly virtualService: MeshVirtualService | undefined;
  readonly candidate: RouteCandidate | undefined;
}

function routeIn(
  table: RouteConfiguration,
  name: string,
  port: GatewayPort,
  question: Question,
  request: RequestHead,
): RouteDecision {
  const { dataPlane } = question;
  const routes = table.virtual_hosts?.find((each) => each.name === name)?.routes ?? [];
  const traced = trace(routes, name, port, question);
  const chosen = traced.find(({ route }) => dataPlane.routeMatches(route.match ?? {}, request));
  const definition = chosen?.virtualService;
  const found = { ...NO_ROUTE, kind: "forward", virtualHost: name } as const;
  const tried = traced.map((each) => triedOf(each, chosen, traced, request, question));
  if (chosen === undefined) {
    return { ...found, tried, reason: "no rule of the VirtualServices for this host matches" };
  }
  return {
    ...found,
    tried,
    reason:
      definition === undefined
        ? "the server of the Gateway sends plain HTTP on to https"
        : `${nameOf(chosen)} is the first that matches`,
    virtualService: definition && referenceTo(chosen.candidate?.rule.origin ?? definition),
    definition,
    rule: chosen.candidate?.ruleIndex,
    candidate: chosen.candidate,
    route: chosen.route,
  };
}

/**
 * Finds for each route its match block: routes say which VirtualService they come from, and those of one
 * VirtualService stand in the order of its blocks. Routes of Gateway API are in one of their host.
 */
function trace(
  routes: readonly Route[],
  virtualHost: string,
  port: GatewayPort,
  { source, view }: Question,
): readonly Traced[] {
  const { namespace, labels } = source;
  const ruleOf = destinationRulesFor(view.destinationRules, namespace, view.rootNamespace);
  const gateways = port.servers.map(({ gateway }) => referenceTo(gateway));
  const client = { namespace, labels, gateways, ruleOf };
  const seen = new Map<MeshVirtualService, number>();
  return routes.map((route) => {
    const path = route.metadata?.filter_metadata?.["istio"]?.fields?.["config"]?.string_value;
    const virtualService = view.virtualServices.find(
      (each) =>
        configPath("virtual-service", each) === path ||
        (isOfRoute(each, path) &&
          each.hosts.some((host) => virtualHost === `${host}:${port.number}`) &&
          each.gateways.some((gateway) => gateways.includes(gateway))),
    );
    if (virtualService === undefined) return { route, virtualService, candidate: undefined };
    const usable = routeCandidates(virtualService, port.number, client).filter(
      ({ exclusion }) => exclusion === undefined,
    );
    const index = seen.get(virtualService) ?? 0;
    seen.set(virtualService, index + 1);
    return { route, virtualService, candidate: usable[index % usable.length] };
  });
}

function isOfRoute({ http }: MeshVirtualService, path: string | null | undefined): boolean {
  return http.some(({ origin }) => origin !== undefined && routeConfigPath(origin) === path);
}

function triedOf(
  traced: Traced,
  chosen: Traced | undefined,
  all: readonly Traced[],
  request: RequestHead,
  { dataPlane }: Question,
): TriedMatch {
  const match = nameOf(traced);
  if (traced === chosen) return { match, result: "matched", reasons: [] };
  if (chosen !== undefined && all.indexOf(traced) > all.indexOf(chosen)) {
    return { match, result: "not tried", reasons: ["an earlier one matched"] };
  }
  const reasons = mismatches(traced.candidate?.match, request, dataPlane);
  return { match, result: "no match", reasons };
}

function nameOf({ virtualService, candidate }: Traced): string {
  if (virtualService === undefined || candidate === undefined) return "the Gateway's own route";
  return `${blockName(candidate)} of ${ruleSource(virtualService, candidate.rule)}`;
}
