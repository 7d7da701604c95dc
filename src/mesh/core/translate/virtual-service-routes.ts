import { type MessageTypes, structFromJson } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { DestinationRuleLookup } from "../model-destination-rules.ts";
import type { Destination, HttpMatchRequest, HttpRoute } from "../model-istio.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { ProxyNode } from "../proxy-node.ts";
import { hashPolicies } from "./consistent-hash.ts";
import { configPath, INVALID_BACKEND, outboundClusterName, routeConfigPath } from "./names.ts";
import { type ClusterNamer, routeAction } from "./route-action.ts";
import { isCatchAll, routeMatch } from "./route-match.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];

/** The proxy that routes are made for. */
export interface RouteClient extends Pick<ProxyNode, "namespace" | "labels"> {
  /** The gateways it stands for: `mesh` for a sidecar. */
  readonly gateways: readonly string[];
  readonly ruleOf: DestinationRuleLookup;
}

/** One match block of a rule (or a rule without any), as a proxy sees it. */
export interface RouteCandidate {
  readonly rule: HttpRoute;
  /** In the VirtualService's `http`, with those of its delegates. */
  readonly ruleIndex: number;
  readonly match: HttpMatchRequest | undefined;
  readonly matchIndex: number;
  /** Why this proxy has no route for it; undefined = it has. */
  readonly exclusion: string | undefined;
}

/** The match blocks of a VirtualService for one port, in the order in which they are tried. */
export function routeCandidates(
  virtualService: MeshVirtualService,
  port: number,
  client: RouteClient,
): readonly RouteCandidate[] {
  let catchAll: string | undefined;
  return virtualService.http.flatMap((rule, ruleIndex) => {
    const matches: readonly (HttpMatchRequest | undefined)[] =
      rule.match === undefined || rule.match.length === 0 ? [undefined] : rule.match;
    return matches.map((match, matchIndex): RouteCandidate => {
      const exclusion = catchAll ?? (match && exclusionOf(match, port, client));
      if (exclusion === undefined && isCatchAll(match)) {
        catchAll = `never reached: http[${ruleIndex}] takes every request`;
      }
      return { rule, ruleIndex, match, matchIndex, exclusion };
    });
  });
}

/** The routes of a VirtualService for one port, up to the first that catches everything. */
export function virtualServiceRoutes(
  virtualService: MeshVirtualService,
  port: number,
  model: MeshModel,
  client: RouteClient,
): Route[] {
  const clusterOf = clusterNamer(model, port);
  return routeCandidates(virtualService, port, client)
    .filter(({ exclusion }) => exclusion === undefined)
    .map(({ rule, match }) => {
      const destinations = (rule.route ?? []).map(({ destination }) => destination);
      const hashing = [...hashPolicies(destinations, port, model, client.ruleOf)];
      return routeOf(virtualService, rule, match, { clusterOf, hashing });
    });
}

/** The part of a match that is decided when the configuration is made: why it is not for this proxy. */
function exclusionOf(
  match: HttpMatchRequest,
  port: number,
  client: RouteClient,
): string | undefined {
  const gateways = match.gateways ?? [];
  if (gateways.length > 0 && !gateways.some((each) => client.gateways.includes(each))) {
    return `only for the gateways ${gateways.join(", ")}`;
  }
  if (match.port !== undefined && match.port !== 0 && match.port !== port) {
    return `only for port ${match.port}`;
  }
  // Istio looks at the source only where the match does not name gateways.
  if (gateways.length > 0) return undefined;
  if (match.sourceNamespace && match.sourceNamespace !== client.namespace) {
    return `only for callers of namespace ${match.sourceNamespace}`;
  }
  const missing = Object.entries(match.sourceLabels ?? {}).find(
    ([key, value]) => client.labels[key] !== value,
  );
  return missing && `only for callers with the label ${missing.join("=")}`;
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
        istio: structFromJson({
          config: rule.origin
            ? routeConfigPath(rule.origin)
            : configPath("virtual-service", virtualService),
        }),
      },
    },
  };
}

/** A destination without a port means the service's only port, else the port that was asked for. */
function clusterNamer(model: MeshModel, listenerPort: number): ClusterNamer {
  return ({ host, port, subset }: Destination) => {
    if (host === INVALID_BACKEND) return INVALID_BACKEND;
    const service = model.serviceByHost.get(host);
    const only = service?.ports.length === 1 ? service.ports[0]?.number : undefined;
    return outboundClusterName(host, port?.number ?? only ?? listenerPort, subset);
  };
}
