import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { allCustomResourceDefinitions, RESOURCES } from "../../../src/api/index.ts";
import { type ApiServer, startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../../src/kube/index.ts";
import type { KubeStore } from "../../../src/kube/store.ts";
import {
  type ControlPlane,
  type ControlPlaneOptions,
  startControlPlane,
} from "../../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";

export const ROOT_NAMESPACE = "istio-system";
export const TRUST_DOMAIN = "cluster.local";
export const silent = createLogger("test", "silent");

export interface World {
  readonly api: ApiServer;
  readonly store: KubeStore;
  readonly dir: string;
}

/** The embedded API server with Serin's definitions and the root namespace. */
export async function startWorld(t: TestContext): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "serin-security-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const server = await startApiServer({
    dataDir: join(dir, "data"),
    port: 0,
    logger: silent,
    clock: systemClock,
  });
  let stopped: Promise<void> | undefined;
  // Tests may stop it earlier.
  const stop = (): Promise<void> => {
    stopped ??= server.stop();
    return stopped;
  };
  const api: ApiServer = { ...server, stop };
  t.after(stop);
  const store = createClientStore({ kubeconfigPath: api.kubeconfigPath });
  for (const definition of allCustomResourceDefinitions()) {
    await store.create(RESOURCES.customResourceDefinition, definition);
  }
  await store.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: ROOT_NAMESPACE },
  });
  return { api, store, dir };
}

/** A control plane of that world on free ports, stopped with the test. */
export async function startPlane(
  t: TestContext,
  { store }: World,
  options: Partial<ControlPlaneOptions> = {},
): Promise<ControlPlane> {
  const plane = await startControlPlane({
    store,
    telemetry: { ingest: () => {}, forget: () => {} },
    logger: silent,
    clock: systemClock,
    host: "127.0.0.1",
    ports: { xds: 0, debug: 0, webhook: 0 },
    rootNamespace: ROOT_NAMESPACE,
    trustDomain: TRUST_DOMAIN,
    interceptionMode: "NONE",
    accessLog: false,
    ...options,
  });
  t.after(() => plane.stop());
  return plane;
}
