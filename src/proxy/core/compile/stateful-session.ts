import {
  durationToMs,
  type envoy_extensions_filters_http_stateful_session_v3_StatefulSession as Message,
  unpackAny,
} from "../../../xds/index.ts";
import type { SessionState, StatefulSession } from "../session-state.ts";
import type { Scope } from "./scope.ts";

/** The message that configures the filter. */
export const STATEFUL_SESSION = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";
export const STATEFUL_SESSION_PER_ROUTE =
  "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute";
const COOKIE = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState";
const HEADER = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState";

/** Compiles Envoy's stateful_session filter. Problems go to `scope`. */
export function compileStatefulSession(
  { session_state: state, strict }: Message,
  scope: Scope,
): StatefulSession {
  const isStrict = strict ?? false;
  if (!state) return { state: undefined, isStrict };
  return { state: compileState(state.typed_config, scope.at("session_state")), isStrict };
}

function compileState(
  config: Parameters<typeof unpackAny>[1],
  scope: Scope,
): SessionState | undefined {
  const place = scope.at("typed_config");
  const cookie = unpackAny(COOKIE, config)?.cookie;
  if (cookie) {
    const { name, ttl, path } = cookie;
    if (!name) place.at("cookie", "name").fail("must not be empty");
    return {
      kind: "cookie",
      name: name ?? "",
      ttlSeconds: Math.trunc((durationToMs(ttl) ?? 0) / 1000),
      path: path ?? "",
      attributes: [],
    };
  }
  const header = unpackAny(HEADER, config);
  if (header !== undefined) {
    if (!header.name) place.at("name").fail("must not be empty");
    return { kind: "header", name: (header.name ?? "").toLowerCase() };
  }
  place.fail(`session state ${config?.type_url ?? "without type"} is not supported`);
  return undefined;
}
