import {
  type envoy_extensions_filters_network_http_connection_manager_v3_HttpFilter as HttpFilter,
  unpackAny,
} from "../../../xds/index.ts";
import type { HttpFilterConfig } from "../runtime-config.ts";
import type { CompileContext } from "./data-source.ts";
import { compileFault, HTTP_FAULT } from "./fault.ts";
import { compileJwt } from "./jwt.ts";
import { compileLocalRateLimit } from "./local-rate-limit.ts";
import { compileRbac } from "./rbac.ts";
import type { Scope } from "./scope.ts";
import { compileStatefulSession, STATEFUL_SESSION } from "./stateful-session.ts";

const ROUTER_MESSAGE = "envoy.extensions.filters.http.router.v3.Router";
const ROUTER = `type.googleapis.com/${ROUTER_MESSAGE}`;
const CORS = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
const RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC";
const JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const FORWARD_PROXY = "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig";
const LOCAL_RATE_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";

/**
 * Compiles the filters before the router, which must be last. Unknown ones are refused, unless they
 * say that they are optional. Problems go to `scope`.
 */
export function compileHttpFilters(
  filters: readonly HttpFilter[],
  context: CompileContext,
  scope: Scope,
): readonly HttpFilterConfig[] {
  const compiled: HttpFilterConfig[] = [];
  for (const [i, filter] of filters.entries()) {
    const isLast = i === filters.length - 1;
    if (filter.typed_config?.type_url === ROUTER) {
      if (!isLast) scope.at(i).fail("the router must be the last filter");
      continue;
    }
    if (isLast) scope.at(i).fail("non-terminal filter is the last filter; the router must be last");
    const one = compileFilter(filter, context, scope.at(i));
    if (one !== undefined) compiled.push(one);
  }
  if (filters.length === 0) scope.fail("must end with the router");
  return compiled;
}

/** Whether the router, the last filter, gives every try a span of its own. */
export function startsChildSpan(filters: readonly HttpFilter[]): boolean {
  return unpackAny(ROUTER_MESSAGE, filters.at(-1)?.typed_config)?.start_child_span ?? false;
}

function compileFilter(
  filter: HttpFilter,
  context: CompileContext,
  scope: Scope,
): HttpFilterConfig | undefined {
  const config = filter.typed_config;
  const place = scope.at("typed_config");
  const own = { name: filter.name ?? "", isDisabled: filter.disabled ?? false };
  const fault = unpackAny(HTTP_FAULT, config);
  if (fault !== undefined) return { ...own, kind: "fault", fault: compileFault(fault, place) };
  if (config?.type_url === CORS) return { ...own, kind: "cors" };
  const rbac = unpackAny(RBAC, config);
  if (rbac !== undefined) return { ...own, kind: "rbac", rbac: compileRbac(rbac, place) };
  const jwt = unpackAny(JWT, config);
  if (jwt !== undefined) return { ...own, kind: "jwt", jwt: compileJwt(jwt, context, place) };
  const limit = unpackAny(LOCAL_RATE_LIMIT, config);
  if (limit !== undefined) {
    return { ...own, kind: "localRateLimit", limit: compileLocalRateLimit(limit, context, place) };
  }
  const session = unpackAny(STATEFUL_SESSION, config);
  if (session !== undefined) {
    return { ...own, kind: "statefulSession", session: compileStatefulSession(session, place) };
  }
  const forward = unpackAny(FORWARD_PROXY, config);
  if (forward !== undefined) {
    // Names are resolved when a connection is made: the filter has nothing left to do.
    if (forward.sub_cluster_config) place.at("sub_cluster_config").fail("is not supported");
    else if (!forward.dns_cache_config?.name) {
      place.at("dns_cache_config", "name").fail("must not be empty");
    }
    return undefined;
  }
  const url = config?.type_url ?? "";
  if (filter.is_optional === true) scope.warn(`filter ${filter.name ?? url} is ignored`);
  else place.fail(`filter ${filter.name ?? ""} (${url}) is not supported`);
  return undefined;
}
