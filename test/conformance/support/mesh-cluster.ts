import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createTelemetryStore, type TelemetryStore } from "../../../src/analysis/index.ts";
import {
  allCustomResourceDefinitions,
  type KubeObject,
  RESOURCES,
  type ResourceType,
} from "../../../src/api/index.ts";
import { type ApiServer, startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../../src/kube/index.ts";
import { startControlPlane } from "../../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";

/** The embedded API server with a control plane on it, both real. */
export interface MeshCluster {
  readonly api: ApiServer["local"];
  readonly xdsPort: number;
  readonly debugPort: number;
  /** What proxies streamed. */
  readonly telemetry: TelemetryStore;
  apply(type: ResourceType, object: KubeObject): Promise<void>;
  /** A token of a service account, as its projected volume would hold it. */
  token(serviceAccount: string, podName: string): Promise<string>;
}

/** Starts API server, CRDs and control plane; stopped with the test. */
export async function startMeshCluster(t: TestContext): Promise<MeshCluster> {
  const dir = mkdtempSync(join(tmpdir(), "serin-mesh-"));
  const logger = createLogger("test", "silent");
  const server = await startApiServer({
    dataDir: join(dir, "data"),
    port: 0,
    logger,
    clock: systemClock,
  });
  const api = server.local;
  for (const definition of allCustomResourceDefinitions()) {
    await api.create(RESOURCES.customResourceDefinition, definition);
  }
  await api.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "istio-system" },
  });
  const store = createClientStore({ kubeconfigPath: server.kubeconfigPath });
  const telemetry = createTelemetryStore({ retentionMs: 60_000, clock: systemClock });
  const controlPlane = await startControlPlane({
    store,
    telemetry,
    logger,
    clock: systemClock,
    host: "127.0.0.1",
    ports: { xds: 0, debug: 0, webhook: 0 },
    rootNamespace: "istio-system",
    trustDomain: "cluster.local",
    interceptionMode: "NONE",
    accessLog: false,
  });
  t.after(async () => {
    await controlPlane.stop();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    api,
    xdsPort: controlPlane.ports.xds,
    debugPort: controlPlane.ports.debug,
    telemetry,
    async apply(type, object) {
      const { namespace, name } = object.metadata;
      const old = await api.get(type, { namespace, name });
      if (old === undefined) await api.create(type, object);
      else {
        const spec = { spec: object["spec"] };
        await api.patch(type, { namespace, name }, spec, { kind: "merge" });
      }
    },
    async token(serviceAccount, podName) {
      const pod = await api.get(RESOURCES.pod, { namespace: "default", name: podName });
      return api.createToken(
        { namespace: "default", serviceAccount },
        {
          audiences: ["istio-ca"],
          expirationSeconds: 3600,
          podName,
          ...(pod?.metadata.uid === undefined ? {} : { podUid: pod.metadata.uid }),
        },
      );
    },
  };
}
