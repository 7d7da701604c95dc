import { type envoy_config_cluster_v3_Cluster, unpackAny } from "../../../xds/index.ts";
import type { ClusterConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

const LEAST_REQUEST = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
const ROUND_ROBIN = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
const DEFAULT_CHOICES = 2;

/** Cluster.LbPolicy */
const LB_POLICY = { roundRobin: 0, leastRequest: 1, ringHash: 2, random: 3, maglev: 5 } as const;
const MAX_RING_SIZE = 8_388_608;
const DEFAULT_TABLE_SIZE = 65_537;
const MAX_TABLE_SIZE = 5_000_011;

type Choice = Pick<ClusterConfig, "lbPolicy" | "leastRequestChoices">;
type LbPolicy = Choice & Pick<ClusterConfig, "ringSize" | "maglevTableSize">;

/** The balancer of a cluster: `load_balancing_policy` when set, else `lb_policy`. */
export function compileLbPolicy(cluster: envoy_config_cluster_v3_Cluster, scope: Scope): LbPolicy {
  return {
    ...compileChoice(cluster, scope),
    ringSize: compileRingSize(cluster, scope.at("ring_hash_lb_config")),
    maglevTableSize: compileTableSize(cluster, scope.at("maglev_lb_config", "table_size")),
  };
}

function compileRingSize(
  { ring_hash_lb_config: config }: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): LbPolicy["ringSize"] {
  const minimum = config?.minimum_ring_size?.value ?? 1024;
  const maximum = config?.maximum_ring_size?.value ?? MAX_RING_SIZE;
  for (const [field, value] of [
    ["minimum_ring_size", minimum],
    ["maximum_ring_size", maximum],
  ] as const) {
    if (value > MAX_RING_SIZE) scope.at(field).fail(`must be at most ${MAX_RING_SIZE}`);
  }
  if (minimum > maximum) {
    scope.at("minimum_ring_size").fail(`must not exceed maximum_ring_size (${maximum})`);
  }
  if ((config?.hash_function ?? 0) !== 0) {
    scope.at("hash_function").fail("must be XX_HASH");
  }
  return { minimum, maximum };
}

function compileTableSize(
  { maglev_lb_config: config }: envoy_config_cluster_v3_Cluster,
  scope: Scope,
): number {
  const size = config?.table_size?.value ?? DEFAULT_TABLE_SIZE;
  if (size > MAX_TABLE_SIZE) scope.fail(`must be at most ${MAX_TABLE_SIZE}`);
  else if (!isPrime(size)) scope.fail(`must be a prime number (found ${size})`);
  return size;
}

function isPrime(number: number): boolean {
  if (number < 2) return false;
  for (let divisor = 2; divisor * divisor <= number; divisor += 1) {
    if (number % divisor === 0) return false;
  }
  return true;
}

function compileChoice(cluster: envoy_config_cluster_v3_Cluster, scope: Scope): Choice {
  const policies = cluster.load_balancing_policy?.policies ?? [];
  if (policies.length > 0) {
    // The first policy that is known counts (gRFC A52, and Envoy).
    for (const policy of policies) {
      const any = policy.typed_extension_config?.typed_config;
      const leastRequest = unpackAny(LEAST_REQUEST, any);
      if (leastRequest !== undefined) {
        const leastRequestChoices = leastRequest.choice_count?.value ?? DEFAULT_CHOICES;
        return { lbPolicy: "least_request", leastRequestChoices };
      }
      if (unpackAny(ROUND_ROBIN, any) !== undefined) return roundRobin;
    }
    scope.at("load_balancing_policy", "policies").fail("no policy of the list is supported");
    return roundRobin;
  }
  switch (cluster.lb_policy ?? 0) {
    case LB_POLICY.roundRobin:
      return roundRobin;
    case LB_POLICY.leastRequest: {
      const count = cluster.least_request_lb_config?.choice_count;
      if (count && (count.value ?? 0) < 2) {
        scope.at("least_request_lb_config", "choice_count").fail("must be at least 2");
      }
      return {
        lbPolicy: "least_request",
        leastRequestChoices: count?.value ?? DEFAULT_CHOICES,
      };
    }
    case LB_POLICY.random:
      return { lbPolicy: "random", leastRequestChoices: DEFAULT_CHOICES };
    case LB_POLICY.ringHash:
      return { lbPolicy: "ring_hash", leastRequestChoices: DEFAULT_CHOICES };
    case LB_POLICY.maglev:
      return { lbPolicy: "maglev", leastRequestChoices: DEFAULT_CHOICES };
    default:
      scope.at("lb_policy").fail("must be ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH or MAGLEV");
      return roundRobin;
  }
}

const roundRobin: Choice = { lbPolicy: "round_robin", leastRequestChoices: DEFAULT_CHOICES };
