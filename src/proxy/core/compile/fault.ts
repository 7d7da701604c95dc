import {
  durationToMs,
  type envoy_extensions_filters_http_fault_v3_HTTPFault as HTTPFault,
} from "../../../xds/index.ts";
import type { FaultConfig } from "../runtime-config.ts";
import { fraction } from "./fraction.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher } from "./string-matcher.ts";

/** The message that configures the fault filter, for a filter chain or for one route. */
export const HTTP_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/** Fields that name runtime keys; without a runtime they change nothing, so they are not refused. */
const UNSUPPORTED = [
  "downstream_nodes",
  "max_active_faults",
  "filter_metadata",
  "response_rate_limit",
] as const;

/**
 * Compiles Envoy's fault filter: a delay, then an abort, each for a share of the requests that match.
 * Source: Envoy docs, "Fault Injection".
 */
export function compileFault(fault: HTTPFault, scope: Scope): FaultConfig {
  for (const field of UNSUPPORTED) {
    const value = fault[field];
    if (Array.isArray(value) ? value.length > 0 : value) scope.at(field).fail("is not supported");
  }
  const delay = compileDelay(fault, scope.at("delay"));
  const abort = compileAbort(fault, scope.at("abort"));
  return {
    delay,
    abort,
    headers: (fault.headers ?? []).map((header, i) =>
      compileHeaderMatcher(header, scope.at("headers", i)),
    ),
    upstreamCluster: fault.upstream_cluster || undefined,
  };
}

function compileDelay({ delay }: HTTPFault, scope: Scope): FaultConfig["delay"] {
  if (!delay) return undefined;
  const durationMs = durationToMs(delay.fixed_delay);
  if (durationMs === undefined)
    scope.at("fixed_delay").fail("is required (delays by request header are not supported)");
  else if (durationMs <= 0) scope.at("fixed_delay").fail("must be greater than 0");
  return { durationMs: durationMs ?? 0, fraction: fraction(delay.percentage) };
}

function compileAbort({ abort }: HTTPFault, scope: Scope): FaultConfig["abort"] {
  if (!abort) return undefined;
  const share = fraction(abort.percentage);
  // What Envoy answers to a client that does not speak gRPC, whatever the gRPC status.
  if (typeof abort.grpc_status === "number") {
    return { status: 200, grpcStatus: abort.grpc_status, fraction: share };
  }
  const status = abort.http_status ?? 0;
  if (status < 200 || status > 599) {
    scope.at("http_status").fail(`must be 200..599 (found ${status})`);
  }
  return { status, grpcStatus: undefined, fraction: share };
}
