import type {
  GrpcRouteMatch,
  GrpcRouteRule,
  HttpFilter,
  HttpRouteMatch,
  HttpRouteRule,
} from "../../../api/index.ts";
import { formatDurationMs, tryParseDurationMs } from "../../../base/index.ts";
import type {
  HttpMatchRequest,
  HttpRetry,
  HttpRoute,
  HttpRouteDestination,
  PathMatch,
  StringMatch,
} from "../model-istio.ts";
import { INVALID, type RouteContext, weightedBackends } from "./backends.ts";
import { backendHeaders, filtered, type ListenerPort } from "./http-filters.ts";
import { type ApiObject, byPrecedence, type ValidRoute } from "./objects.ts";

/** One match of one rule, with what its place among all others goes by. */
export interface RankedRoute {
  readonly route: HttpRoute;
  readonly match: HttpMatchRequest;
  readonly object: ApiObject<unknown>;
}

const INTERNAL_SERVER_ERROR = 500;
/** What a gRPC client reads as UNAVAILABLE. */
const SERVICE_UNAVAILABLE = 503;

type HttpLikeRoute = Extract<ValidRoute, { readonly type: "HTTPRoute" | "GRPCRoute" }>;

/** The rules of an HTTPRoute or GRPCRoute, one route for each match, in their own order. */
export function rankedRoutes(
  { type, object, spec }: HttpLikeRoute,
  listener: ListenerPort | undefined,
  context: RouteContext,
): readonly RankedRoute[] {
  const origin = { kind: type, namespace: object.namespace, name: object.name };
  const ranked = (
    rule: Rule,
    index: number,
    matches: readonly { readonly request: HttpMatchRequest; readonly prefix: string | undefined }[],
  ) =>
    matches.map(({ request, prefix }) => ({
      match: request,
      object,
      route: {
        name: `${object.namespace}.${object.name}.${rule.name ?? index}`,
        match: [request],
        ...actionOf(rule, type, prefix, listener, context),
        origin,
      },
    }));
  return type === "HTTPRoute"
    ? (spec.rules ?? [{}]).flatMap((rule: HttpRouteRule, i: number) =>
        ranked(rule, i, atLeastOne(rule.matches).map(httpMatch)),
      )
    : (spec.rules ?? [{}]).flatMap((rule: GrpcRouteRule, i: number) =>
        ranked(rule, i, atLeastOne(rule.matches).map(grpcMatch)),
      );
}

/** A rule without matches takes everything. */
function atLeastOne<Match extends object>(matches: readonly Match[] | undefined): readonly Match[] {
  return matches === undefined || matches.length === 0 ? [{} as Match] : matches;
}

/** What rules of HTTPRoutes and GRPCRoutes have in common. */
interface Rule {
  readonly name?: string | undefined;
  readonly filters?: readonly HttpFilter[] | undefined;
  readonly backendRefs?:
    | readonly (NonNullable<HttpRouteRule["backendRefs"]>[number] & {
        readonly filters?: readonly HttpFilter[] | undefined;
      })[]
    | undefined;
  readonly timeouts?: HttpRouteRule["timeouts"];
  readonly retry?: HttpRouteRule["retry"];
}

function actionOf(
  rule: Rule,
  type: HttpLikeRoute["type"],
  prefix: string | undefined,
  listener: ListenerPort | undefined,
  context: RouteContext,
): HttpRoute {
  const route = filtered(rule.filters ?? [], prefix, listener, context);
  const backends = weightedBackends(rule.backendRefs ?? [], context).map(
    ({ ref, destination, weight }): HttpRouteDestination => {
      const own = backendHeaders(ref.filters ?? [], context);
      if (own === undefined) return { destination: INVALID, weight };
      return {
        destination,
        weight,
        ...(own.headers === undefined ? {} : { headers: own.headers }),
      };
    },
  );
  if (route?.redirect !== undefined) {
    return { redirect: route.redirect, ...(route.headers ? { headers: route.headers } : {}) };
  }
  const isAnswerable = backends.some(({ destination }) => destination !== INVALID);
  if (route === undefined || !isAnswerable) {
    const status = type === "HTTPRoute" ? INTERNAL_SERVER_ERROR : SERVICE_UNAVAILABLE;
    return { directResponse: { status } };
  }
  const hasInvalid = backends.some(({ destination }) => destination === INVALID);
  return {
    ...route,
    route: backends,
    ...(hasInvalid && type === "HTTPRoute" ? { failsWith500: true } : {}),
    ...timing(rule),
  };
}

