import {
  durationToMs,
  type envoy_config_route_v3_DirectResponseAction,
  type envoy_config_route_v3_Route,
  type envoy_config_route_v3_RouteAction,
  type envoy_config_route_v3_RouteAction_UpgradeConfig,
  type envoy_config_route_v3_RouteConfiguration,
  type envoy_config_route_v3_VirtualHost,
  structToJson,
  unpackAny,
} from "../../../xds/index.ts";
import type { MetadataValue } from "../metadata.ts";
import type { RouteTimeouts } from "../route-timeouts.ts";
import type {
  ClusterChoice,
  FilterOverride,
  PathMatcher,
  RetryPolicy,
  RouteActionConfig,
  RouteConfig,
  RouteTable,
  VirtualHostConfig,
  WeightedClusterChoice,
} from "../runtime-config.ts";
import { type CompileContext, readData } from "./data-source.ts";
import { compileFilterOverrides } from "./filter-overrides.ts";
import { fraction } from "./fraction.ts";
import { compileHashPolicies } from "./hash-policy.ts";
import { compileHeaderMutation, type HeaderLevel } from "./header-mutation.ts";
import { compileHostRewrite } from "./host-rewrite.ts";
import { compileRateLimitRules } from "./rate-limit-rules.ts";
import { compileRedirect } from "./redirect.ts";
import { compileRegexRewrite } from "./regex-rewrite.ts";
import { compileRetryPolicy } from "./retry-policy.ts";
import { compileRouteMatch } from "./route-match.ts";
import type { Scope } from "./scope.ts";
import { compileDecorator, compileRouteTracing } from "./tracing.ts";
import { compileUpgrades } from "./upgrade.ts";
import { compileTemplateRewrite } from "./uri-template.ts";
import { compileVirtualHosts, type DomainEntry } from "./virtual-hosts.ts";

/** Envoy's default for a route without a timeout. */
const DEFAULT_ROUTE_TIMEOUT_MS = 15_000;
const CLUSTER_NOT_FOUND_STATUS = [503, 404, 500] as const;
const DEFAULT_MAX_DIRECT_BODY_BYTES = 4096;

interface Surroundings {
  readonly table: envoy_config_route_v3_RouteConfiguration;
  readonly tableScope: Scope;
  readonly host: envoy_config_route_v3_VirtualHost;
  readonly hostScope: Scope;
  readonly hostRetry: RetryPolicy | undefined;
  readonly tableOverrides: ReadonlyMap<string, FilterOverride>;
  readonly hostOverrides: ReadonlyMap<string, FilterOverride>;
  readonly context: CompileContext;
}

/** Compiles a RouteConfiguration. Problems go to `scope`. */
export function compileRouteTable(
  table: envoy_config_route_v3_RouteConfiguration,
  context: CompileContext,
  scope: Scope,
): RouteTable {
  const name = table.name ?? "";
  const entries: DomainEntry[] = [];
  const names = new Set<string>();
  const tableOverrides = compileFilterOverrides(
    table.typed_per_filter_config,
    context,
    scope.at("typed_per_filter_config"),
  );
  for (const [i, host] of (table.virtual_hosts ?? []).entries()) {
    const hostScope = scope.at("virtual_hosts", i);
    if (!host.name) hostScope.at("name").fail("must not be empty");
    else if (names.has(host.name)) {
      hostScope.at("name").fail(`Only unique names for virtual hosts are permitted (${host.name})`);
    }
    names.add(host.name ?? "");
    const virtualHost = compileVirtualHost({
      table,
      tableScope: scope,
      tableOverrides,
      host,
      hostScope,
      context,
    });
    if ((host.domains ?? []).length === 0) hostScope.at("domains").fail("must not be empty");
    for (const [j, domain] of (host.domains ?? []).entries()) {
      entries.push({ virtualHost, domain, scope: hostScope.at("domains", j) });
    }
  }
  const ignorePort = table.ignore_port_in_host_matching ?? false;
  return { name, virtualHost: compileVirtualHosts(name, entries, ignorePort) };
}

/** VirtualHost.TlsRequirementType: NONE, EXTERNAL_ONLY, ALL. */
const TLS_REQUIREMENT = [undefined, "external", "all"] as const;

