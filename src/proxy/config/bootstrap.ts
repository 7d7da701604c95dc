import { createRequire } from "node:module";
import { type Issue, messageOf, SerinError } from "../../base/index.ts";
import {
  durationToMs,
  type envoy_config_bootstrap_v3_Bootstrap,
  type envoy_config_core_v3_ApiConfigSource,
  type envoy_config_core_v3_GrpcService,
  type envoy_config_core_v3_Node,
  fromJson,
  unpackAny,
} from "../../xds/index.ts";
import { compileOverload } from "../core/compile/overload.ts";
import { createScope } from "../core/compile/scope.ts";
import { compileStatsMatcher, type StatsMatcher } from "../core/compile/stats-matcher.ts";
import type { OverloadConfig } from "../core/overload.ts";

/** An Envoy v3 bootstrap, as a message. */
export type Bootstrap = envoy_config_bootstrap_v3_Bootstrap;

/** A gRPC service that the bootstrap names: a static cluster and what to send along. */
export interface GrpcTarget {
  readonly clusterName: string;
  readonly authority: string | undefined;
  /** File of the authorities that the cluster's TLS believes; who it names may change while we run. */
  readonly trustedCaPath?: string | undefined;
  /** Read at each connect, so that a rotated token is picked up. */
  initialMetadata(): readonly (readonly [key: string, value: string])[];
}

/** What the proxy does with a bootstrap, checked. */
export interface BootstrapPlan {
  readonly node: envoy_config_core_v3_Node;
  readonly admin: { readonly address: string; readonly port: number } | undefined;
  readonly ads: { readonly protocol: "delta" | "sotw"; readonly target: GrpcTarget } | undefined;
  readonly usesCds: boolean;
  readonly usesLds: boolean;
  readonly metricsService: GrpcTarget | undefined;
  readonly statsFlushIntervalMs: number;
  /** Undefined: nothing is done against overload. */
  readonly overload: OverloadConfig | undefined;
  readonly keepsStat: StatsMatcher;
}

/** ApiConfigSource.ApiType */
const GRPC = 2;
const DELTA_GRPC = 3;
const DEFAULT_FLUSH_INTERVAL_MS = 5000;
const METRICS_SERVICE = "envoy.config.metrics.v3.MetricsServiceConfig";
const UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/**
 * Parses an Envoy v3 bootstrap (JSON or YAML). Throws SERIN_INVALID_BOOTSTRAP that lists every bad
 * field with its path.
 */
export function parseBootstrap(text: string): Bootstrap {
  let json: unknown;
  try {
    // A sidecar's bootstrap is JSON: it does without the YAML parser.
    json = text.trimStart().startsWith("{") ? parseJson(text) : parseYaml(text);
  } catch (error) {
    throw invalid([{ path: "", message: `not JSON or YAML: ${messageOf(error)}` }]);
  }
  const result = fromJson("envoy.config.bootstrap.v3.Bootstrap", json);
  if (!result.ok) throw invalid(result.issues);
  return result.value;
}

/** YAML allows more than JSON does between braces: what is no JSON may still be YAML. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return parseYaml(text);
  }
}

function parseYaml(text: string): unknown {
  const yaml: typeof import("yaml") = createRequire(import.meta.url)("yaml");
  return yaml.parse(text);
}

/** Checks what the proxy needs of a bootstrap. Throws SERIN_INVALID_BOOTSTRAP. */
export function planBootstrap(bootstrap: Bootstrap): BootstrapPlan {
  const issues: Issue[] = [];
  const dynamic = bootstrap.dynamic_resources ?? {};
  const usesCds = !!dynamic.cds_config;
  const usesLds = !!dynamic.lds_config;
  for (const field of ["cds_config", "lds_config"] as const) {
    if (dynamic[field] && !dynamic[field].ads) {
      issues.push({ path: `dynamic_resources.${field}`, message: "only ads is supported" });
    }
  }
  if ((usesCds || usesLds) && !dynamic.ads_config) {
    issues.push({ path: "dynamic_resources.ads_config", message: "is required for ads" });
  }
  const ads = dynamic.ads_config ? planAds(dynamic.ads_config, bootstrap, issues) : undefined;
  if (ads !== undefined && (bootstrap.node?.id ?? "") === "") {
    issues.push({ path: "node.id", message: "is required with ads" });
  }
  const scope = createScope({ issues, warnings: [] }, ["overload_manager"]);
  const plan: BootstrapPlan = {
    overload: bootstrap.overload_manager
      ? compileOverload(bootstrap.overload_manager, scope)
      : undefined,
    keepsStat: compileStatsMatcher(
      bootstrap.stats_config?.stats_matcher,
      createScope({ issues, warnings: [] }, ["stats_config", "stats_matcher"]),
    ),
    node: bootstrap.node ?? {},
    admin: planAdmin(bootstrap, issues),
    ads,
    usesCds,
    usesLds,
    metricsService: planMetricsService(bootstrap, issues),
    statsFlushIntervalMs: durationToMs(bootstrap.stats_flush_interval) ?? DEFAULT_FLUSH_INTERVAL_MS,
  };
  if (plan.statsFlushIntervalMs < 1) {
    issues.push({ path: "stats_flush_interval", message: "must be at least 0.001s" });
  }
  checkTargets(bootstrap, plan, issues);
  if (issues.length > 0) throw invalid(issues);
  return plan;
}

