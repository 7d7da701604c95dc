import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingHttpHeaders, request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { createTranslator } from "../../../../src/mesh/core/translate.ts";
import { runProxy } from "../../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../../src/runtime/index.ts";
import type { TestAuthority } from "../../../support/certificates.ts";
import { findTool } from "../../../support/tools.ts";
import { type Json, staticBootstrap } from "./accept.ts";
import { bookinfo, mesh, type PodOptions, service } from "./objects.ts";
import { modelOf, nodeOf } from "./translated.ts";

/** Which program is the sidecar of a pod. */
export type DataPlane = "serin" | "envoy";

/** What an application of the testbed saw. */
export interface Seen {
  readonly version: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Answer {
  readonly status: number;
  readonly seen: Seen | undefined;
  readonly body: string;
}

/** A client and three versions of reviews, each with a sidecar, on loopback addresses. */
export interface Testbed {
  readonly appPort: number;
  /** Asks through the client's sidecar, as an application that heeds HTTP_PROXY does. */
  get(url: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Asks a pod directly, without any sidecar of the caller's. */
  direct(version: string): Promise<Answer | "reset">;
}

/** Bookinfo's client and reviews on addresses of their own, with the extra resources. */
export async function startTestbed(
  t: TestContext,
  authority: TestAuthority,
  options: {
    readonly client: DataPlane;
    readonly server: DataPlane;
    readonly resources: Partial<MeshObjects>;
  },
): Promise<Testbed> {
  // A subnet per testbed, and its twin for the applications (bit 5 of the second byte).
  const [second, third] = [16 + Math.floor(Math.random() * 15), Math.floor(Math.random() * 256)];
  const ip = (last: number) => `127.${second}.${third}.${last}`;
  const appIp = (last: number) => `127.${second + 32}.${third}.${last}`;
  const appPort = await freePort();
  const proxyPort = await freePort();
  const ports = [{ containerPort: appPort }];
  const versions = ["v1", "v2", "v3"].map((version, i) => ({ version, last: 11 + i }));
  const pods = versions.map(
    ({ version, last }): PodOptions => ({
      name: `reviews-${version}-5d8f-a${last}`,
      ip: ip(last),
      labels: { app: "reviews", version },
      serviceAccount: "bookinfo-reviews",
      ports,
    }),
  );
  const client: PodOptions = {
    name: "productpage-v1-6b4c-a2",
    ip: ip(2),
    labels: { app: "productpage" },
    serviceAccount: "bookinfo-productpage",
    ports: [],
  };
  const http = { port: appPort, name: "http" };
  const objects = mesh(
    service({ name: "reviews", clusterIp: "10.96.0.3", ports: [http], pods }),
    service({ name: "productpage", clusterIp: "10.96.0.2", ports: [http], pods: [] }),
    { ...bookinfo(), services: [], endpointSlices: [], pods: [] },
    options.resources,
  );
  const translator = createTranslator(modelOf(mesh(objects, { pods: [podOf(client)] })), {
    accessLog: false,
  });
  const bootstrapOf = async (pod: PodOptions, last: number): Promise<Json> => {
    const node = nodeOf(pod.name, pod.ip, {
      LABELS: pod.labels,
      HTTP_PROXY_PORT: String(proxyPort),
      APPLICATION_ADDRESS: appIp(last),
    });
    const account = pod.serviceAccount ?? "default";
    const leaf = await authority.issue(`spiffe://cluster.local/ns/default/sa/${account}`);
    const bootstrap = staticBootstrap(translator.resourcesFor(node), [
      {
        name: "default",
        tls_certificate: {
          certificate_chain: { inline_string: leaf.certificatePem },
          private_key: { inline_string: leaf.keyPem },
        },
      },
      {
        name: "ROOTCA",
        validation_context: { trusted_ca: { inline_string: authority.certificatePem } },
      },
    ]);
    return { ...bootstrap, node: { id: node.id, cluster: "test" } };
  };
  for (const { version, last } of versions)
    await startApplication(t, version, appIp(last), appPort);
  for (const [i, pod] of pods.entries()) {
    const bootstrap = await bootstrapOf(pod, 11 + i);
    await startSidecar(t, options.server, bootstrap, { address: pod.ip, port: appPort });
  }
  await startSidecar(t, options.client, await bootstrapOf(client, 2), {
    address: client.ip,
    port: proxyPort,
  });
  return {
    appPort,
    get: (url, headers) => ask({ host: client.ip, port: proxyPort, path: url, headers }),
    direct: async (version) => {
      const last = versions.find((each) => each.version === version)?.last ?? 0;
      try {
        return await ask({ host: ip(last), port: appPort, path: "/", headers: {} });
      } catch {
        return "reset";
      }
    },
  };
}

function podOf(options: PodOptions) {
  const { pods = [] } = service({ name: "x", ports: [], pods: [options] });
  const [pod] = pods;
  if (pod === undefined) throw new Error("no pod");
  return pod;
}

async function startApplication(
  t: TestContext,
  version: string,
  address: string,
  port: number,
): Promise<void> {
  const server = createHttpServer((incoming, response) => {
    response.end(JSON.stringify({ version, headers: incoming.headers } satisfies Seen));
  });
  server.listen(port, address);
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
}

async function startSidecar(
  t: TestContext,
  plane: DataPlane,
  bootstrap: Json,
  opens: { readonly address: string; readonly port: number },
): Promise<void> {
  if (plane === "serin") {
    const proxy = await runProxy({
      bootstrapText: JSON.stringify(bootstrap),
      logger: createLogger("test", "silent"),
      clock: systemClock,
    });
    t.after(() => proxy.stop(0));
    await proxy.ready;
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), "serin-testbed-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "envoy.json");
  writeFileSync(file, JSON.stringify(bootstrap));
  const args = ["-c", file, "--concurrency", "1", "--log-level", "off", "--use-dynamic-base-id"];
  const child = spawn(findTool("envoy") ?? "envoy", args, { stdio: "ignore" });
  t.after(() => ended(child));
  await opened(opens.address, opens.port);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** Resolves when somebody listens. */
async function opened(address: string, port: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline) {
    const socket = connect(port, address);
    const isOpen = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await delay(50);
  }
  throw new Error(`nobody listens on ${address}:${port}`);
}

interface Question {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>> | undefined;
}

async function ask({ host, port, path, headers = {} }: Question): Promise<Answer> {
  const authority = /^http:\/\/([^/]+)/.exec(path)?.[1] ?? `${host}:${port}`;
  const outgoing = request({
    host,
    port,
    path,
    headers: { host: authority, ...headers },
    agent: false,
  });
  outgoing.end();
  const [response] = await once(outgoing, "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  const isOurs = body.startsWith('{"version"');
  return {
    status: response.statusCode,
    body,
    seen: isOurs ? (JSON.parse(body) as Seen) : undefined,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}
