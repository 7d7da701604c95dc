import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  type ChannelCredentials,
  Client,
  credentials,
  type Deadline,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { register } from "@grpc/grpc-js-xds";
import { type KubeObject, RESOURCES, type ResourceType } from "../../../src/api/index.ts";
import { startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../../src/kube/index.ts";
import type { KubeStore } from "../../../src/kube/store.ts";
import { type ControlPlane, startControlPlane } from "../../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { createAuthority } from "../../support/certificates.ts";
import { type PodOptions, service } from "../core/support/objects.ts";
import { meshDefinitions } from "../definitions.ts";

const logger = createLogger("test", "silent");
export const NAMESPACE = "default";
export const METHOD = "/echo.Echo/Say";
export const CLIENT_POD = "caller-5d8f-aaaaa";
/** As long as a slow machine may take for anything. */
export const PATIENCE_MS = 20_000;

/** A control plane over an API of its own, and gRPC clients that know no other resolver than xDS. */
export interface GrpcWorld {
  readonly store: KubeStore;
  readonly plane: ControlPlane;
  /** Where pods of this run are: `ip(7)`. */
  ip(last: number): string;
  readonly port: number;
  /** Writes an object, whether it is there or not. */
  apply(type: ResourceType, object: KubeObject): Promise<void>;
  /** Deletes the rules and routes that earlier tests left. */
  reset(): Promise<void>;
  /** The Service `echo` with these pods behind it. */
  applyEcho(pods: readonly Partial<PodOptions>[], name?: string, port?: number): Promise<void>;
  /** A channel to `host:port`, by xDS. */
  client(target?: string, creds?: ChannelCredentials): EchoClient;
  /** What `/debug/syncz` says of the client. */
  syncz(): Promise<readonly Record<string, unknown>[]>;
  metrics(): Promise<string>;
}

let shared: Promise<GrpcWorld> | undefined;
const stops: (() => Promise<void> | void)[] = [];

/** The world that all tests of a file share: gRPC reads its bootstrap once in a process. */
export function grpcWorld(): Promise<GrpcWorld> {
  shared ??= start();
  return shared;
}

/** To be called once at the end of a file. */
export function stopWorldAtTheEnd(): void {
  test.after(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    // grpc-js-xds leaves timers behind that would hold the process for ever.
    setTimeout(() => process.exit(), 100);
  });
}

async function start(): Promise<GrpcWorld> {
  const dir = mkdtempSync(join(tmpdir(), "serin-grpc-"));
  stops.push(() => rmSync(dir, { recursive: true, force: true }));
  const api = await startApiServer({ dataDir: dir, port: 0, logger, clock: systemClock });
  stops.push(() => api.stop());
  const store = createClientStore({ kubeconfigPath: api.kubeconfigPath });
  for (const definition of meshDefinitions(RESOURCES.authorizationPolicy)) {
    await store.create(RESOURCES.customResourceDefinition, definition);
  }
  const metadata = { name: "istio-system" };
  await store.create(RESOURCES.namespace, { apiVersion: "v1", kind: "Namespace", metadata });
  const plane = await startControlPlane({
    ...{ store, logger, clock: systemClock, host: "127.0.0.1" },
    telemetry: { ingest: () => {}, forget: () => {} },
    ports: { xds: 0, debug: 0, webhook: 0 },
    rootNamespace: "istio-system",
    trustDomain: "cluster.local",
    interceptionMode: "NONE",
    accessLog: false,
  });
  stops.push(() => plane.stop());
  const [second, third] = [16 + Math.floor(Math.random() * 15), Math.floor(Math.random() * 250)];
  const ip = (last: number): string => `127.${second}.${third}.${last}`;
  await writeCertificates(dir);
  const bootstrap = join(dir, "grpc-bootstrap.json");
  writeFileSync(bootstrap, JSON.stringify(bootstrapOf(plane, ip(2), dir)));
  process.env["GRPC_XDS_BOOTSTRAP"] = bootstrap;
  register();
  const port = await freePort();
  const apply: GrpcWorld["apply"] = async (type, object) => {
    const { namespace, name } = object.metadata;
    const before = await store.get(type, { namespace, name });
    if (before === undefined) await store.create(type, object);
    // Of a pod that is there only the status changes.
    else if (type !== RESOURCES.pod) {
      const { resourceVersion } = before.metadata;
      await store.update(type, {
        ...object,
        metadata: {
          ...object.metadata,
          ...(resourceVersion === undefined ? {} : { resourceVersion }),
        },
      });
    }
    if (type !== RESOURCES.pod) return;
    const patch = { status: object["status"] };
    await store.patch(type, { namespace, name }, patch, { kind: "merge", subresource: "status" });
  };
  const debug = (path: string) => fetch(`http://127.0.0.1:${plane.ports.debug}${path}`);
  return {
    ...{ store, plane, ip, port, apply },
    async reset() {
      for (const type of [RESOURCES.virtualService, RESOURCES.destinationRule]) {
        for (const { metadata } of (await store.list(type)).items) {
          await store.delete(type, { namespace: NAMESPACE, name: metadata.name });
        }
      }
    },
    async applyEcho(pods, name = "echo", targetPort = port) {
      const made = service({
        name,
        ports: [{ port: 7070, targetPort, name: "grpc" }],
        pods: pods.map((each, i) => ({
          name: `${name}-v${i + 1}-5d8f-aaaa${i}`,
          ip: ip(10 + i),
          labels: { app: name, version: `v${i + 1}` },
          ports: [{ containerPort: port }],
          hasSidecar: false,
          ...each,
        })),
      });
      for (const object of made.pods ?? []) await apply(RESOURCES.pod, withImages(object));
      for (const object of made.services ?? []) await apply(RESOURCES.service, object);
      for (const object of made.endpointSlices ?? []) await apply(RESOURCES.endpointSlice, object);
    },
    client: (target = "echo.default.svc.cluster.local:7070", creds = undefined) => {
      const client = new EchoClient(`xds:///${target}`, creds);
      stops.push(() => client.close());
      return client;
    },
    syncz: async () => (await (await debug("/debug/syncz")).json()) as Record<string, unknown>[],
    metrics: async () => (await debug("/metrics")).text(),
  };
}