function compileVirtualHost(
  around: Omit<Surroundings, "hostRetry" | "hostOverrides">,
): VirtualHostConfig {
  const { host, hostScope } = around;
  const hostOverrides = compileFilterOverrides(
    host.typed_per_filter_config,
    around.context,
    hostScope.at("typed_per_filter_config"),
  );
  const hostRetry = compileRetryPolicy(host.retry_policy, hostScope.at("retry_policy"));
  if (host.include_attempt_count_in_response) {
    hostScope.at("include_attempt_count_in_response").warn("is ignored");
  }
  return {
    name: host.name ?? "",
    metadata: compileMetadata(host.metadata),
    includeAttemptCount: host.include_request_attempt_count ?? false,
    requiresTls: TLS_REQUIREMENT[host.require_tls ?? 0],
    rateLimits: compileRateLimitRules(host.rate_limits, hostScope.at("rate_limits")),
    routes: (host.routes ?? []).map((route, i) =>
      compileRoute(route, hostScope.at("routes", i), { ...around, hostRetry, hostOverrides }),
    ),
  };
}

function compileRoute(
  route: envoy_config_route_v3_Route,
  scope: Scope,
  around: Surroundings,
): RouteConfig {
  const match = compileRouteMatch(route.match, scope.at("match"));
  const own = compileFilterOverrides(
    route.typed_per_filter_config,
    around.context,
    scope.at("typed_per_filter_config"),
  );
  return {
    name: route.name ?? "",
    ...match,
    action: compileAction(route, match.path, scope, around),
    tracing: compileRouteTracing(route.tracing, around.context, scope.at("tracing")),
    decorator: compileDecorator(route.decorator, scope.at("decorator")),
    metadata: compileMetadata(route.metadata),
    // The most specific one counts, as a whole.
    filterOverrides: merged(around.tableOverrides, around.hostOverrides, own),
    requestHeaders: compileHeaderMutation(
      headerLevels("request", route, scope, around),
      around.context,
    ),
    responseHeaders: compileHeaderMutation(
      headerLevels("response", route, scope, around),
      around.context,
    ),
  };
}

function compileMetadata(
  metadata: envoy_config_route_v3_Route["metadata"],
): RouteConfig["metadata"] {
  const entries = Object.entries(metadata?.filter_metadata ?? {});
  if (entries.length === 0) return undefined;
  return new Map(entries.map(([key, value]) => [key, structToJson(value) as MetadataValue]));
}

function merged(
  ...levels: readonly ReadonlyMap<string, FilterOverride>[]
): ReadonlyMap<string, FilterOverride> {
  return new Map(levels.flatMap((level) => [...level]));
}

function headerLevels(
  direction: "request" | "response",
  route: envoy_config_route_v3_Route,
  scope: Scope,
  around: Surroundings,
): HeaderLevel[] {
  const addField = `${direction}_headers_to_add` as const;
  const removeField = `${direction}_headers_to_remove` as const;
  const fields = { addField, removeField };
  const levels = [
    { add: route[addField], remove: route[removeField], scope, ...fields },
    {
      add: around.host[addField],
      remove: around.host[removeField],
      scope: around.hostScope,
      ...fields,
    },
    {
      add: around.table[addField],
      remove: around.table[removeField],
      scope: around.tableScope,
      ...fields,
    },
  ];
  // What is applied last wins.
  return around.table.most_specific_header_mutations_wins ? levels.reverse() : levels;
}

function compileAction(
  route: envoy_config_route_v3_Route,
  path: PathMatcher,
  scope: Scope,
  around: Surroundings,
): RouteActionConfig {
  if (route.direct_response) {
    return compileDirectResponse(route.direct_response, scope.at("direct_response"), around);
  }
  if (route.redirect) return compileRedirect(route.redirect, path, scope.at("redirect"));
  if (route.non_forwarding_action) scope.at("non_forwarding_action").fail("is not supported");
  if (!route.route) scope.fail("must set one of route, redirect, direct_response");
  return compileForward(route.route ?? {}, path, scope.at("route"), around);
}

function compileDirectResponse(
  direct: envoy_config_route_v3_DirectResponseAction,
  scope: Scope,
  around: Surroundings,
): RouteActionConfig {
  const status = direct.status ?? 0;
  if (status < 200 || status > 599) scope.at("status").fail(`must be 200..599 (found ${status})`);
  const body = readData(direct.body, around.context, scope.at("body")) ?? Buffer.alloc(0);
  const limit = around.table.max_direct_response_body_size_bytes;
  const maxBytes = limit ? (limit.value ?? 0) : DEFAULT_MAX_DIRECT_BODY_BYTES;
  if (body.length > maxBytes) {
    scope.at("body").fail(`response body size is ${body.length} bytes; maximum is ${maxBytes}`);
  }
  return { kind: "direct", status, body };
}