/** Timeouts and retries. `0s` = without a limit. */
function timing({ timeouts, retry }: Rule): Pick<HttpRoute, "timeout" | "retries"> {
  const requestMs = tryParseDurationMs(timeouts?.request ?? "0") ?? 0;
  const backendMs = tryParseDurationMs(timeouts?.backendRequest ?? "0") ?? 0;
  const isRetried = retry?.attempts !== 0;
  // One attempt: the time that it may take is all there is.
  const limits = [requestMs, isRetried ? 0 : backendMs].filter((ms) => ms > 0);
  const timeout = limits.length === 0 ? {} : { timeout: exactMs(Math.min(...limits)) };
  if (!isRetried) return { ...timeout, retries: { attempts: 0 } };
  if (retry === undefined && backendMs === 0) return timeout;
  return {
    ...timeout,
    retries: {
      ...(retry === undefined ? {} : retriesOf(retry)),
      ...(backendMs > 0 ? { perTryTimeout: exactMs(backendMs) } : {}),
    },
  };
}

/** Beside the codes, what never reached a backend. */
const ALWAYS_RETRIED = "connect-failure,refused-stream,unavailable,cancelled";

function retriesOf({
  codes = [],
  attempts,
  backoff,
}: NonNullable<HttpRouteRule["retry"]>): HttpRetry {
  return {
    ...(attempts === undefined ? {} : { attempts }),
    ...(codes.length === 0 ? {} : { retryOn: [ALWAYS_RETRIED, ...codes].join(",") }),
    ...(backoff === undefined ? {} : { backoff }),
  };
}

function exactMs(durationMs: number): string {
  return durationMs % 1000 === 0 ? formatDurationMs(durationMs) : `${durationMs}ms`;
}

interface Match {
  readonly request: HttpMatchRequest;
  /** The PathPrefix that is matched. */
  readonly prefix: string | undefined;
}

function httpMatch({ path, headers, queryParams, method }: HttpRouteMatch): Match {
  const { type = "PathPrefix", value = "/" } = path ?? {};
  return {
    prefix: type === "PathPrefix" ? value : undefined,
    request: {
      uri: pathMatch(type, value),
      ...namedMatches("headers", headers, (name) => name.toLowerCase()),
      ...namedMatches("queryParams", queryParams, (name) => name),
      ...(method === undefined ? {} : { method: { exact: method } }),
    },
  };
}

function pathMatch(type: "Exact" | "PathPrefix" | "RegularExpression", value: string): PathMatch {
  if (type === "Exact") return { exact: value };
  if (type === "RegularExpression") return { regex: value };
  // A slash at the end of a prefix means nothing.
  return { prefix: value.replace(/\/+$/, "") || "/", isSegmentPrefix: true };
}

interface Named {
  readonly type?: "Exact" | "RegularExpression" | undefined;
  readonly name: string;
  readonly value: string;
}

/** Of several entries for one name the first counts. */
function namedMatches<Field extends "headers" | "queryParams">(
  field: Field,
  list: readonly Named[] | undefined,
  key: (name: string) => string,
): { readonly [F in Field]?: Record<string, StringMatch> } {
  if (list === undefined || list.length === 0) return {};
  const found: Record<string, StringMatch> = {};
  for (const { type, name, value } of list) {
    found[key(name)] ??= type === "RegularExpression" ? { regex: value } : { exact: value };
  }
  return { [field]: found } as { readonly [F in Field]?: Record<string, StringMatch> };
}

function grpcMatch({ method, headers }: GrpcRouteMatch): Match {
  return {
    prefix: undefined,
    request: {
      uri: grpcPath(method),
      ...namedMatches("headers", headers, (name) => name.toLowerCase()),
    },
  };
}

const ANY_NAME = "[^/]+";

/** gRPC's path is `/service/method`. */
function grpcPath(method: GrpcRouteMatch["method"]): PathMatch {
  if (method === undefined) return { prefix: "/" };
  const { type = "Exact", service, method: name } = method;
  if (type === "RegularExpression") {
    return { regex: `/${service || ANY_NAME}/${name || ANY_NAME}` };
  }
  if (service && name) return { exact: `/${service}/${name}` };
  // Names of gRPC methods are plain words.
  return service ? { prefix: `/${service}/` } : { regex: `/${ANY_NAME}/${name}` };
}

/** What comes first among routes of one host: Gateway API's precedence of matches. */
export function compareRanks(a: RankedRoute, b: RankedRoute): number {
  return (
    pathRank(b.match.uri) - pathRank(a.match.uri) ||
    pathLength(b.match.uri) - pathLength(a.match.uri) ||
    Number(b.match.method !== undefined) - Number(a.match.method !== undefined) ||
    countOf(b.match.headers) - countOf(a.match.headers) ||
    countOf(b.match.queryParams) - countOf(a.match.queryParams) ||
    byPrecedence(a.object, b.object)
  );
}

/** Exact paths, expressions, prefixes: where expressions come the specification leaves open. */
function pathRank(uri: PathMatch | undefined): number {
  if (uri?.exact !== undefined) return 2;
  return uri?.regex === undefined ? 0 : 1;
}

function pathLength(uri: PathMatch | undefined): number {
  return (uri?.exact ?? uri?.regex ?? uri?.prefix ?? "").length;
}

function countOf(map: Readonly<Record<string, unknown>> | undefined): number {
  return Object.keys(map ?? {}).length;
}
