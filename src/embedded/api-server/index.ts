import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf, SerinError } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import type { LocalApi, PodExec, PodLogs } from "../local-api.ts";
import { bootstrap } from "./bootstrap.ts";
import { loadServingCertificate } from "./certificates.ts";
import { type Cluster, openCluster } from "./cluster.ts";
import { Credentials, SYSTEM } from "./credentials.ts";
import { expireEvents } from "./event-expiry.ts";
import { HttpServer } from "./http-server.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { createLocalApi } from "./local.ts";

export interface ApiServerOptions {
  /** Everything is kept here: the database, the cluster's keys, the kubeconfig. */
  readonly dataDir: string;
  /** Default 127.0.0.1; loopback only. */
  readonly host?: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly logger: Logger;
  readonly clock: Clock;
  /** May also be set later with setPodLogs. */
  readonly podLogs?: PodLogs;
}

export interface ApiServer {
  readonly port: number;
  readonly url: string;
  readonly kubeconfigPath: string;
  /** The same API, without HTTP, for parts in this process. */
  readonly local: LocalApi;
  /** Says who reads containers' logs, once the node agent runs. */
  setPodLogs(podLogs: PodLogs): void;
  /** Says who runs commands in containers, once the node agent runs. */
  setPodExec(podExec: PodExec): void;
  /** Ends watches, closes the listener and the database; the data directory can then be reopened. */
  stop(): Promise<void>;
}

/**
 * Starts the Kubernetes-compatible API server on a data directory, new or used before. A write it
 * acknowledged is on disk. Throws SERIN_DATA_DIR, SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { dataDir, host = "127.0.0.1", clock, logger } = options;
  if (!/^127\./.test(host)) {
    throw new SerinError(
      "SERIN_USAGE",
      `the embedded API server listens on loopback only (found ${host})`,
    );
  }
  const cluster = openCluster({ dataDir, clock, logger, credentials: loadCredentials });
  cluster.podLogs = options.podLogs;
  let server: HttpServer | undefined;
  let endBootstrap: (() => void) | undefined;
  const endExpiry = expireEvents(cluster);
  const stop = async (): Promise<void> => {
    endExpiry();
    endBootstrap?.();
    await server?.close();
    cluster.storage.close();
  };
  try {
    endBootstrap = await bootstrap(cluster);
    await resumeDeletions(cluster);
    const certificate = usingDataDir(dataDir, () =>
      loadServingCertificate(join(dataDir, "pki"), host, clock.nowMs()),
    );
    server = new HttpServer(cluster, certificate);
    const port = await server.listen(host, options.port);
    const url = `https://${host}:${port}`;
    const kubeconfigPath = join(dataDir, "kubeconfig");
    const token = cluster.credentials.adminToken;
    usingDataDir(dataDir, () =>
      writeKubeconfig(kubeconfigPath, { url, caPem: certificate.caPem, token }),
    );
    logger.info({ url, dataDir }, "api server listening");
    return {
      port,
      url,
      kubeconfigPath,
      local: createLocalApi(cluster),
      setPodLogs: (podLogs) => {
        cluster.podLogs = podLogs;
      },
      setPodExec: (podExec) => {
        cluster.podExec = podExec;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function loadCredentials(dataDir: string): Credentials {
  return usingDataDir(dataDir, () => {
    const pkiDir = join(dataDir, "pki");
    mkdirSync(pkiDir, { recursive: true, mode: 0o700 });
    return new Credentials(pkiDir);
  });
}

function usingDataDir<T>(dataDir: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const message = `data directory ${dataDir} cannot be used: ${messageOf(error)}`;
    throw new SerinError("SERIN_DATA_DIR", message, { cause: error });
  }
}

async function resumeDeletions(cluster: Cluster): Promise<void> {
  await cluster.remover.cleanUpDefinitions({
    user: SYSTEM,
    dryRun: false,
    fieldValidation: "Ignore",
    warnings: [],
  });
}