function compileForward(
  action: envoy_config_route_v3_RouteAction,
  path: PathMatcher,
  scope: Scope,
  around: Surroundings,
): RouteActionConfig {
  refuseUnsupported(action, scope);
  const clusters = compileClusters(action, scope, around);
  if (action.prefix_rewrite && action.regex_rewrite) {
    scope.at("regex_rewrite").fail("must not be set together with prefix_rewrite");
  }
  const upgrades = action.upgrade_configs ?? [];
  return {
    kind: "forward",
    clusters,
    upgrades: compileUpgrades(upgrades, scope.at("upgrade_configs")),
    terminatesConnect: terminatesConnect(upgrades, scope.at("upgrade_configs")),
    totalWeight: clusters.reduce((sum, choice) => sum + choice.weight, 0),
    clusterChoice: clusterChoice(action, scope),
    isHighPriority: (action.priority ?? 0) === 1,
    timeouts: compileTimeouts(action),
    idleTimeoutMs: durationToMs(action.idle_timeout),
    // The route's policy replaces the virtual host's as a whole.
    retry: compileRetryPolicy(action.retry_policy, scope.at("retry_policy")) ?? around.hostRetry,
    prefixRewrite: action.prefix_rewrite || undefined,
    regexRewrite:
      compileRegexRewrite(action.regex_rewrite, scope.at("regex_rewrite")) ??
      compilePathRewrite(action, path, scope.at("path_rewrite_policy", "typed_config")),
    hostRewrite: compileHostRewrite(action, scope),
    hashPolicies: compileHashPolicies(action.hash_policy ?? [], scope.at("hash_policy")),
    mirrors: (action.request_mirror_policies ?? []).map((mirror, i) => {
      const mirrorScope = scope.at("request_mirror_policies", i);
      if (!mirror.cluster) mirrorScope.at("cluster").fail("must not be empty");
      return {
        cluster: mirror.cluster ?? "",
        fraction: mirror.runtime_fraction ? fraction(mirror.runtime_fraction.default_value) : 1,
        appendShadowSuffix: !(mirror.disable_shadow_host_suffix_append ?? false),
      };
    }),
    rateLimits: compileRateLimitRules(action.rate_limits, scope.at("rate_limits")),
    includesHostRateLimits: action.include_vh_rate_limits?.value ?? false,
    clusterNotFoundStatus:
      CLUSTER_NOT_FOUND_STATUS[action.cluster_not_found_response_code ?? 0] ?? 503,
  };
}

const URI_TEMPLATE_REWRITE =
  "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";

/** As Envoy: a template is rewritten by a template, and nothing else is. */
function compilePathRewrite(
  { path_rewrite_policy: policy, prefix_rewrite, regex_rewrite }: envoy_config_route_v3_RouteAction,
  path: PathMatcher,
  scope: Scope,
): ReturnType<typeof compileTemplateRewrite> {
  if (!policy) return undefined;
  const config = unpackAny(URI_TEMPLATE_REWRITE, policy.typed_config);
  if (config === undefined) scope.fail("must be a UriTemplateRewriteConfig");
  if (prefix_rewrite || regex_rewrite) scope.fail("must not be set together with another rewrite");
  if (path.kind !== "regex" || path.variables === undefined) {
    scope.fail("needs a path_match_policy of URI templates");
    return undefined;
  }
  return compileTemplateRewrite(
    config?.path_template_rewrite ?? "",
    { regex: path.regex, variables: path.variables },
    scope.at("path_template_rewrite"),
  );
}

function compileTimeouts(action: envoy_config_route_v3_RouteAction): RouteTimeouts {
  const { max_stream_duration: duration } = action;
  return {
    timeoutMs: durationToMs(action.timeout) ?? DEFAULT_ROUTE_TIMEOUT_MS,
    maxStreamDuration: duration
      ? {
          limitMs: durationToMs(duration.max_stream_duration),
          grpcHeaderMaxMs: durationToMs(duration.grpc_timeout_header_max),
          grpcHeaderOffsetMs: durationToMs(duration.grpc_timeout_header_offset) ?? 0,
        }
      : undefined,
    maxGrpcTimeoutMs: durationToMs(action.max_grpc_timeout),
    grpcTimeoutOffsetMs: durationToMs(action.grpc_timeout_offset) ?? 0,
  };
}

