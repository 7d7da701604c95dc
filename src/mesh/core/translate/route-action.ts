import { tryParseDurationMs } from "../../../base/index.ts";
import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import type {
  Destination,
  HttpFaultInjection,
  HttpRedirect,
  HttpRetry,
  HttpRoute,
  HttpRouteDestination,
  Percent,
} from "../model-istio.ts";
import { CORS_FILTER, corsConfig } from "./cors.ts";
import { headerFields, hostOf } from "./header-operations.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];
type RouteAction = MessageTypes["envoy.config.route.v3.RouteAction"];
type RouteMatch = MessageTypes["envoy.config.route.v3.RouteMatch"];
type RetryPolicy = MessageTypes["envoy.config.route.v3.RetryPolicy"];
type RedirectAction = MessageTypes["envoy.config.route.v3.RedirectAction"];
type FractionalPercent = MessageTypes["envoy.type.v3.FractionalPercent"];
type MirrorPolicy = MessageTypes["envoy.config.route.v3.RouteAction.RequestMirrorPolicy"];

/** Gives the cluster of a destination. */
export type ClusterNamer = (destination: Destination) => string;

/**
 * What Istio retries without being asked since 1.24: no status codes, because an answer of 503 does
 * not tell whether the request has been acted upon (release note 50506).
 */
const DEFAULT_RETRY_ON =
  "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_ATTEMPTS = 2;
const HOST_SELECTION_ATTEMPTS = 5;
/** FractionalPercent.DenominatorType.MILLION: Istio's percentages have four decimals. */
const MILLION = 2;
/** RedirectAction.RedirectResponseCode */
const REDIRECT_CODES: Readonly<Record<number, 0 | 1 | 2 | 3 | 4>> = {
  301: 0,
  302: 1,
  303: 2,
  307: 3,
  308: 4,
};
/** RouteAction.ClusterNotFoundResponseCode */
const INTERNAL_SERVER_ERROR = 2;
/** Name of the fault filter, as key of per-route configuration. */
export const FAULT_FILTER = "envoy.filters.http.fault";
const FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/** The retry policy of routes that no VirtualService speaks of. */
export function defaultRetryPolicy(): RetryPolicy {
  return {
    retry_on: DEFAULT_RETRY_ON,
    num_retries: { value: DEFAULT_ATTEMPTS },
    ...avoidPreviousHosts(),
  };
}

/** Everything of an Envoy route but its match: action, headers, faults. */
export function routeAction(
  route: HttpRoute,
  match: RouteMatch,
  clusterOf: ClusterNamer,
  hashing: RouteAction["hash_policy"],
): Route {
  if (route.redirect !== undefined) {
    return { redirect: redirectAction(route.redirect), ...headerFields(route.headers) };
  }
  if (route.directResponse !== undefined) {
    const { status, body } = route.directResponse;
    return {
      direct_response: {
        status,
        ...(body?.string !== undefined ? { body: { inline_string: body.string } } : {}),
        ...(body?.bytes !== undefined
          ? { body: { inline_bytes: Uint8Array.fromBase64(body.bytes) } }
          : {}),
      },
      ...headerFields(route.headers),
    };
  }
  const isHashed = (hashing?.length ?? 0) > 0;
  const targets = targetsOf(route);
  const only = targets.length === 1 ? targets[0] : undefined;
  const host = route.rewrite?.authority ?? hostOf(only?.headers) ?? hostOf(route.headers);
  return {
    route: {
      ...(only === undefined
        ? {
            weighted_clusters: {
              clusters: targets.map((to) => weightedCluster(to, clusterOf)),
              // A user whose requests hash to a host stays on the version of that host.
              ...(isHashed ? { use_hash_policy: { value: true } } : {}),
            },
          }
        : { cluster: clusterOf(only.destination) }),
      ...timeoutFields(durationMs(route.timeout) ?? 0),
      ...rewriteFields(route, match),
      ...(host === undefined || host === "" ? {} : { host_rewrite_literal: host }),
      ...retryFields(route.retries),
      ...mirrorFields(route, clusterOf),
      ...(isHashed ? { hash_policy: hashing } : {}),
      ...(route.failsWith500 === true
        ? { cluster_not_found_response_code: INTERNAL_SERVER_ERROR }
        : {}),
    },
    ...mergedHeaders(route, only),
    ...filterFields(route),
  };
}

/** How long a request may take, retries included; 0 = as long as it likes (Istio's default). */
export function timeoutFields(timeoutMs: number): RouteAction {
  const timeout = durationFromMs(timeoutMs);
  if (timeoutMs > 0) return { timeout };
  // A stream's own deadline (grpc-timeout) is kept then.
  return {
    timeout,
    max_stream_duration: { max_stream_duration: timeout, grpc_timeout_header_max: timeout },
  };
}

