import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ResourceSet } from "../../../../src/mesh/core/xds-resource.ts";
import { compileCluster } from "../../../../src/proxy/core/compile/cluster.ts";
import type { CompileContext } from "../../../../src/proxy/core/compile/data-source.ts";
import { compileEndpoints } from "../../../../src/proxy/core/compile/endpoint.ts";
import { compileListener } from "../../../../src/proxy/core/compile/listener.ts";
import { compileRouteTable } from "../../../../src/proxy/core/compile/route.ts";
import { compileResource } from "../../../../src/proxy/core/compile/scope.ts";
import {
  CLUSTER_TYPE,
  decode,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type MessageTypes,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  toJson,
} from "../../../../src/xds/index.ts";

const MESSAGES = {
  [CLUSTER_TYPE]: "envoy.config.cluster.v3.Cluster",
  [ENDPOINT_TYPE]: "envoy.config.endpoint.v3.ClusterLoadAssignment",
  [LISTENER_TYPE]: "envoy.config.listener.v3.Listener",
  [ROUTE_TYPE]: "envoy.config.route.v3.RouteConfiguration",
} as const;
type ResourceMessage = (typeof MESSAGES)[keyof typeof MESSAGES];

/** One resource of a set, decoded. */
export function resource<T extends ResourceMessage>(
  set: ResourceSet,
  message: T,
  name: string,
): MessageTypes[T] {
  const found = set.get(`type.googleapis.com/${message}` as ResourceTypeUrl)?.get(name);
  assert.ok(found, `no ${message} ${name}`);
  return decode(message, found.body);
}

/** One resource of a set as protobuf JSON. */
export function resourceJson(set: ResourceSet, message: ResourceMessage, name: string): unknown {
  return toJson(message, resource(set, message, name));
}

/** Names of a type's resources. */
export function namesOf(set: ResourceSet, type: ResourceTypeUrl): readonly string[] {
  return [...(set.get(type)?.keys() ?? [])].sort();
}

const CONTEXT: CompileContext = {
  readFile: () => Buffer.from("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
  environment: () => undefined,
  timeOriginMs: 0,
};

/** Compiles every resource with our proxy's own compilers; throws what the proxy would NACK with. */
export function acceptedByOurProxy(set: ResourceSet): void {
  for (const { name, body } of set.get(CLUSTER_TYPE)?.values() ?? []) {
    const message = decode(MESSAGES[CLUSTER_TYPE], body);
    compileResource(`Cluster ${name}`, (scope) => compileCluster(message, CONTEXT, scope));
  }
  for (const { name, body } of set.get(ENDPOINT_TYPE)?.values() ?? []) {
    const message = decode(MESSAGES[ENDPOINT_TYPE], body);
    compileResource(`Endpoints ${name}`, (scope) => compileEndpoints(message, scope));
  }
  for (const { name, body } of set.get(LISTENER_TYPE)?.values() ?? []) {
    const message = decode(MESSAGES[LISTENER_TYPE], body);
    compileResource(`Listener ${name}`, (scope) => compileListener(message, CONTEXT, scope));
  }
  for (const { name, body } of set.get(ROUTE_TYPE)?.values() ?? []) {
    const message = decode(MESSAGES[ROUTE_TYPE], body);
    compileResource(`Routes ${name}`, (scope) => compileRouteTable(message, CONTEXT, scope));
  }
}

/**
 * Lets the real Envoy validate the set as static configuration: what comes by EDS, RDS and SDS is
 * put in place. Throws with Envoy's own words.
 */
export async function acceptedByEnvoy(envoy: string, set: ResourceSet): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "serin-validate-"));
  try {
    const file = join(dir, "envoy.json");
    writeFileSync(file, JSON.stringify(staticBootstrap(set)));
    await promisify(execFile)(envoy, ["--mode", "validate", "-c", file, "-l", "critical"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

type Json = { [key: string]: unknown };

/** The bootstrap that holds the whole set, apart from secrets. */
export function staticBootstrap(set: ResourceSet): Json {
  const all = (type: keyof typeof MESSAGES): Json[] =>
    [...(set.get(type)?.values() ?? [])].map(
      ({ body }) => toJson(MESSAGES[type], decode(MESSAGES[type], body)) as Json,
    );
  const assignments = new Map(all(ENDPOINT_TYPE).map((each) => [each["cluster_name"], each]));
  const routes = new Map(all(ROUTE_TYPE).map((each) => [each["name"], each]));
  const clusters = all(CLUSTER_TYPE).map((cluster) => {
    if (cluster["type"] !== "EDS") return cluster;
    const { eds_cluster_config: eds, ...rest } = cluster;
    const name = (eds as Json)["service_name"];
    return { ...rest, type: "STATIC", load_assignment: assignments.get(name) };
  });
  const inPlace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inPlace);
    if (typeof value !== "object" || value === null) return value;
    const { rds, ...rest } = value as Json;
    const mapped = Object.fromEntries(Object.entries(rest).map(([k, v]) => [k, inPlace(v)]));
    if (rds === undefined) return mapped;
    return { ...mapped, route_config: routes.get((rds as Json)["route_config_name"]) };
  };
  return {
    node: { id: "validate", cluster: "validate" },
    // SDS over ADS needs an ads_config, though nothing is fetched in validate mode.
    dynamic_resources: {
      ads_config: {
        api_type: "GRPC",
        transport_api_version: "V3",
        grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
      },
    },
    static_resources: {
      listeners: inPlace(all(LISTENER_TYPE)),
      clusters: [...clusters, XDS_CLUSTER],
    },
  };
}

const XDS_CLUSTER = {
  name: "xds",
  type: "STATIC",
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
  load_assignment: {
    cluster_name: "xds",
    endpoints: [
      {
        lb_endpoints: [
          { endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: 1 } } } },
        ],
      },
    ],
  },
};
