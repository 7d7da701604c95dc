import type {
  envoy_config_core_v3_CidrRange as CidrRange,
  envoy_extensions_filters_http_rbac_v3_RBAC as HttpRbac,
  envoy_extensions_filters_network_rbac_v3_RBAC as NetworkRbac,
  envoy_type_matcher_v3_PathMatcher as PathMatcher,
  envoy_config_rbac_v3_Permission as Permission,
  envoy_config_rbac_v3_Principal as Principal,
  envoy_config_rbac_v3_RBAC as Rules,
} from "../../../xds/index.ts";
import { ipRange } from "../ip-range.ts";
import type { RbacConfig, RbacPredicate, RbacRules } from "../rbac.ts";
import { compileMetadataMatcher } from "./metadata-matcher.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher, compileStringMatcher } from "./string-matcher.ts";
import { compilePathTemplate } from "./uri-template.ts";

const ACTIONS = ["allow", "deny", "log"] as const;
const never: RbacPredicate = () => false;

/** Compiles an RBAC filter, of HTTP or of connections. Problems go to `scope`. */
export function compileRbac(filter: HttpRbac | NetworkRbac, scope: Scope): RbacConfig {
  if ("matcher" in filter && filter.matcher) scope.at("matcher").fail("is not supported");
  if ("shadow_matcher" in filter && filter.shadow_matcher) {
    scope.at("shadow_matcher").fail("is not supported");
  }
  return {
    rules: filter.rules ? compileRules(filter.rules, scope.at("rules")) : undefined,
    shadowRules: filter.shadow_rules
      ? compileRules(filter.shadow_rules, scope.at("shadow_rules"))
      : undefined,
    rulesStatPrefix: ("rules_stat_prefix" in filter && filter.rules_stat_prefix) || "",
    shadowRulesStatPrefix: filter.shadow_rules_stat_prefix ?? "",
  };
}

function compileRules(rules: Rules, scope: Scope): RbacRules {
  const policies = Object.entries(rules.policies ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    action: ACTIONS[rules.action ?? 0] ?? "allow",
    policies: policies.map(([name, policy]) => {
      const place = scope.at("policies", name);
      // A condition that is not looked at would make a rule match more than it says.
      if (policy.condition) place.at("condition").fail("is not supported");
      const permissions = (policy.permissions ?? []).map((permission, i) =>
        compilePermission(permission, place.at("permissions", i)),
      );
      const principals = (policy.principals ?? []).map((principal, i) =>
        compilePrincipal(principal, place.at("principals", i)),
      );
      if (permissions.length === 0) place.at("permissions").fail("must not be empty");
      if (principals.length === 0) place.at("principals").fail("must not be empty");
      return {
        name,
        matches: (subject) =>
          permissions.some((test) => test(subject)) && principals.some((test) => test(subject)),
      };
    }),
  };
}

function compilePermission(permission: Permission, scope: Scope): RbacPredicate {
  if (permission.and_rules) {
    const tests = (permission.and_rules.rules ?? []).map((rule, i) =>
      compilePermission(rule, scope.at("and_rules", "rules", i)),
    );
    return all(tests, scope.at("and_rules", "rules"));
  }
  if (permission.or_rules) {
    const tests = (permission.or_rules.rules ?? []).map((rule, i) =>
      compilePermission(rule, scope.at("or_rules", "rules", i)),
    );
    return any(tests, scope.at("or_rules", "rules"));
  }
  if (permission.not_rule) {
    const test = compilePermission(permission.not_rule, scope.at("not_rule"));
    return (subject) => !test(subject);
  }
  if (permission.any === true) return () => true;
  if (permission.header) return header(permission.header, scope.at("header"));
  if (permission.url_path) return urlPath(permission.url_path, scope.at("url_path"));
  if (permission.uri_template) {
    const place = scope.at("uri_template", "typed_config");
    const regex = compilePathTemplate(permission.uri_template.typed_config, place)?.regex;
    return ({ urlPath: path }) => path !== undefined && regex?.test(path) === true;
  }
  if (permission.destination_ip) {
    const test = cidr(permission.destination_ip, scope.at("destination_ip"));
    return ({ destinationIp }) => test(destinationIp);
  }
  if (typeof permission.destination_port === "number") {
    const port = permission.destination_port;
    return ({ destinationPort }) => destinationPort === port;
  }
  if (permission.destination_port_range) {
    const start = permission.destination_port_range.start ?? 0;
    const end = permission.destination_port_range.end ?? 0;
    return ({ destinationPort }) => destinationPort >= start && destinationPort < end;
  }
  if (permission.metadata) {
    const test = compileMetadataMatcher(permission.metadata, scope.at("metadata"));
    return ({ metadata }) => test(metadata);
  }
  if (permission.requested_server_name) {
    const place = scope.at("requested_server_name");
    const test = compileStringMatcher(permission.requested_server_name, place);
    return ({ requestedServerName }) => test(requestedServerName);
  }
  scope.fail("this kind of permission is not supported");
  return never;
}