/** As Istio's agent writes it. */
function bootstrapOf(plane: ControlPlane, address: string, dir: string): object {
  const provider = {
    plugin_name: "file_watcher",
    config: {
      certificate_file: join(dir, "cert.pem"),
      private_key_file: join(dir, "key.pem"),
      ca_certificate_file: join(dir, "ca.pem"),
      refresh_interval: "1s",
    },
  };
  return {
    xds_servers: [
      {
        server_uri: `127.0.0.1:${plane.ports.xds}`,
        channel_creds: [{ type: "insecure" }],
        server_features: ["xds_v3"],
      },
    ],
    node: {
      id: `sidecar~${address}~${CLIENT_POD}.${NAMESPACE}~${NAMESPACE}.svc.cluster.local`,
      metadata: {
        GENERATOR: "grpc",
        NAME: CLIENT_POD,
        NAMESPACE,
        LABELS: { app: "caller" },
        INSTANCE_IPS: address,
      },
      locality: {},
    },
    certificate_providers: { default: provider },
    server_listener_resource_name_template: "xds.istio.io/grpc/lds/inbound/%s",
  };
}

/** What an agent of the mesh would keep there. */
async function writeCertificates(dir: string): Promise<void> {
  const authority = await createAuthority();
  const own = await authority.issue("spiffe://cluster.local/ns/default/sa/default");
  writeFileSync(join(dir, "ca.pem"), authority.certificatePem);
  writeFileSync(join(dir, "cert.pem"), own.certificatePem);
  writeFileSync(join(dir, "key.pem"), own.keyPem);
}

function withImages(object: KubeObject): KubeObject {
  const spec = object["spec"] as { readonly containers: readonly object[] };
  return {
    ...object,
    spec: { ...spec, containers: spec.containers.map((each) => ({ ...each, image: "none" })) },
  };
}

/** What a call came to: the version that answered, or the status. */
export interface Answer {
  readonly code: status;
  readonly text: string;
  readonly details: string;
}

/** Calls the one method there is. */
export class EchoClient {
  readonly #client: Client;

  /** `target`: a gRPC URI. */
  constructor(target: string, creds: ChannelCredentials = credentials.createInsecure()) {
    this.#client = new Client(target, creds);
  }

  say(headers: Readonly<Record<string, string>> = {}, deadlineMs = PATIENCE_MS): Promise<Answer> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const deadline: Deadline = Date.now() + deadlineMs;
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        METHOD,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        Buffer.from("hello"),
        metadata,
        { deadline },
        (error: ServiceError | null, reply?: Buffer) => {
          const text = reply?.toString() ?? "";
          resolve({ code: error?.code ?? status.OK, text, details: error?.details ?? "" });
        },
      );
    });
  }

  /** How often each version answered. */
  async count(calls: number, headers: Readonly<Record<string, string>> = {}) {
    const counts: Record<string, number> = {};
    for (let left = calls; left > 0; left -= 50) {
      const batch = Math.min(50, left);
      const answers = await Promise.all(Array.from({ length: batch }, () => this.say(headers)));
      for (const { text, code } of answers) {
        const key = code === status.OK ? text : status[code];
        counts[key] = (counts[key] ?? 0) + 1;
      }
    }
    return counts;
  }

  close(): void {
    this.#client.close();
  }
}

/** How a server answers: with its name, unless told otherwise. */
export type EchoHandler = (call: {
  readonly metadata: Metadata;
  readonly n: number;
}) => Promise<status | string> | status | string;

/** A gRPC server at an address, until the test ends. `calls`: how many came. */
export async function startEcho(
  t: TestContext,
  address: string,
  port: number,
  handler: EchoHandler | string,
  server: Server = new Server(),
  creds: ServerCredentials = ServerCredentials.createInsecure(),
): Promise<{ readonly calls: () => number }> {
  let n = 0;
  const plain = (bytes: Buffer): Buffer => bytes;
  const definition = {
    ...{ path: METHOD, requestStream: false, responseStream: false },
    ...{ requestSerialize: plain, requestDeserialize: plain },
    ...{ responseSerialize: plain, responseDeserialize: plain },
  };
  const say: handleUnaryCall<Buffer, Buffer> = async (call, reply) => {
    n += 1;
    const answer =
      typeof handler === "string" ? handler : await handler({ metadata: call.metadata, n });
    if (typeof answer === "string") reply(null, Buffer.from(answer));
    else reply({ code: answer, details: "as asked" });
  };
  server.addService({ say: definition }, { say });
  t.after(() => server.forceShutdown());
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`${address}:${port}`, creds, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return { calls: () => n };
}

/** A port that nobody listens on at any address. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
