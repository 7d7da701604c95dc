import {
  durationToMs,
  type envoy_config_route_v3_RetryPolicy,
  unpackAny,
} from "../../../xds/index.ts";
import type { RateLimitedBackoff } from "../retry-policy.ts";
import type { RetryPolicy } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher } from "./string-matcher.ts";

const DEFAULT_BACKOFF_BASE_MS = 25;
const DEFAULT_MAX_RATE_LIMITED_MS = 300_000;
const PREVIOUS_PRIORITIES =
  "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";

/** Compiles Envoy's RetryPolicy; its defaults are Envoy's (one retry, base 25 ms, ten times that at most). */
export function compileRetryPolicy(
  policy: envoy_config_route_v3_RetryPolicy | null | undefined,
  scope: Scope,
): RetryPolicy | undefined {
  if (!policy) return undefined;
  const retryOn = new Set(
    (policy.retry_on ?? "")
      .split(",")
      .map((token) => token.trim())
      .filter((token) => token !== ""),
  );
  if ((policy.retry_options_predicates ?? []).length > 0) {
    scope.at("retry_options_predicates").fail("is not supported");
  }
  return {
    retryOn,
    retriableStatusCodes: new Set(policy.retriable_status_codes ?? []),
    retriableHeaders: (policy.retriable_headers ?? []).map((header, i) =>
      compileHeaderMatcher(header, scope.at("retriable_headers", i)),
    ),
    retriableRequestHeaders: (policy.retriable_request_headers ?? []).map((header, i) =>
      compileHeaderMatcher(header, scope.at("retriable_request_headers", i)),
    ),
    numRetries: policy.num_retries ? (policy.num_retries.value ?? 0) : 1,
    perTryTimeoutMs: durationToMs(policy.per_try_timeout) ?? 0,
    perTryIdleTimeoutMs: durationToMs(policy.per_try_idle_timeout) ?? 0,
    ...compileBackoff(policy, scope.at("retry_back_off")),
    rateLimitedBackoff: compileRateLimited(policy, scope.at("rate_limited_retry_back_off")),
    ...compileHostPredicates(policy, scope.at("retry_host_predicate")),
    previousPriorities: compilePreviousPriorities(policy, scope.at("retry_priority")),
    hostSelectionRetryMaxAttempts: policy.host_selection_retry_max_attempts || 1,
  };
}

function compileBackoff(
  { retry_back_off: backoff }: envoy_config_route_v3_RetryPolicy,
  scope: Scope,
): Pick<RetryPolicy, "backoffBaseMs" | "backoffMaxMs"> {
  const backoffBaseMs = durationToMs(backoff?.base_interval) ?? DEFAULT_BACKOFF_BASE_MS;
  const backoffMaxMs = durationToMs(backoff?.max_interval) ?? backoffBaseMs * 10;
  if (backoff && backoffBaseMs <= 0) scope.at("base_interval").fail("must be more than 0");
  if (backoffMaxMs < backoffBaseMs) {
    scope.at("max_interval").fail("must be at least the base_interval");
  }
  return { backoffBaseMs, backoffMaxMs };
}

function compileRateLimited(
  { rate_limited_retry_back_off: backoff }: envoy_config_route_v3_RetryPolicy,
  scope: Scope,
): RateLimitedBackoff | undefined {
  if (!backoff) return undefined;
  const headers = backoff.reset_headers ?? [];
  if (headers.length === 0) scope.at("reset_headers").fail("must not be empty");
  const maxIntervalMs = durationToMs(backoff.max_interval) ?? DEFAULT_MAX_RATE_LIMITED_MS;
  if (maxIntervalMs <= 0) scope.at("max_interval").fail("must be more than 0");
  return {
    maxIntervalMs,
    resetHeaders: headers.map(({ name, format }, i) => {
      if (!name) scope.at("reset_headers", i, "name").fail("must not be empty");
      return {
        name: (name ?? "").toLowerCase(),
        format: (format ?? 0) === 0 ? "seconds" : "unixTimestamp",
      };
    }),
  };
}

function compileHostPredicates(
  policy: envoy_config_route_v3_RetryPolicy,
  scope: Scope,
): Pick<RetryPolicy, "avoidPreviousHosts" | "omitsCanaryHosts"> {
  let avoidPreviousHosts = false;
  let omitsCanaryHosts = false;
  for (const [i, predicate] of (policy.retry_host_predicate ?? []).entries()) {
    const url = predicate.typed_config?.type_url ?? "";
    const is = (name: string, type: string): boolean =>
      url === "" ? predicate.name === name : url.endsWith(type);
    if (is("envoy.retry_host_predicates.previous_hosts", ".PreviousHostsPredicate")) {
      avoidPreviousHosts = true;
    } else if (is("envoy.retry_host_predicates.omit_canary_hosts", ".OmitCanaryHostsPredicate")) {
      omitsCanaryHosts = true;
    } else scope.at(i).fail(`${predicate.name ?? url} is not supported`);
  }
  return { avoidPreviousHosts, omitsCanaryHosts };
}

function compilePreviousPriorities(
  { retry_priority: priority }: envoy_config_route_v3_RetryPolicy,
  scope: Scope,
): RetryPolicy["previousPriorities"] {
  if (!priority) return undefined;
  const config = unpackAny(PREVIOUS_PRIORITIES, priority.typed_config);
  if (config === undefined) {
    scope.fail(`${priority.name ?? ""} is not supported`);
    return undefined;
  }
  const updateFrequency = config.update_frequency ?? 0;
  if (updateFrequency < 1) {
    scope.at("typed_config", "update_frequency").fail("must be more than 0");
  }
  return { updateFrequency: Math.max(updateFrequency, 1) };
}
