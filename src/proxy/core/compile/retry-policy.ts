import { durationToMs, type envoy_config_route_v3_RetryPolicy } from "../../../xds/index.ts";
import type { RetryPolicy } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

const DEFAULT_BACKOFF_BASE_MS = 25;

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
  if ((policy.retriable_headers ?? []).length > 0) {
    scope.at("retriable_headers").fail("is not supported");
  }
  if (policy.per_try_idle_timeout) scope.at("per_try_idle_timeout").fail("is not supported");
  let avoidPreviousHosts = false;
  for (const [i, predicate] of (policy.retry_host_predicate ?? []).entries()) {
    const url = predicate.typed_config?.type_url ?? "";
    if (
      predicate.name === "envoy.retry_host_predicates.previous_hosts" ||
      url.endsWith(".PreviousHostsPredicate")
    ) {
      avoidPreviousHosts = true;
    } else {
      scope.at("retry_host_predicate", i).fail(`${predicate.name ?? url} is not supported`);
    }
  }
  const backoffBaseMs =
    durationToMs(policy.retry_back_off?.base_interval) ?? DEFAULT_BACKOFF_BASE_MS;
  const backoffMaxMs = durationToMs(policy.retry_back_off?.max_interval) ?? backoffBaseMs * 10;
  if (policy.retry_back_off && backoffBaseMs <= 0) {
    scope.at("retry_back_off", "base_interval").fail("must be more than 0");
  }
  if (backoffMaxMs < backoffBaseMs) {
    scope.at("retry_back_off", "max_interval").fail("must be at least the base_interval");
  }
  return {
    retryOn,
    retriableStatusCodes: new Set(policy.retriable_status_codes ?? []),
    numRetries: policy.num_retries ? (policy.num_retries.value ?? 0) : 1,
    perTryTimeoutMs: durationToMs(policy.per_try_timeout) ?? 0,
    backoffBaseMs,
    backoffMaxMs,
    avoidPreviousHosts,
    hostSelectionRetryMaxAttempts: policy.host_selection_retry_max_attempts || 1,
  };
}
