import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
  SECRET_TYPE,
  toJson,
} from "../../../../src/xds/index.ts";
import { createAuthority } from "../../../support/certificates.ts";

const MESSAGES = {
  [CLUSTER_TYPE]: "envoy.config.cluster.v3.Cluster",
  [ENDPOINT_TYPE]: "envoy.config.endpoint.v3.ClusterLoadAssignment",
  [LISTENER_TYPE]: "envoy.config.listener.v3.Listener",
  [ROUTE_TYPE]: "envoy.config.route.v3.RouteConfiguration",
} as const;
const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";
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
  const authority = await createAuthority();
  const leaf = await authority.issue("spiffe://cluster.local/ns/default/sa/default");
  const secrets = [
    {
      name: "default",
      tls_certificate: {
        certificate_chain: { inline_string: leaf.certificatePem },
        private_key: { inline_string: leaf.keyPem },
      },
    },
    {
      name: "ROOTCA",
      validation_context: { trusted_ca: { inline_string: authority.certificatePem } },
    },
    {
      name: "file-root:system",
      validation_context: { trusted_ca: { inline_string: authority.certificatePem } },
    },
  ];
  try {
    const file = join(dir, "envoy.json");
    const own = [...(set.get(SECRET_TYPE)?.values() ?? [])].map(
      ({ body }) => toJson(SECRET, decode(SECRET, body)) as Json,
    );
    writeFileSync(file, JSON.stringify(staticBootstrap(set, [...secrets, ...own])));
    await validated(envoy, file);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function validated(envoy: string, file: string): Promise<void> {
  // Not a pipe of Node's (a socket): Envoy opens /dev/stdout for the access log.
  const child = spawn(envoy, ["--mode", "validate", "-c", file, "-l", "critical"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  const [code] = await once(child, "close");
  assert.equal(code, 0, Buffer.concat(said).toString());
}

/** Protobuf JSON. */
export type Json = { [key: string]: unknown };

/** The bootstrap that holds the whole set: what comes by EDS, RDS and SDS is put in place. */
export function staticBootstrap(set: ResourceSet, secrets: readonly Json[] = []): Json {
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
    // A secret without a source is one of the bootstrap's own.
    const { rds, sds_config: _, ...rest } = value as Json;
    const mapped = Object.fromEntries(Object.entries(rest).map(([k, v]) => [k, inPlace(v)]));
    if (rds === undefined) return mapped;
    return { ...mapped, route_config: routes.get((rds as Json)["route_config_name"]) };
  };
  return {
    node: { id: "validate", cluster: "validate" },
    static_resources: {
      listeners: inPlace(all(LISTENER_TYPE)),
      clusters: inPlace(clusters),
      secrets,
    },
  };
}
