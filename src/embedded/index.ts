/** The one-machine cluster: Kubernetes API, built-in controllers and a node, in one process. */
import type { Clock, Logger } from "../runtime/index.ts";
import { startApiServer } from "./api-server/index.ts";
import { startBuiltInControllers } from "./controllers/index.ts";
import type { ImageMap } from "./core/node-agent/image-map.ts";
import type { NetworkMode } from "./node-agent/cluster-network.ts";
import { startNodeAgent } from "./node-agent/index.ts";

export type { ImageMap, ImageMapRow } from "./core/node-agent/image-map.ts";
export { NAMESPACE_ANNOTATION } from "./core/node-agent/network.ts";
export type { NetworkMode } from "./node-agent/cluster-network.ts";
export { parseImageMap } from "./node-agent/image-map-file.ts";
export { whyNoNamespaces } from "./node-agent/netns/capability.ts";

export interface ClusterOptions {
  /** Everything the cluster knows is kept here; a new cluster goes on where the last one ended. */
  readonly dataDir: string;
  /** 0 = any free port. */
  readonly apiPort: number;
  /** Which local commands stand for which images; program paths are absolute, or `node`. */
  readonly imageMap: ImageMap;
  /** How pods get their addresses; see docs/architecture.md. */
  readonly network: NetworkMode;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface RunningCluster {
  readonly kubeconfigPath: string;
  readonly apiUrl: string;
  /** Opens a port of the machine's loopback to the pods; answers where they find it (host:port). */
  reach(port: number): Promise<string>;
  /** Ends all pods' processes and the API server; objects stay in the data directory. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster on a data directory, new or used before, and returns once it answers.
 * Throws SERIN_DATA_DIR, SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startCluster(options: ClusterOptions): Promise<RunningCluster> {
  const { dataDir, imageMap, logger, clock } = options;
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const server = await startApiServer({ dataDir, port: options.apiPort, logger, clock });
    stops.push(() => server.stop());
    const api = server.local;
    const { network } = options;
    const agent = await startNodeAgent({ api, dataDir, imageMap, network, logger, clock });
    server.setPodLogs(agent.podLogs);
    server.setPodExec(agent.podExec);
    stops.push(() => agent.stop());
    const controllers = startBuiltInControllers({ api, clock, logger });
    stops.push(() => controllers.stop());
    const { kubeconfigPath, url: apiUrl } = server;
    return { kubeconfigPath, apiUrl, reach: (port) => agent.reach(port), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