function planAds(
  source: envoy_config_core_v3_ApiConfigSource,
  bootstrap: Bootstrap,
  issues: Issue[],
): BootstrapPlan["ads"] {
  const path = "dynamic_resources.ads_config";
  const type = source.api_type ?? 0;
  if (type !== GRPC && type !== DELTA_GRPC) {
    issues.push({ path: `${path}.api_type`, message: "must be GRPC or DELTA_GRPC" });
  }
  const services = source.grpc_services ?? [];
  const service = services[0];
  if (service === undefined || services.length > 1) {
    issues.push({ path: `${path}.grpc_services`, message: "must hold exactly one service" });
  }
  return {
    protocol: type === DELTA_GRPC ? "delta" : "sotw",
    target: grpcTarget(service ?? {}, `${path}.grpc_services[0]`, bootstrap, issues),
  };
}

function grpcTarget(
  service: envoy_config_core_v3_GrpcService,
  path: string,
  bootstrap: Bootstrap,
  issues: Issue[],
): GrpcTarget {
  const clusterName = service.envoy_grpc?.cluster_name ?? "";
  if (clusterName === "") {
    issues.push({ path: `${path}.envoy_grpc.cluster_name`, message: "is required" });
  }
  return {
    clusterName,
    authority: service.envoy_grpc?.authority || undefined,
    trustedCaPath: trustedCaPathOf(bootstrap, clusterName),
    initialMetadata: () =>
      (service.initial_metadata ?? []).map((entry) => [entry.key ?? "", entry.value ?? ""]),
  };
}

function trustedCaPathOf(bootstrap: Bootstrap, clusterName: string): string | undefined {
  const clusters = bootstrap.static_resources?.clusters ?? [];
  const socket = clusters.find(({ name }) => name === clusterName)?.transport_socket;
  const context = unpackAny(UPSTREAM_TLS, socket?.typed_config)?.common_tls_context;
  return context?.validation_context?.trusted_ca?.filename || undefined;
}

/** The admin port shows keys' owners and can stop the proxy: loopback only. */
function planAdmin(bootstrap: Bootstrap, issues: Issue[]): BootstrapPlan["admin"] {
  const socket = bootstrap.admin?.address?.socket_address;
  if (!socket) {
    if (bootstrap.admin?.address) {
      issues.push({ path: "admin.address.socket_address", message: "is required" });
    }
    return undefined;
  }
  const address = socket.address ?? "";
  if (!/^(?:127\.\d+\.\d+\.\d+|::1)$/.test(address)) {
    issues.push({
      path: "admin.address.socket_address.address",
      message: `must be a loopback address (found ${JSON.stringify(address)})`,
    });
  }
  return { address, port: socket.port_value ?? 0 };
}

function planMetricsService(bootstrap: Bootstrap, issues: Issue[]): GrpcTarget | undefined {
  let target: GrpcTarget | undefined;
  for (const [i, sink] of (bootstrap.stats_sinks ?? []).entries()) {
    const path = `stats_sinks[${i}]`;
    const config = unpackAny(METRICS_SERVICE, sink.typed_config);
    if (config === undefined) {
      issues.push({ path, message: `sink ${sink.name ?? ""} is not supported` });
      continue;
    }
    const servicePath = `${path}.typed_config.grpc_service`;
    target = grpcTarget(config.grpc_service ?? {}, servicePath, bootstrap, issues);
  }
  return target;
}

function checkTargets(bootstrap: Bootstrap, plan: BootstrapPlan, issues: Issue[]): void {
  const known = new Set((bootstrap.static_resources?.clusters ?? []).map((c) => c.name));
  for (const target of [plan.ads?.target, plan.metricsService]) {
    if (target === undefined || target.clusterName === "" || known.has(target.clusterName))
      continue;
    issues.push({
      path: "static_resources.clusters",
      message: `has no cluster ${JSON.stringify(target.clusterName)}, which a grpc_service names`,
    });
  }
}

/** One error for everything wrong with a bootstrap. */
export function invalid(issues: readonly Issue[]): SerinError {
  const list = issues.map((i) => (i.path === "" ? i.message : `${i.path}: ${i.message}`));
  return new SerinError("SERIN_INVALID_BOOTSTRAP", `bootstrap: ${list.join("; ")}`, {
    source: "caller",
  });
}
