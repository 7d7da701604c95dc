import {
  durationToMs,
  type envoy_config_route_v3_RouteAction_HashPolicy,
} from "../../../xds/index.ts";
import type { HashPolicy } from "../hash-policy.ts";
import type { Scope } from "./scope.ts";

/** Compiles a route's hash policies; those of a kind that we lack are refused. */
export function compileHashPolicies(
  policies: readonly envoy_config_route_v3_RouteAction_HashPolicy[],
  scope: Scope,
): readonly HashPolicy[] {
  return policies.flatMap((policy, i): HashPolicy[] => {
    const place = scope.at(i);
    const isTerminal = policy.terminal ?? false;
    const named = (name: string | null | undefined, ...path: string[]): string => {
      if (!name) place.at(...path).fail("must not be empty");
      return name ?? "";
    };
    if (policy.header) {
      const name = named(policy.header.header_name, "header", "header_name").toLowerCase();
      return [{ kind: "header", name, isTerminal }];
    }
    if (policy.cookie) {
      const { name, ttl, path, attributes } = policy.cookie;
      const ttlMs = durationToMs(ttl);
      return [
        {
          kind: "cookie",
          name: named(name, "cookie", "name"),
          ttlSeconds: ttlMs === undefined ? undefined : Math.trunc(ttlMs / 1000),
          path: path ?? "",
          attributes: (attributes ?? []).map((each) => [each.name ?? "", each.value ?? ""]),
          isTerminal,
        },
      ];
    }
    if (policy.connection_properties) {
      return policy.connection_properties.source_ip === true
        ? [{ kind: "sourceIp", isTerminal }]
        : [];
    }
    if (policy.query_parameter) {
      const name = named(policy.query_parameter.name, "query_parameter", "name");
      return [{ kind: "queryParameter", name, isTerminal }];
    }
    place.fail("must set one of header, cookie, connection_properties, query_parameter");
    return [];
  });
}
