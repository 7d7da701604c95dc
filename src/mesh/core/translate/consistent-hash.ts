import { tryParseDurationMs } from "../../../base/index.ts";
import { durationFromMs, type MessageTypes } from "../../../xds/index.ts";
import { hashSizes } from "../hash-size.ts";
import type { MeshModel } from "../model.ts";
import type { DestinationRuleLookup } from "../model-destination-rules.ts";
import type { Destination, PolicyBlocks } from "../model-istio.ts";
import { type Json, listOf, objectOf, textOf } from "../model-object.ts";
import { policyFor } from "./traffic-policy.ts";

type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type HashPolicy = MessageTypes["envoy.config.route.v3.RouteAction.HashPolicy"];

/** Cluster.LbPolicy */
const RING_HASH = 2;
const MAGLEV = 5;

/** How a cluster hashes, where its traffic policy asks for it; a ring unless Maglev is named. */
export function hashingFields(policy: PolicyBlocks): Partial<Cluster> {
  const hash = consistentHash(policy);
  if (hash === undefined) return {};
  const { minimumRingSize: size, tableSize } = hashSizes(hash);
  if (hash["maglev"] !== undefined) {
    return {
      lb_policy: MAGLEV,
      ...(tableSize === undefined
        ? {}
        : { maglev_lb_config: { table_size: { value: tableSize } } }),
    };
  }
  return {
    lb_policy: RING_HASH,
    ...(size === undefined ? {} : { ring_hash_lb_config: { minimum_ring_size: { value: size } } }),
  };
}

/** What requests to these destinations are placed by; each of their policies once, in order. */
export function hashPolicies(
  destinations: readonly Destination[],
  port: number,
  model: MeshModel,
  ruleOf: DestinationRuleLookup,
): readonly HashPolicy[] {
  const found = new Map<string, HashPolicy>();
  for (const destination of destinations) {
    const service = model.serviceByHost.get(destination.host);
    if (service === undefined) continue;
    const rule = ruleOf(service);
    const subset = rule?.subsets.find(({ name }) => name === destination.subset);
    const hash = consistentHash(policyFor(rule, subset, destination.port?.number ?? port));
    const policy = hash === undefined ? undefined : hashPolicy(hash);
    if (policy !== undefined) found.set(JSON.stringify(policy), policy);
  }
  return [...found.values()];
}

function consistentHash(policy: PolicyBlocks): Json | undefined {
  const hash = policy.loadBalancer?.consistentHash;
  return hash === undefined || hash === null ? undefined : objectOf(hash);
}

function hashPolicy(hash: Json): HashPolicy | undefined {
  const header = textOf(hash["httpHeaderName"]);
  if (header !== undefined) return { header: { header_name: header } };
  const query = textOf(hash["httpQueryParameterName"]);
  if (query !== undefined) return { query_parameter: { name: query } };
  if (hash["useSourceIp"] === true) return { connection_properties: { source_ip: true } };
  const cookie = objectOf(hash["httpCookie"]);
  const name = textOf(cookie["name"]);
  if (name === undefined) return undefined;
  const path = textOf(cookie["path"]);
  const ttlMs = tryParseDurationMs(textOf(cookie["ttl"]) ?? "");
  const attributes = listOf(cookie["attributes"]).map(objectOf);
  return {
    cookie: {
      name,
      ...(path === undefined ? {} : { path }),
      ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
      ...(attributes.length === 0
        ? {}
        : {
            attributes: attributes.map((each) => ({
              name: textOf(each["name"]) ?? "",
              value: textOf(each["value"]) ?? "",
            })),
          }),
    },
  };
}
