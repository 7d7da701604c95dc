import { type envoy_config_cluster_v3_Cluster, unpackAny } from "../../../xds/index.ts";
import type { ClusterConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

const LEAST_REQUEST = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
const ROUND_ROBIN = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
const DEFAULT_CHOICES = 2;

type LbPolicy = Pick<ClusterConfig, "lbPolicy" | "leastRequestChoices">;

/** The balancer of a cluster: `load_balancing_policy` when set, else `lb_policy`. */
export function compileLbPolicy(cluster: envoy_config_cluster_v3_Cluster, scope: Scope): LbPolicy {
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
    case 0:
      return roundRobin;
    case 1: {
      const count = cluster.least_request_lb_config?.choice_count;
      if (count && (count.value ?? 0) < 2) {
        scope.at("least_request_lb_config", "choice_count").fail("must be at least 2");
      }
      return {
        lbPolicy: "least_request",
        leastRequestChoices: count?.value ?? DEFAULT_CHOICES,
      };
    }
    case 3:
      return { lbPolicy: "random", leastRequestChoices: DEFAULT_CHOICES };
    default:
      scope.at("lb_policy").fail("must be ROUND_ROBIN, LEAST_REQUEST or RANDOM");
      return roundRobin;
  }
}

const roundRobin: LbPolicy = { lbPolicy: "round_robin", leastRequestChoices: DEFAULT_CHOICES };
