import type { ClusterConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { Balancer, HashBalancer, HashedHost } from "../core/balance/balancer.ts";
import type { PlacedHost } from "../core/balance/host-sets.ts";
import { createBalancer as createLeastRequest } from "../core/balance/least-request.ts";
import { createBalancer as createMaglev } from "../core/balance/maglev.ts";
import { type HostPicker, PriorityBalancer } from "../core/balance/priority-balancer.ts";
import { createBalancer as createRandom } from "../core/balance/random.ts";
import { createBalancer as createRingHash } from "../core/balance/ring-hash.ts";
import { createBalancer as createRoundRobin } from "../core/balance/round-robin.ts";
import { slowStartFactor } from "../core/balance/slow-start.ts";
import type { HostPool } from "./host-pool.ts";

/** The balancer of a cluster for its hosts as they are now. */
export function createLoadBalancer(
  { random }: ProxyContext,
  config: ClusterConfig,
  hosts: readonly PlacedHost<HostPool>[],
  onPanic: () => void,
): PriorityBalancer<HostPool> {
  const isHashed = config.lbPolicy === "ring_hash" || config.lbPolicy === "maglev";
  return new PriorityBalancer({
    hosts,
    overprovisioningFactor: config.overprovisioningFactor,
    panicThresholdPercent: config.healthyPanicThresholdPercent,
    isLocalityWeighted: config.isLocalityWeighted,
    isHashed,
    random,
    hostWeight: ({ weight }) => weight,
    createPicker: (members, weights) =>
      isHashed
        ? hashPicker(config, random, members, weights)
        : picker(createBalancer(config, random, members), random),
    onPanic,
  });
}

function picker(balancer: Balancer<HostPool>, random: () => number): HostPicker<HostPool> {
  return () => balancer.pick(random);
}

function createBalancer(
  config: ClusterConfig,
  random: () => number,
  hosts: readonly HostPool[],
): Balancer<HostPool> {
  const startAt = Math.floor(random() * hosts.length);
  const changing = slowStartWeight(config, hosts);
  switch (config.lbPolicy) {
    case "least_request": {
      const { leastRequestChoices: choices, activeRequestBias } = config;
      return createLeastRequest(hosts, { choices, activeRequestBias, startAt, changing });
    }
    case "random":
      return createRandom(hosts);
    default:
      return createRoundRobin(hosts, startAt, changing);
  }
}

/** The weight of now, while one of the hosts has not had its full share yet. */
function slowStartWeight(
  { slowStart }: ClusterConfig,
  hosts: readonly HostPool[],
): ((host: HostPool) => number) | undefined {
  if (slowStart === undefined) return undefined;
  const nowMs = performance.now();
  if (hosts.every((host) => nowMs - host.healthySinceMs >= slowStart.windowMs)) return undefined;
  return (host) =>
    host.weight * slowStartFactor(slowStart, performance.now() - host.healthySinceMs);
}

interface Placed extends HashedHost {
  readonly host: HostPool;
}

function hashPicker(
  config: ClusterConfig,
  random: () => number,
  hosts: readonly HostPool[],
  weights: readonly number[] | undefined,
): HostPicker<HostPool> {
  const placed = hosts.map(
    (host, index): Placed => ({
      host,
      hashKey: host.hashKey,
      weight: weights?.[index] ?? host.weight,
      activeRequests: 0,
    }),
  );
  const balancer: HashBalancer<Placed> =
    config.lbPolicy === "maglev"
      ? createMaglev(placed, config.maglevTableSize)
      : createRingHash(placed, config.ringSize.minimum, config.ringSize.maximum);
  return (hash, attempt) => balancer.pick(hash ?? randomHash(random), attempt)?.host;
}

/** 64 random bits. */
function randomHash(random: () => number): bigint {
  const half = (): bigint => BigInt(Math.floor(random() * 2 ** 32));
  return (half() << 32n) | half();
}
