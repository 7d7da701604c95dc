import { join } from "node:path";
import type { KubeObject } from "../../api/index.ts";
import { type PodNetwork, podNetwork } from "../core/node-agent/network.ts";
import type { Pod } from "../core/node-agent/pod.ts";
import { type AddressPool, openAddressPool } from "./address-pool.ts";

/** How pods get their addresses. */
export type NetworkMode = "loopback" | "netns";

/** The network of a cluster's pods, as the node agent uses it. */
export interface ClusterNetwork {
  readonly mode: NetworkMode;
  /** The pods' addresses. */
  readonly pool: AddressPool;
  /** The addresses of Services of type LoadBalancer, on this machine. */
  readonly loadBalancers: Pick<AddressPool, "take" | "release">;
  /** Where pods find the machine; the node's address in the API. */
  readonly nodeIp: string;
  /** The addresses a pod will have, given its pod IP. */
  describe(pod: Pod, podIp: string): PodNetwork;
  /** Makes the pod's network. Throws SERIN_PERMISSION with the failed command. */
  attach(pod: Pod, network: PodNetwork): Promise<void>;
  /** The init containers are done, which may have changed rules of the pod's network. */
  settle(network: PodNetwork): Promise<void>;
  /** Takes the pod's network away, once none of its processes is left. */
  detach(network: PodNetwork): Promise<void>;
  /** Opens a port of the machine's loopback to the pods; answers where they find it (host:port). */
  reach(port: number): Promise<string>;
  /** Follows Services and EndpointSlices, all there are of a kind. */
  onServices(services: readonly KubeObject[], slices: readonly KubeObject[]): void;
  close(): Promise<void>;
}

const LOOPBACK = "127.0.0.1";

/** Pods with addresses of the machine's own loopback: any machine, no privileges. */
export async function openLoopbackNetwork(dataDir: string): Promise<ClusterNetwork> {
  const pool = await openAddressPool(join(dataDir, "address-block.json"));
  return {
    mode: "loopback",
    pool,
    loadBalancers: pool,
    nodeIp: LOOPBACK,
    describe: (pod, podIp) => podNetwork(podIp, pod.spec),
    attach: () => Promise.resolve(),
    settle: () => Promise.resolve(),
    detach: () => Promise.resolve(),
    reach: (port) => Promise.resolve(`${LOOPBACK}:${port}`),
    onServices: () => {},
    close: () => pool.close(),
  };
}