function compilePrincipal(principal: Principal, scope: Scope): RbacPredicate {
  if (principal.and_ids) {
    const tests = (principal.and_ids.ids ?? []).map((id, i) =>
      compilePrincipal(id, scope.at("and_ids", "ids", i)),
    );
    return all(tests, scope.at("and_ids", "ids"));
  }
  if (principal.or_ids) {
    const tests = (principal.or_ids.ids ?? []).map((id, i) =>
      compilePrincipal(id, scope.at("or_ids", "ids", i)),
    );
    return any(tests, scope.at("or_ids", "ids"));
  }
  if (principal.not_id) {
    const test = compilePrincipal(principal.not_id, scope.at("not_id"));
    return (subject) => !test(subject);
  }
  if (principal.any === true) return () => true;
  if (principal.authenticated) return authenticated(principal.authenticated, scope);
  if (principal.header) return header(principal.header, scope.at("header"));
  if (principal.url_path) return urlPath(principal.url_path, scope.at("url_path"));
  if (principal.metadata) {
    const test = compileMetadataMatcher(principal.metadata, scope.at("metadata"));
    return ({ metadata }) => test(metadata);
  }
  if (principal.remote_ip) {
    const test = cidr(principal.remote_ip, scope.at("remote_ip"));
    return ({ remoteIp }) => test(remoteIp);
  }
  for (const kind of ["source_ip", "direct_remote_ip"] as const) {
    const range = principal[kind];
    if (!range) continue;
    const test = cidr(range, scope.at(kind));
    return ({ directRemoteIp }) => test(directRemoteIp);
  }
  scope.fail("this kind of principal is not supported");
  return never;
}

/** URI names first, then DNS names, then the subject, as Envoy reads a certificate. */
function authenticated(
  { principal_name: name }: NonNullable<Principal["authenticated"]>,
  scope: Scope,
): RbacPredicate {
  if (!name) return ({ peer }) => peer !== undefined;
  const test = compileStringMatcher(name, scope.at("authenticated", "principal_name"));
  return ({ peer }) => {
    if (peer === undefined) return false;
    if (peer.uris.length > 0 && peer.uris.some(test)) return true;
    if (peer.dnsNames.length > 0 && peer.dnsNames.some(test)) return true;
    return test(peer.subject);
  };
}

function header(matcher: NonNullable<Permission["header"]>, scope: Scope): RbacPredicate {
  const compiled = compileHeaderMatcher(matcher, scope);
  // As Envoy: each line by itself, or a second line could hide the first.
  return (subject) => {
    const values = subject.headerValues(compiled.name);
    if (values.length === 0) return compiled.matches(undefined);
    return values.some((value) => compiled.matches(value));
  };
}

function urlPath(matcher: PathMatcher, scope: Scope): RbacPredicate {
  if (!matcher.path) scope.at("path").fail("is required");
  const test = compileStringMatcher(matcher.path ?? {}, scope.at("path"));
  return ({ urlPath: path }) => path !== undefined && test(path);
}

function cidr(range: CidrRange, scope: Scope): (address: string) => boolean {
  const prefix = range.address_prefix ?? "";
  const length = range.prefix_len?.value ?? 0;
  const test = ipRange(prefix, length);
  if (test === undefined) scope.fail(`must be an address range (found ${prefix}/${length})`);
  return test ?? (() => false);
}

function all(tests: readonly RbacPredicate[], scope: Scope): RbacPredicate {
  if (tests.length === 0) scope.fail("must not be empty");
  return (subject) => tests.every((test) => test(subject));
}

function any(tests: readonly RbacPredicate[], scope: Scope): RbacPredicate {
  if (tests.length === 0) scope.fail("must not be empty");
  return (subject) => tests.some((test) => test(subject));
}
