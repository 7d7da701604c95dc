import { type MessageTypes, packAny } from "../../../../xds/index.ts";
import { destinationRulesFor } from "../../model-destination-rules.ts";
import { hostLookup } from "../../model-hosts.ts";
import type { MeshView } from "../../model-view.ts";
import { MESH_GATEWAY, visibleVirtualServices } from "../../model-virtual-services.ts";
import type { ProxyNode } from "../../proxy-node.ts";
import { outboundClusterName } from "../names.ts";
import { defaultRetryPolicy, FAULT_FILTER } from "../route-action.ts";
import { type RouteClient, virtualServiceRoutes } from "../virtual-service-routes.ts";
import { isForGrpc } from "./grpc-clusters.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];
type RouteAction = MessageTypes["envoy.config.route.v3.RouteAction"];
type RouteConfiguration = MessageTypes["envoy.config.route.v3.RouteConfiguration"];
type RouteMatch = MessageTypes["envoy.config.route.v3.RouteMatch"];
type RetryPolicy = MessageTypes["envoy.config.route.v3.RetryPolicy"];
type StringMatcher = MessageTypes["envoy.type.matcher.v3.StringMatcher"];
type Any = NonNullable<Route["typed_per_filter_config"]>[string];

/** The conditions that gRPC clients retry on (gRFC A44); they ignore all others. */
const RETRY_ON = new Set([
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
]);
const FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault";
/** What every gRPC call says of itself, which no client looks up in its metadata. */
const SAID: Readonly<Record<string, string>> = { ":method": "POST", ":scheme": "http" };

/**
 * The routes of every port of every service, each a configuration of its own, named as the cluster
 * (`outbound|7070||echo.default.svc.cluster.local`).
 */
export function grpcRoutes(
  view: MeshView,
  node: Pick<ProxyNode, "namespace" | "labels">,
): readonly RouteConfiguration[] {
  const ruleOf = destinationRulesFor(view.destinationRules, node.namespace, view.rootNamespace);
  const client: RouteClient = { ...node, gateways: [MESH_GATEWAY], ruleOf };
  const virtualServices = visibleVirtualServices(view.virtualServices, node.namespace).filter(
    ({ gateways, http }) => gateways.includes(MESH_GATEWAY) && http.length > 0,
  );
  const virtualServiceOf = hostLookup(virtualServices, ({ hosts }) => hosts);
  return view.services.filter(isForGrpc).flatMap((service) =>
    service.ports.map((port) => {
      const name = outboundClusterName(service.host, port.number);
      const virtualService = virtualServiceOf(service.host);
      const routes =
        virtualService === undefined
          ? [defaultRoute(name)]
          : virtualServiceRoutes(virtualService, port.number, view, client).flatMap((route) =>
              reduced(route, name),
            );
      return {
        name,
        virtual_hosts: [{ name: `${service.host}:${port.number}`, domains: ["*"], routes }],
      };
    }),
  );
}

function defaultRoute(cluster: string): Route {
  return {
    name: "default",
    match: { prefix: "/" },
    route: { cluster, ...retryFields(defaultRetryPolicy()) },
  };
}

/**
 * What a gRPC client can do of a route. A route that no call matches is left out. `fallback`: the
 * cluster of routes that Envoy would answer itself.
 */
function reduced(route: Route, fallback: string): Route[] {
  const match = reducedMatch(route.match ?? {});
  if (match === undefined) return [];
  const common: Route = { ...(route.name ? { name: route.name } : {}), match };
  const { redirect, direct_response: answer } = route;
  // No gRPC client answers itself, or goes elsewhere; failing the call is the same to its caller.
  if (redirect || answer) {
    const status = answer?.status ?? 302;
    const abort = { http_status: status, percentage: { numerator: 100 } };
    const typed_per_filter_config = { [FAULT_FILTER]: packAny(FAULT, { abort }) };
    return [{ ...common, route: { cluster: fallback }, typed_per_filter_config }];
  }
  const fault: Any | undefined = route.typed_per_filter_config?.[FAULT_FILTER];
  return [
    {
      ...common,
      route: reducedAction(route.route ?? {}),
      ...(fault === undefined ? {} : { typed_per_filter_config: { [FAULT_FILTER]: fault } }),
    },
  ];
}

/** Undefined when no gRPC call can match. */
function reducedMatch(match: RouteMatch): RouteMatch | undefined {
  // A call has no query.
  if ((match.query_parameters ?? []).length > 0) return undefined;
  const headers: NonNullable<RouteMatch["headers"]> = [];
  for (const header of match.headers ?? []) {
    const name = header.name ?? "";
    if (!name.startsWith(":")) headers.push(header);
    else if (!holds(header.string_match ?? {}, SAID[name])) return undefined;
  }
  const { prefix, path, safe_regex, case_sensitive } = match;
  return {
    ...(prefix ? { prefix } : {}),
    ...(path ? { path } : {}),
    ...(safe_regex ? { safe_regex } : {}),
    ...(case_sensitive ? { case_sensitive } : {}),
    ...(headers.length > 0 ? { headers } : {}),
  };
}

/** Of what is not known (the authority) nothing holds. */
function holds(matcher: StringMatcher, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (matcher.exact) return value === matcher.exact;
  if (matcher.prefix) return value.startsWith(matcher.prefix);
  if (matcher.suffix) return value.endsWith(matcher.suffix);
  const regex = matcher.safe_regex?.regex;
  if (!regex) return true;
  try {
    return new RegExp(`^(?:${regex})$`).test(value);
  } catch {
    // RE2 knows a few things that this one does not: such a route is left out.
    return false;
  }
}

function reducedAction(action: RouteAction): RouteAction {
  const { cluster, weighted_clusters: weighted, timeout, retry_policy: retry } = action;
  const hashing = (action.hash_policy ?? []).filter(({ header }) => header);
  const isLimited = Number(timeout?.seconds ?? 0) > 0 || (timeout?.nanos ?? 0) > 0;
  return {
    ...(cluster ? { cluster } : {}),
    ...(weighted
      ? {
          weighted_clusters: {
            clusters: (weighted.clusters ?? []).map(({ name, weight }) => ({
              ...(name ? { name } : {}),
              ...(weight ? { weight } : {}),
            })),
          },
        }
      : {}),
    // gRFC A31: the timeout of a route is the maximal duration of a stream.
    ...(isLimited && timeout ? { max_stream_duration: { max_stream_duration: timeout } } : {}),
    ...retryFields(retry),
    ...(hashing.length > 0 ? { hash_policy: hashing } : {}),
  };
}

function retryFields(policy: RetryPolicy | null | undefined): RouteAction {
  const conditions = (policy?.retry_on ?? "").split(",").filter((each) => RETRY_ON.has(each));
  if (conditions.length === 0) return {};
  const { num_retries, retry_back_off } = policy ?? {};
  return {
    retry_policy: {
      retry_on: conditions.join(","),
      ...(num_retries ? { num_retries } : {}),
      ...(retry_back_off ? { retry_back_off } : {}),
    },
  };
}
