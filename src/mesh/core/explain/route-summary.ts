import { durationToMs, type MessageTypes, unpackAny } from "../../../xds/index.ts";
import { FAULT_FILTER } from "../translate/route-action.ts";
import type { RequestHead } from "./question.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];
type Fraction = MessageTypes["envoy.type.v3.FractionalPercent"];
type HeaderOption = MessageTypes["envoy.config.core.v3.HeaderValueOption"];

/** What a route does with a request besides sending it somewhere. */
export interface RouteSummary {
  /** Retries included; 0 = as long as it likes. */
  readonly timeoutMs: number;
  readonly retries:
    | {
        readonly attempts: number;
        readonly on: string;
        readonly perTryTimeoutMs: number | undefined;
      }
    | undefined;
  readonly fault:
    | {
        readonly delay: { readonly percent: number; readonly delayMs: number } | undefined;
        readonly abort: { readonly percent: number; readonly status: number } | undefined;
      }
    | undefined;
  readonly mirrors: readonly { readonly cluster: string; readonly percent: number }[];
  /** The path as it is sent on, where the route changes it. */
  readonly rewrittenPath: string | undefined;
  readonly rewrittenHost: string | undefined;
  /** What places requests of one kind on one endpoint. */
  readonly hashedBy: readonly string[];
}

/** A cluster that a route may send a request to. */
export interface ClusterChoice {
  readonly cluster: string;
  /** 0..1 */
  readonly share: number;
  readonly entry: HeaderFields;
}

interface HeaderFields {
  readonly request_headers_to_add?: readonly HeaderOption[] | null | undefined;
  readonly request_headers_to_remove?: readonly string[] | null | undefined;
  readonly host_rewrite_literal?: string | null | undefined;
}

const FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault";
/** FractionalPercent.DenominatorType: of a hundred, ten thousand, a million. */
const PER_PERCENT = [1, 100, 10_000] as const;

export function summarizeRoute(
  route: Route,
  target: { readonly before: string; readonly after: string },
): RouteSummary {
  const action = route.route ?? {};
  const { retry_policy: retry } = action;
  const fault = unpackAny(FAULT, route.typed_per_filter_config?.[FAULT_FILTER]);
  const { delay, abort } = fault ?? {};
  return {
    timeoutMs: durationToMs(action.timeout) ?? 0,
    retries: retry
      ? {
          attempts: retry.num_retries?.value ?? 1,
          on: [retry.retry_on ?? "", ...(retry.retriable_status_codes ?? [])].join(","),
          perTryTimeoutMs: durationToMs(retry.per_try_timeout),
        }
      : undefined,
    fault:
      fault === undefined
        ? undefined
        : {
            delay: delay
              ? {
                  percent: percentOf(delay.percentage),
                  delayMs: durationToMs(delay.fixed_delay) ?? 0,
                }
              : undefined,
            abort: abort
              ? {
                  percent: percentOf(abort.percentage),
                  status: abort.http_status ?? 200,
                }
              : undefined,
          },
    mirrors: (action.request_mirror_policies ?? []).map(({ cluster, runtime_fraction }) => ({
      cluster: cluster ?? "",
      percent: runtime_fraction ? percentOf(runtime_fraction.default_value) : 100,
    })),
    rewrittenPath: target.after === target.before ? undefined : target.after,
    rewrittenHost: action.host_rewrite_literal || undefined,
    hashedBy: (action.hash_policy ?? []).map(({ header, cookie, query_parameter: parameter }) => {
      if (header) return `header ${header.header_name ?? ""}`;
      if (cookie) return `cookie ${cookie.name ?? ""}`;
      return parameter ? `query parameter ${parameter.name ?? ""}` : "source address";
    }),
  };
}

function percentOf(fraction: Fraction | null | undefined): number {
  const denominator = PER_PERCENT[fraction?.denominator ?? 0] ?? 1;
  return (fraction?.numerator ?? 0) / denominator;
}

/** Where a route sends requests, and which part of them; with a `hash` that decides, the one it leads to. */
export function clusterChoices(
  { route }: Route,
  hash: bigint | undefined,
): readonly ClusterChoice[] {
  const weighted = route?.weighted_clusters?.clusters;
  if (!weighted) return [{ cluster: route?.cluster ?? "", share: 1, entry: {} }];
  const total = weighted.reduce((sum, { weight }) => sum + (weight?.value ?? 0), 0);
  const isHashed = route?.weighted_clusters?.use_hash_policy?.value === true;
  const point = isHashed && hash !== undefined ? Number(hash % BigInt(total)) : undefined;
  let before = 0;
  return weighted.map((entry) => {
    const weight = entry.weight?.value ?? 0;
    const isChosen = point !== undefined && point >= before && point < before + weight;
    before += weight;
    const share = point === undefined ? weight / total : Number(isChosen);
    return { cluster: entry.name ?? "", share, entry };
  });
}

/** The request as a route, and its entry for a cluster, send it on. */
export function forwardedRequest(
  request: RequestHead,
  route: Route,
  entry: HeaderFields,
  target: string,
): RequestHead {
  const authority =
    route.route?.host_rewrite_literal || entry.host_rewrite_literal || request.authority;
  // The weighted cluster's own come first.
  const headers = withHeaders(withHeaders(request.headers, entry), route);
  return { ...request, authority, target, headers };
}

function withHeaders(
  headers: RequestHead["headers"],
  fields: HeaderFields,
): RequestHead["headers"] {
  const removed = new Set(
    (fields.request_headers_to_remove ?? []).map((name) => name.toLowerCase()),
  );
  let out = headers.filter(([name]) => !removed.has(name));
  for (const { header, append_action: action } of fields.request_headers_to_add ?? []) {
    const name = (header?.key ?? "").toLowerCase();
    // HeaderAppendAction 2 replaces what is there.
    if (action === 2) out = out.filter(([key]) => key !== name);
    out = [...out, [name, header?.value ?? ""]];
  }
  return out;
}
