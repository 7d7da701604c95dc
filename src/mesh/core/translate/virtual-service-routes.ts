import { type MessageTypes, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { DestinationRuleLookup } from "../model-destination-rules.ts";
import type { Destination, HttpMatchRequest, HttpRoute } from "../model-istio.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { hashPolicies } from "./consistent-hash.ts";
import { configPath, outboundClusterName } from "./names.ts";
import { type ClusterNamer, routeAction } from "./route-action.ts";
import { isCatchAll, routeMatch } from "./route-match.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];

/** The proxy that routes are made for. */
export interface RouteClient extends Pick<ProxyNode, "namespace" | "labels"> {
  /** The gateways it stands for: `mesh` for a sidecar. */
  readonly gateways: readonly string[];
  readonly ruleOf: DestinationRuleLookup;
}

/** The routes of a VirtualService for one port, up to the first that catches everything. */
export function virtualServiceRoutes(
  virtualService: MeshVirtualService,
  port: number,
  model: MeshModel,
  client: RouteClient,
): Route[] {
  const clusterOf = clusterNamer(model, port);
  const routes: Route[] = [];
  for (const rule of virtualService.http) {
    const matches: readonly (HttpMatchRequest | undefined)[] =
      rule.match === undefined || rule.match.length === 0 ? [undefined] : rule.match;
    for (const match of matches) {
      if (match !== undefined && !appliesTo(match, port, client)) continue;
      const destinations = (rule.route ?? []).map(({ destination }) => destination);
      const hashing = [...hashPolicies(destinations, port, model, client.ruleOf)];
      routes.push(routeOf(virtualService, rule, match, { clusterOf, hashing }));
      if (isCatchAll(match)) return routes;
    }
  }
  return routes;
}

/** The part of a match that is decided when the configuration is made. */
function appliesTo(match: HttpMatchRequest, port: number, client: RouteClient): boolean {
  const gateways = match.gateways ?? [];
  if (gateways.length > 0 && !gateways.some((each) => client.gateways.includes(each))) return false;
  if (match.port !== undefined && match.port !== 0 && match.port !== port) return false;
  // Istio looks at the source only where the match does not name gateways.
  if (gateways.length > 0) return true;
  if (match.sourceNamespace && match.sourceNamespace !== client.namespace) return false;
  return Object.entries(match.sourceLabels ?? {}).every(
    ([key, value]) => client.labels[key] === value,
  );
}

function routeOf(
  virtualService: MeshVirtualService,
  rule: HttpRoute,
  match: HttpMatchRequest | undefined,
  to: {
    readonly clusterOf: ClusterNamer;
    readonly hashing: Parameters<typeof routeAction>[3];
  },
): Route {
  const envoyMatch = routeMatch(match);
  const name = [rule.name, match?.name].filter((part) => part !== undefined && part !== "");
  return {
    name: name.join("."),
    match: envoyMatch,
    ...routeAction(rule, envoyMatch, to.clusterOf, to.hashing),
    metadata: {
      filter_metadata: {
        istio: structFromJson({ config: configPath("virtual-service", virtualService) }),
      },
    },
  };
}

/** A destination without a port means the service's only port, else the port that was asked for. */
function clusterNamer(model: MeshModel, listenerPort: number): ClusterNamer {
  return ({ host, port, subset }: Destination) => {
    const service = model.serviceByHost.get(host);
    const only = service?.ports.length === 1 ? service.ports[0]?.number : undefined;
    return outboundClusterName(host, port?.number ?? only ?? listenerPort, subset);
  };
}
