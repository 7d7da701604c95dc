import { join } from "node:path";
import {
  createStoreMetricsProvider,
  createTelemetryStore,
  type TelemetryStore,
} from "../analysis/index.ts";
import { allCustomResourceDefinitions, type KubeObject, RESOURCES } from "../api/index.ts";
import { SerinError } from "../base/index.ts";
import { startController } from "../controller/index.ts";
import { type ImageMap, type NetworkMode, startCluster } from "../embedded/index.ts";
import { createClientStore } from "../kube/index.ts";
import type { KubeStore } from "../kube/store.ts";
import { startControlPlane, startRootCertificatePublisher } from "../mesh/index.ts";
import { type Clock, createLogger, type LogLevel } from "../runtime/index.ts";
import { publishControlPlane, ROOT_NAMESPACE, TRUST_DOMAIN } from "./control-plane.ts";
import { startMetricsEndpoint } from "./metrics-endpoint.ts";
import { monitoringPages, publishMonitoring, readMetrics } from "./monitoring.ts";
import { rememberNetwork } from "./network-mode.ts";
import { preferredPorts, rememberPorts } from "./platform-ports.ts";
import { serinVersion } from "./serin-version.ts";

export interface PlatformOptions {
  readonly dataDir: string;
  /** 0 = any free port. */
  readonly apiPort: number;
  readonly imageMap: ImageMap;
  /** How pods get their addresses. */
  readonly network: NetworkMode;
  readonly clock: Clock;
  readonly logLevel: LogLevel;
  /** Called with one line whenever a part answers. */
  readonly onProgress: (line: string) => void;
}

/** Everything of Serin on one machine, wired and answering. */
export interface Platform {
  readonly kubeconfigPath: string;
  readonly apiUrl: string;
  readonly store: KubeStore;
  readonly telemetry: TelemetryStore;
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";
const RETENTION_MS = 15 * 60_000;

/**
 * Starts the embedded cluster, installs the CRDs, and starts control plane and controller on it.
 * Whatever was started is stopped again when a later part fails.
 * Throws SERIN_PORT_IN_USE, SERIN_DATA_DIR, SERIN_PERMISSION.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { clock, onProgress } = options;
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (;;) {
      const next = stops.pop();
      if (next === undefined) return;
      await next();
    }
  };
  try {
    const cluster = await startCluster({
      dataDir: options.dataDir,
      apiPort: options.apiPort,
      imageMap: options.imageMap,
      network: options.network,
      logger: createLogger("embedded", options.logLevel),
      clock,
    });
    stops.push(() => cluster.stop());
    rememberNetwork(options.dataDir, options.network);
    onProgress(`Kubernetes API on ${cluster.apiUrl}, network ${options.network}`);

    const store = createClientStore({ kubeconfigPath: cluster.kubeconfigPath });
    await installResources(store);
    onProgress("custom resource definitions installed");

    const telemetry = createTelemetryStore({ retentionMs: RETENTION_MS, clock });
    const controlPlane = await startControlPlane({
      store,
      telemetry,
      logger: createLogger("control-plane", options.logLevel),
      clock,
      host: HOST,
      ports: await preferredPorts(options.dataDir, HOST),
      rootNamespace: ROOT_NAMESPACE,
      trustDomain: TRUST_DOMAIN,
      reach: (port) => cluster.reach(port),
      interceptionMode: options.network === "netns" ? "REDIRECT" : "NONE",
      accessLog: true,
      version: serinVersion(),
    });
    stops.push(() => controlPlane.stop());
    const publisher = startRootCertificatePublisher({
      ...{ store, clock, rootNamespace: ROOT_NAMESPACE, random: Math.random },
      logger: createLogger("control-plane", options.logLevel),
    });
    stops.push(async () => publisher.stop());
    rememberPorts(options.dataDir, controlPlane.ports);
    await publishControlPlane(store, HOST, controlPlane.ports);
    onProgress(`control plane on ${HOST}:${controlPlane.ports.xds} (xDS)`);

    const controller = await startController({
      store,
      metrics: createStoreMetricsProvider(telemetry, clock),
      logger: createLogger("controller", options.logLevel),
      clock,
      awaitProxyAcks: true,
    });
    stops.push(() => controller.stop());
    onProgress("canary controller running");
    const pages = monitoringPages(store, {
      "control-plane": () => readMetrics(`${HOST}:${controlPlane.ports.debug}`),
      controller: () => controller.metricsText(),
    });
    const monitoring = await startMetricsEndpoint(HOST, pages);
    stops.push(() => monitoring.stop());
    await publishMonitoring(store, await cluster.reach(monitoring.port));
    return {
      kubeconfigPath: cluster.kubeconfigPath,
      apiUrl: cluster.apiUrl,
      store,
      telemetry,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Where `serin up` and `serin demo` keep a cluster unless told otherwise. */
export function defaultDataDir(cwd: string): string {
  return join(cwd, ".serin");
}

async function installResources(store: KubeStore): Promise<void> {
  for (const definition of allCustomResourceDefinitions()) {
    await createOrReplaceSpec(store, definition);
  }
  await createIfAbsent(store, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: ROOT_NAMESPACE },
  });
}

async function createIfAbsent(store: KubeStore, namespace: KubeObject): Promise<void> {
  try {
    await store.create(RESOURCES.namespace, namespace);
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
}

async function createOrReplaceSpec(store: KubeStore, definition: KubeObject): Promise<void> {
  const type = RESOURCES.customResourceDefinition;
  try {
    await store.create(type, definition);
  } catch (error) {
    if (!isConflict(error)) throw error;
    const key = { name: definition.metadata.name };
    await store.patch(type, key, { spec: definition["spec"] }, { kind: "merge" });
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof SerinError && error.code === "SERIN_CONFLICT";
}