function terminatesConnect(
  upgrades: readonly envoy_config_route_v3_RouteAction_UpgradeConfig[],
  scope: Scope,
): boolean {
  let terminates = false;
  for (const [i, { upgrade_type, connect_config }] of upgrades.entries()) {
    if (!connect_config) continue;
    if (upgrade_type?.toLowerCase() !== "connect") {
      scope.at(i, "connect_config").fail("is for upgrade type CONNECT only");
    }
    if (connect_config.allow_post) {
      scope.at(i, "connect_config", "allow_post").fail("is not supported");
    }
    terminates = true;
  }
  return terminates;
}

function refuseUnsupported(action: envoy_config_route_v3_RouteAction, scope: Scope): void {
  if (action.metadata_match) scope.at("metadata_match").fail("is not supported");
  if (action.retry_policy_typed_config) {
    scope.at("retry_policy_typed_config").fail("is not supported");
  }
  if (action.internal_redirect_policy) {
    scope.at("internal_redirect_policy").fail("is not supported");
  }
}

function clusterChoice(
  { weighted_clusters: weighted }: envoy_config_route_v3_RouteAction,
  scope: Scope,
): ClusterChoice {
  const byHash = weighted?.use_hash_policy?.value === true;
  if (!weighted?.header_name) return byHash ? { kind: "hash" } : { kind: "random" };
  if (byHash) {
    scope
      .at("weighted_clusters", "use_hash_policy")
      .fail("must not be set together with header_name");
  }
  return { kind: "header", name: weighted.header_name.toLowerCase() };
}

const PLAIN_CHOICE = {
  hostRewrite: undefined,
  requestHeaders: undefined,
  responseHeaders: undefined,
  filterOverrides: undefined,
};

function compileClusters(
  action: envoy_config_route_v3_RouteAction,
  scope: Scope,
  around: Surroundings,
): WeightedClusterChoice[] {
  if (typeof action.cluster === "string") {
    if (action.cluster === "") scope.at("cluster").fail("must not be empty");
    return [{ cluster: action.cluster, weight: 1, ...PLAIN_CHOICE }];
  }
  if (typeof action.cluster_header === "string") {
    if (action.cluster_header === "") scope.at("cluster_header").fail("must not be empty");
    const clusterHeader = action.cluster_header.toLowerCase();
    return [{ cluster: "", clusterHeader, weight: 1, ...PLAIN_CHOICE }];
  }
  if (!action.weighted_clusters) {
    scope.fail("must set one of cluster, cluster_header, weighted_clusters");
    return [];
  }
  const listScope = scope.at("weighted_clusters", "clusters");
  const clusters = (action.weighted_clusters.clusters ?? []).map((entry, i) => {
    const entryScope = listScope.at(i);
    if (!entry.name && !entry.cluster_header) entryScope.at("name").fail("must not be empty");
    if (entry.name && entry.cluster_header) {
      entryScope.at("cluster_header").fail("must not be set together with name");
    }
    if (entry.metadata_match) entryScope.at("metadata_match").fail("is not supported");
    const level = (direction: "request" | "response"): HeaderLevel => ({
      add: entry[`${direction}_headers_to_add`],
      remove: entry[`${direction}_headers_to_remove`],
      scope: entryScope,
      addField: `${direction}_headers_to_add`,
      removeField: `${direction}_headers_to_remove`,
    });
    return {
      cluster: entry.name ?? "",
      ...(entry.cluster_header ? { clusterHeader: entry.cluster_header.toLowerCase() } : {}),
      weight: entry.weight?.value ?? 0,
      hostRewrite: entry.host_rewrite_literal || undefined,
      requestHeaders: compileHeaderMutation([level("request")], around.context),
      responseHeaders: compileHeaderMutation([level("response")], around.context),
      filterOverrides: entry.typed_per_filter_config
        ? compileFilterOverrides(
            entry.typed_per_filter_config,
            around.context,
            entryScope.at("typed_per_filter_config"),
          )
        : undefined,
    };
  });
  if (clusters.length === 0) listScope.fail("must not be empty");
  else if (clusters.every((choice) => choice.weight === 0)) {
    listScope.fail("Sum of weights in the weighted_cluster must be greater than 0.");
  }
  return clusters;
}
