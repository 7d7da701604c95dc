import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { RESOURCES } from "../../../src/api/index.ts";
import { runProxy, sidecarBootstrap } from "../../../src/proxy/index.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { peerAuthentication, service } from "../core/support/objects.ts";
import { silent, type World } from "../security/world.ts";

const PORT = 9080;

/** Two pods with real sidecars, mutual TLS required, and a client that keeps asking. */
export interface LiveMesh {
  /** Where the server's sidecar listens. */
  readonly server: { readonly host: string; readonly port: number };
  /** Sends so many requests a second until `done`; says how it went. */
  load(rps: number, done: Promise<unknown>): Promise<LoadResult>;
  /** Asks once; the status, or 0. */
  ask(): Promise<number>;
}

export interface LoadResult {
  readonly requests: number;
  readonly failures: readonly string[];
}

/**
 * The pods, their sidecars and the application; the control plane listens on `xdsPort`. Test files run
 * side by side: each has a `block` of addresses of its own, 1..254.
 */
export async function startLiveMesh(
  t: TestContext,
  world: World,
  xdsPort: number,
  block: number,
): Promise<LiveMesh> {
  const client = { name: "client-7d5b8c9f6-aaaaa", ip: `127.29.${block}.2`, app: "client" };
  const server = { name: "reviews-7d5b8c9f6-bbbbb", ip: `127.29.${block}.3`, app: "reviews" };
  const applicationIp = `127.61.${block}.3`;
  const { store, api, dir } = world;
  const pods = [client, server];
  const objects = pods.map(({ name, ip, app }) =>
    service({
      name: app,
      clusterIp: `10.96.7.${ip.split(".").at(-1)}`,
      ports: [{ port: PORT, name: "http" }],
      pods: [{ name, ip, labels: { app }, ports: [{ containerPort: PORT }] }],
    }),
  );
  for (const { services = [], endpointSlices = [], pods: made = [] } of objects) {
    for (const each of services) await store.create(RESOURCES.service, each);
    for (const each of endpointSlices) await store.create(RESOURCES.endpointSlice, each);
    for (const pod of made) {
      const spec = pod["spec"] as { readonly containers: readonly object[] };
      const containers = spec.containers.map((each) => ({ ...each, image: "none" }));
      await store.create(RESOURCES.pod, { ...pod, spec: { ...spec, containers } });
      const { namespace, name } = pod.metadata;
      const status = { status: pod["status"] };
      const how = { kind: "merge", subresource: "status" } as const;
      await store.patch(RESOURCES.pod, { namespace, name }, status, how);
    }
  }
  const strict = peerAuthentication({ name: "default" }, { mtls: { mode: "STRICT" } });
  await store.create(RESOURCES.peerAuthentication, strict);
  const application = createServer((_, response) => response.end("fine"));
  application.listen(PORT, applicationIp);
  await once(application, "listening");
  t.after(() => {
    application.closeAllConnections();
    application.close();
  });
  for (const { name, ip, app } of pods) {
    const tokenPath = join(dir, `${app}.token`);
    const identity = { namespace: "default", serviceAccount: "default" };
    const options = { audiences: ["istio-ca"], expirationSeconds: 3600 };
    writeFileSync(tokenPath, await api.local.createToken(identity, options));
    const proxy = await runProxy({
      bootstrap: sidecarBootstrap({
        POD_NAME: name,
        POD_NAMESPACE: "default",
        POD_IP: ip,
        ISTIO_META_LABELS: JSON.stringify({ app }),
        ISTIO_META_APPLICATION_ADDRESS: applicationIp,
        SERIN_XDS_ADDRESS: `127.0.0.1:${xdsPort}`,
        SERIN_TOKEN_PATH: tokenPath,
      }),
      sidecar: { readyAddress: ip, readyPort: 15021, statsPort: 15090 },
      logger: silent,
      clock: systemClock,
    });
    t.after(() => proxy.stop(0));
    await proxy.ready;
  }
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const ask = (): Promise<number> => asked(agent, client.ip);
  return {
    server: { host: server.ip, port: PORT },
    ask,
    async load(rps, done) {
      let isDone = false;
      void done.finally(() => {
        isDone = true;
      });
      const startMs = Date.now();
      const answers: Promise<unknown>[] = [];
      const failures: string[] = [];
      let sent = 0;
      while (!isDone) {
        while (sent < ((Date.now() - startMs) / 1000) * rps) {
          sent += 1;
          const atMs = Date.now() - startMs;
          answers.push(
            ask().then((status) => {
              if (status !== 200) failures.push(`${atMs} ms: ${status}`);
            }),
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await Promise.all(answers);
      return { requests: sent, failures };
    },
  };
}

function asked(agent: Agent, host: string): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request({
      agent,
      host,
      port: 15001,
      path: `http://reviews.default:${PORT}/`,
      timeout: 20_000,
    });
    outgoing.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
      response.on("error", () => resolve(0));
    });
    outgoing.on("timeout", () => outgoing.destroy());
    outgoing.on("error", () => resolve(0));
    outgoing.end();
  });
}

/** The control plane as a process, to be killed. */
export async function startControlPlaneProcess(
  t: TestContext,
  world: World,
  port: number,
): Promise<ChildProcess & { readonly xdsPort: number }> {
  const file = join(import.meta.dirname, "control-plane-process.ts");
  const child = fork(file, [world.api.kubeconfigPath, String(port)], { stdio: "inherit" });
  t.after(() => void child.kill("SIGKILL"));
  const [{ xdsPort }] = (await once(child, "message")) as [{ xdsPort: number }];
  return Object.assign(child, { xdsPort });
}