/** A destination of weight 0 beside others gets nothing and is left out; a single one gets all. */
function targetsOf(route: HttpRoute): readonly HttpRouteDestination[] {
  const all = route.route ?? [];
  if (all.length <= 1) return all;
  return all.filter((to) => (to.weight ?? 0) > 0);
}

function weightedCluster(to: HttpRouteDestination, clusterOf: ClusterNamer) {
  const host = hostOf(to.headers);
  return {
    name: clusterOf(to.destination),
    weight: { value: to.weight ?? 0 },
    ...headerFields(to.headers),
    ...(host === undefined ? {} : { host_rewrite_literal: host }),
  };
}

/** Headers of the route and, when there is one destination, of the destination first. */
function mergedHeaders(route: HttpRoute, only: HttpRouteDestination | undefined): Route {
  const own = headerFields(route.headers);
  if (only === undefined) return own;
  const inner = headerFields(only.headers);
  const joined = <T>(a: readonly T[] | undefined, b: readonly T[] | undefined): T[] => [
    ...(a ?? []),
    ...(b ?? []),
  ];
  return {
    request_headers_to_add: joined(inner.request_headers_to_add, own.request_headers_to_add),
    request_headers_to_remove: joined(
      inner.request_headers_to_remove,
      own.request_headers_to_remove,
    ),
    response_headers_to_add: joined(inner.response_headers_to_add, own.response_headers_to_add),
    response_headers_to_remove: joined(
      inner.response_headers_to_remove,
      own.response_headers_to_remove,
    ),
  };
}

function rewriteFields({ rewrite }: HttpRoute, match: RouteMatch): RouteAction {
  const regex = rewrite?.uriRegexRewrite;
  if (regex !== undefined) {
    return {
      regex_rewrite: {
        pattern: { regex: regex.match ?? "" },
        substitution: regex.rewrite ?? "",
      },
    };
  }
  if (rewrite?.uri === undefined || rewrite.uri === "") return {};
  // A path matched by a regular expression is replaced as a whole.
  if (match.safe_regex) {
    return { regex_rewrite: { pattern: { regex: "^.*$" }, substitution: rewrite.uri } };
  }
  return { prefix_rewrite: rewrite.uri };
}

function retryFields(retries: HttpRetry | undefined): RouteAction {
  if (retries === undefined) return { retry_policy: defaultRetryPolicy() };
  if (retries.attempts === 0) return {};
  const { retryOn, statusCodes } = retryConditions(retries.retryOn);
  const perTryTimeoutMs = durationMs(retries.perTryTimeout);
  const backoffMs = durationMs(retries.backoff);
  return {
    retry_policy: {
      retry_on: retryOn,
      num_retries: { value: retries.attempts ?? DEFAULT_ATTEMPTS },
      ...(statusCodes.length > 0 ? { retriable_status_codes: statusCodes } : {}),
      ...(perTryTimeoutMs === undefined || perTryTimeoutMs <= 0
        ? {}
        : { per_try_timeout: durationFromMs(perTryTimeoutMs) }),
      ...(backoffMs === undefined || backoffMs <= 0
        ? {}
        : { retry_back_off: { base_interval: durationFromMs(backoffMs) } }),
      ...(retries.retryIgnorePreviousHosts === false ? {} : avoidPreviousHosts()),
    },
  };
}

/** Numbers in `retryOn` are status codes; they only count with `retriable-status-codes`. */
function retryConditions(text: string | undefined): {
  readonly retryOn: string;
  readonly statusCodes: number[];
} {
  if (text === undefined || text === "") {
    return { retryOn: DEFAULT_RETRY_ON, statusCodes: [] };
  }
  const tokens = text
    .split(",")
    .map((token) => token.trim())
    .filter((token) => token !== "");
  const statusCodes = tokens.filter((token) => /^[1-5]\d\d$/.test(token)).map(Number);
  const names = tokens.filter((token) => !/^\d+$/.test(token));
  if (statusCodes.length > 0 && !names.includes("retriable-status-codes")) {
    names.push("retriable-status-codes");
  }
  return { retryOn: names.join(","), statusCodes };
}

function avoidPreviousHosts(): RetryPolicy {
  return {
    retry_host_predicate: [
      {
        name: "envoy.retry_host_predicates.previous_hosts",
        typed_config: packAny(
          "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
          {},
        ),
      },
    ],
    host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
  };
}

