import { type Any, unpackAny } from "../../../xds/index.ts";
import type { FilterOverride } from "../runtime-config.ts";
import { CORS_POLICY, compileCors } from "./cors.ts";
import type { CompileContext } from "./data-source.ts";
import { compileFault, HTTP_FAULT } from "./fault.ts";
import { compileLocalRateLimit } from "./local-rate-limit.ts";
import { compileRbac } from "./rbac.ts";
import type { Scope } from "./scope.ts";
import { compileStatefulSession, STATEFUL_SESSION_PER_ROUTE } from "./stateful-session.ts";

/**
 * Compiles `typed_per_filter_config`, by the filters' names: what one route, virtual host or weighted
 * cluster wants in place of the filter's own configuration. Problems go to `scope`.
 */
export function compileFilterOverrides(
  configs: Readonly<Record<string, Any>> | null | undefined,
  context: CompileContext,
  scope: Scope,
): ReadonlyMap<string, FilterOverride> {
  const overrides = new Map<string, FilterOverride>();
  for (const [name, config] of Object.entries(configs ?? {})) {
    const override = compileOverride(config, context, scope.at(name));
    if (override !== undefined) overrides.set(name, override);
  }
  return overrides;
}

function compileOverride(
  config: Any,
  context: CompileContext,
  scope: Scope,
): FilterOverride | undefined {
  const wrapped = unpackAny("envoy.config.route.v3.FilterConfig", config);
  if (wrapped !== undefined) {
    if (wrapped.disabled === true) return { kind: "disabled" };
    return wrapped.config
      ? compileOverride(wrapped.config, context, scope.at("config"))
      : undefined;
  }
  const fault = unpackAny(HTTP_FAULT, config);
  if (fault !== undefined) return { kind: "fault", fault: compileFault(fault, scope) };
  const cors = unpackAny(CORS_POLICY, config);
  if (cors !== undefined) return { kind: "cors", cors: compileCors(cors, scope) };
  const rbac = unpackAny("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", config);
  if (rbac !== undefined) {
    return rbac.rbac
      ? { kind: "rbac", rbac: compileRbac(rbac.rbac, scope.at("rbac")) }
      : { kind: "disabled" };
  }
  const jwt = unpackAny("envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", config);
  if (jwt !== undefined) {
    const requirementName = jwt.disabled === true ? undefined : (jwt.requirement_name ?? "");
    return { kind: "jwt", requirementName };
  }
  const limit = unpackAny(
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    config,
  );
  if (limit !== undefined) {
    return { kind: "localRateLimit", limit: compileLocalRateLimit(limit, context, scope) };
  }
  const session = unpackAny(STATEFUL_SESSION_PER_ROUTE, config);
  if (session !== undefined) {
    if (session.disabled === true || !session.stateful_session) return { kind: "disabled" };
    const place = scope.at("stateful_session");
    return {
      kind: "statefulSession",
      session: compileStatefulSession(session.stateful_session, place),
    };
  }
  if ((config.value ?? []).length > 0) {
    scope.fail("per-route configuration of this filter is not supported");
  }
  return undefined;
}
