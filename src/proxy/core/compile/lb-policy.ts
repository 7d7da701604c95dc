import {
  durationToMs,
  type envoy_config_cluster_v3_Cluster,
  type envoy_config_cluster_v3_Cluster_LeastRequestLbConfig,
  type envoy_config_cluster_v3_Cluster_SlowStartConfig,
  type envoy_config_cluster_v3_LoadBalancingPolicy,
  unpackAny,
} from "../../../xds/index.ts";
import type { SlowStartConfig } from "../balance/slow-start.ts";
import type { ClusterConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

const LEAST_REQUEST = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
const ROUND_ROBIN = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
const RANDOM = "envoy.extensions.load_balancing_policies.random.v3.Random";
const WRR_LOCALITY = "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality";
const DEFAULT_CHOICES = 2;

/** Cluster.LbPolicy */
const LB_POLICY = { roundRobin: 0, leastRequest: 1, ringHash: 2, random: 3, maglev: 5 } as const;
const CLUSTER_PROVIDED = 6;
/** Cluster.DiscoveryType */
const ORIGINAL_DST = 4;
const MAX_RING_SIZE = 8_388_608;
const DEFAULT_TABLE_SIZE = 65_537;
const MAX_TABLE_SIZE = 5_000_011;

type Choice = Pick<
  ClusterConfig,
  "lbPolicy" | "leastRequestChoices" | "activeRequestBias" | "slowStart" | "isLocalityWeighted"
>;
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
  if ((cluster.load_balancing_policy?.policies ?? []).length > 0) {
    return compileTyped(cluster.load_balancing_policy, scope.at("load_balancing_policy"));
  }
  // As Envoy: the one without the other is refused.
  const isOriginalDst = cluster.type === ORIGINAL_DST || !!cluster.cluster_type;
  const isProvided = cluster.lb_policy === CLUSTER_PROVIDED;
  if (isOriginalDst !== isProvided) {
    scope
      .at("lb_policy")
      .fail(
        "CLUSTER_PROVIDED goes with type ORIGINAL_DST or a cluster_type only, and they with no other",
      );
  }
  if (isProvided) return PLAIN;
  const isLocalityWeighted = !!cluster.common_lb_config?.locality_weighted_lb_config;
  const { round_robin_lb_config: roundRobin, least_request_lb_config: leastRequest } = cluster;
  switch (cluster.lb_policy ?? 0) {
    case LB_POLICY.roundRobin: {
      const place = scope.at("round_robin_lb_config", "slow_start_config");
      const slowStart = compileSlowStart(roundRobin?.slow_start_config, place);
      return { ...PLAIN, slowStart, isLocalityWeighted };
    }
    case LB_POLICY.leastRequest:
      return {
        ...compileLeastRequest(leastRequest ?? {}, scope.at("least_request_lb_config")),
        isLocalityWeighted,
      };
    case LB_POLICY.random:
      return { ...PLAIN, lbPolicy: "random", isLocalityWeighted };
    case LB_POLICY.ringHash:
      return { ...PLAIN, lbPolicy: "ring_hash", isLocalityWeighted };
    case LB_POLICY.maglev:
      return { ...PLAIN, lbPolicy: "maglev", isLocalityWeighted };
    default:
      scope.at("lb_policy").fail("must be ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH or MAGLEV");
      return PLAIN;
  }
}

/** The first policy that is known counts (gRFC A52, and Envoy). */
function compileTyped(
  policy: envoy_config_cluster_v3_LoadBalancingPolicy | null | undefined,
  scope: Scope,
): Choice {
  for (const [i, { typed_extension_config: extension }] of (policy?.policies ?? []).entries()) {
    const any = extension?.typed_config;
    const place = scope.at("policies", i, "typed_extension_config", "typed_config");
    const leastRequest = unpackAny(LEAST_REQUEST, any);
    if (leastRequest !== undefined) {
      if (leastRequest.selection_method) {
        place.at("selection_method").fail("only N_CHOICES is supported");
      }
      return {
        ...compileLeastRequest(leastRequest, place),
        isLocalityWeighted: weighsLocalities(leastRequest),
      };
    }
    const roundRobin = unpackAny(ROUND_ROBIN, any);
    if (roundRobin !== undefined) {
      const slowStart = compileSlowStart(
        roundRobin.slow_start_config,
        place.at("slow_start_config"),
      );
      return { ...PLAIN, slowStart, isLocalityWeighted: weighsLocalities(roundRobin) };
    }
    const random = unpackAny(RANDOM, any);
    if (random !== undefined) {
      return { ...PLAIN, lbPolicy: "random", isLocalityWeighted: weighsLocalities(random) };
    }
    const byLocality = unpackAny(WRR_LOCALITY, any);
    if (byLocality !== undefined) {
      const inner = byLocality.endpoint_picking_policy;
      return {
        ...compileTyped(inner, place.at("endpoint_picking_policy")),
        isLocalityWeighted: true,
      };
    }
  }
  scope.at("policies").fail("no policy of the list is supported");
  return PLAIN;
}

function weighsLocalities({
  locality_lb_config: config,
}: {
  locality_lb_config?:
    | { locality_weighted_lb_config?: object | null | undefined }
    | null
    | undefined;
}): boolean {
  return !!config?.locality_weighted_lb_config;
}

function compileLeastRequest(
  config: envoy_config_cluster_v3_Cluster_LeastRequestLbConfig,
  scope: Scope,
): Omit<Choice, "isLocalityWeighted"> {
  const choices = config.choice_count?.value ?? DEFAULT_CHOICES;
  if (choices < 2) scope.at("choice_count").fail("must be at least 2");
  const bias = config.active_request_bias?.default_value ?? 1;
  if (config.active_request_bias && bias < 0) {
    scope.at("active_request_bias", "default_value").fail("must be at least 0");
  }
  return {
    lbPolicy: "least_request",
    leastRequestChoices: choices,
    activeRequestBias: config.active_request_bias ? bias : 1,
    slowStart: compileSlowStart(config.slow_start_config, scope.at("slow_start_config")),
  };
}

/** Without a window there is no slow start. */
function compileSlowStart(
  config: envoy_config_cluster_v3_Cluster_SlowStartConfig | null | undefined,
  scope: Scope,
): SlowStartConfig | undefined {
  const windowMs = durationToMs(config?.slow_start_window) ?? 0;
  if (!config || windowMs <= 0) return undefined;
  const aggression = config.aggression ? (config.aggression.default_value ?? 0) : 1;
  if (aggression <= 0) scope.at("aggression", "default_value").fail("must be more than 0");
  const minWeight = config.min_weight_percent ? (config.min_weight_percent.value ?? 0) : 10;
  if (minWeight < 0 || minWeight > 100) {
    scope.at("min_weight_percent").fail(`must be 0..100 (found ${minWeight})`);
  }
  return { windowMs, aggression, minWeightFraction: minWeight / 100 };
}

const PLAIN: Choice = {
  lbPolicy: "round_robin",
  leastRequestChoices: DEFAULT_CHOICES,
  activeRequestBias: 1,
  slowStart: undefined,
  isLocalityWeighted: false,
};