function mirrorFields(route: HttpRoute, clusterOf: ClusterNamer): RouteAction {
  const percent: Percent | undefined =
    route.mirrorPercentage ??
    (route.mirrorPercent === undefined ? undefined : { value: route.mirrorPercent });
  const mirrors = [
    ...(route.mirror ? [{ destination: route.mirror, percentage: percent }] : []),
    ...(route.mirrors ?? []),
  ];
  const policies = mirrors.flatMap(({ destination, percentage }): MirrorPolicy[] => {
    // Absent means all, 0 means none.
    const value = percentage === undefined ? 100 : (percentage.value ?? 0);
    if (value <= 0) return [];
    return [
      {
        cluster: clusterOf(destination),
        runtime_fraction: { default_value: fraction(value) },
        trace_sampled: { value: false },
        disable_shadow_host_suffix_append: true,
      },
    ];
  });
  return policies.length > 0 ? { request_mirror_policies: policies } : {};
}

function filterFields(route: HttpRoute): Route {
  const fault = faultConfig(route.fault);
  const cors = corsConfig(route.corsPolicy);
  if (fault === undefined && cors === undefined) return {};
  return {
    typed_per_filter_config: {
      ...(fault === undefined ? {} : { [FAULT_FILTER]: fault }),
      ...(cors === undefined ? {} : { [CORS_FILTER]: cors }),
    },
  };
}

function faultConfig(
  fault: HttpFaultInjection | undefined,
): ReturnType<typeof packAny> | undefined {
  if (fault === undefined) return undefined;
  const { delay, abort } = fault;
  // An absent percentage injects nothing (Istio).
  const delayPercent = delay?.percentage?.value ?? delay?.percent ?? 0;
  const abortPercent = abort?.percentage?.value ?? 0;
  const delayMs = durationMs(delay?.fixedDelay);
  const hasDelay = delayMs !== undefined && delayMs > 0 && delayPercent > 0;
  const hasAbort = abortPercent > 0 && (abort?.httpStatus ?? abort?.grpcStatus) !== undefined;
  if (!hasDelay && !hasAbort) return undefined;
  return packAny(FAULT, {
    ...(hasDelay
      ? { delay: { fixed_delay: durationFromMs(delayMs), percentage: fraction(delayPercent) } }
      : {}),
    ...(hasAbort
      ? { abort: { ...abortStatus(abort ?? {}), percentage: fraction(abortPercent) } }
      : {}),
  });
}

/** grpc/status codes by name. */
const GRPC_STATUS = [
  ...["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"],
  ...["ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"],
  ...["ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"],
  "UNAUTHENTICATED",
];

function abortStatus(abort: NonNullable<HttpFaultInjection["abort"]>) {
  if (abort.httpStatus !== undefined) return { http_status: abort.httpStatus };
  const code = GRPC_STATUS.indexOf(abort.grpcStatus ?? "");
  return { grpc_status: code < 0 ? GRPC_STATUS.indexOf("UNAVAILABLE") : code };
}

function redirectAction(redirect: HttpRedirect): RedirectAction {
  const { uri, authority, scheme } = redirect;
  return {
    response_code: REDIRECT_CODES[redirect.redirectCode ?? 301] ?? 0,
    ...(authority ? { host_redirect: authority } : {}),
    ...(scheme ? { scheme_redirect: scheme } : {}),
    ...(redirect.uriRegexRewrite === undefined
      ? pathRedirect(uri)
      : {
          regex_rewrite: {
            pattern: { regex: redirect.uriRegexRewrite.match },
            substitution: redirect.uriRegexRewrite.rewrite,
          },
        }),
    ...portRedirect(redirect),
  };
}

/** `%PREFIX()%...` replaces only the matched prefix. */
function pathRedirect(uri: string | undefined): RedirectAction {
  if (uri === undefined || uri === "") return {};
  const marker = "%PREFIX()%";
  return uri.startsWith(marker)
    ? { prefix_rewrite: uri.slice(marker.length) }
    : { path_redirect: uri };
}

function portRedirect({ port, derivePort, scheme }: HttpRedirect): RedirectAction {
  if (port !== undefined && port > 0) return { port_redirect: port };
  if (derivePort === "FROM_PROTOCOL_DEFAULT") {
    if (scheme === "http") return { port_redirect: 80 };
    if (scheme === "https") return { port_redirect: 443 };
  }
  return {};
}

function fraction(percent: number): FractionalPercent {
  const numerator = Math.min(Math.round(percent * 10_000), 1_000_000);
  return { numerator, denominator: MILLION };
}

function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : tryParseDurationMs(text);
}
