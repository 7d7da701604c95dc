import type {
  envoy_config_route_v3_RateLimit_Action as Action,
  envoy_config_route_v3_RateLimit as RateLimit,
} from "../../../xds/index.ts";
import type { RateLimitAction, RateLimitRule } from "../rate-limit-rules.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher } from "./string-matcher.ts";

const MAX_STAGE = 10;

/** Compiles the `rate_limits` of a route or virtual host. Problems go to `scope`. */
export function compileRateLimitRules(
  rules: readonly RateLimit[] | null | undefined,
  scope: Scope,
): readonly RateLimitRule[] {
  return (rules ?? []).map((rule, i) => {
    const place = scope.at(i);
    const stage = rule.stage?.value ?? 0;
    if (stage > MAX_STAGE) place.at("stage").fail(`must be at most ${MAX_STAGE} (found ${stage})`);
    const actions = (rule.actions ?? []).map((action, j) =>
      compileAction(action, place.at("actions", j)),
    );
    if (actions.length === 0) place.at("actions").fail("must not be empty");
    return { stage, actions };
  });
}

function compileAction(action: Action, scope: Scope): RateLimitAction {
  if (action.remote_address) return ({ remoteIp }) => [["remote_address", remoteIp]];
  if (action.destination_cluster) return ({ cluster }) => [["destination_cluster", cluster]];
  if (action.generic_key) {
    const { descriptor_key: key, descriptor_value: value } = action.generic_key;
    if (!value) scope.at("generic_key", "descriptor_value").fail("must not be empty");
    const entries = [[key || "generic_key", value ?? ""]] as const;
    return () => entries;
  }
  if (action.request_headers) return headerAction(action.request_headers, scope);
  if (action.header_value_match) return matchAction(action.header_value_match, scope);
  scope.fail("this kind of action is not supported");
  return () => undefined;
}

function headerAction(
  headers: NonNullable<Action["request_headers"]>,
  scope: Scope,
): RateLimitAction {
  const place = scope.at("request_headers");
  const { header_name: name, descriptor_key: key } = headers;
  if (!name) place.at("header_name").fail("must not be empty");
  if (!key) place.at("descriptor_key").fail("must not be empty");
  const lower = (name ?? "").toLowerCase();
  const whenAbsent = headers.skip_if_absent ? [] : undefined;
  return (subject) => {
    const value = subject.header(lower);
    return value === undefined ? whenAbsent : [[key ?? "", value]];
  };
}

function matchAction(
  match: NonNullable<Action["header_value_match"]>,
  scope: Scope,
): RateLimitAction {
  const place = scope.at("header_value_match");
  if (!match.descriptor_value) place.at("descriptor_value").fail("must not be empty");
  const matchers = (match.headers ?? []).map((header, i) =>
    compileHeaderMatcher(header, place.at("headers", i)),
  );
  if (matchers.length === 0) place.at("headers").fail("must not be empty");
  const isWanted = match.expect_match ? (match.expect_match.value ?? false) : true;
  const entries = [[match.descriptor_key || "header_match", match.descriptor_value ?? ""]] as const;
  return ({ header }) =>
    matchers.every(({ name, matches }) => matches(header(name))) === isWanted ? entries : undefined;
}
