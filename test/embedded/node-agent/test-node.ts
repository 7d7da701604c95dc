import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { type ApiServer, startApiServer } from "../../../src/embedded/api-server/index.ts";
import type { ImageMap } from "../../../src/embedded/index.ts";
import type { LocalApi } from "../../../src/embedded/local-api.ts";
import { type NodeAgent, startNodeAgent } from "../../../src/embedded/node-agent/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { at, type Json } from "../api-server/test-server.ts";
import { temporaryDir } from "./temporary-dir.ts";

/** An API server and a node agent, without controllers. */
export interface TestNode {
  readonly api: LocalApi;
  readonly server: ApiServer;
  readonly agent: NodeAgent;
  readonly dir: string;
  /** Writes a program and returns the command that runs it. */
  program(name: string, source: string): string[];
  /** Creates a pod; `spec` may leave out the containers' images. */
  pod(name: string, spec: PodDraft): Promise<KubeObject>;
  get(name: string): Promise<KubeObject | undefined>;
  /** Resolves with the pod once it satisfies the condition. */
  until(name: string, what: string, holds: (pod: KubeObject) => boolean): Promise<KubeObject>;
  /** Resolves once the log contains `text`; returns the log. */
  logged(name: string, text: string, options?: LogOptions): Promise<string>;
  stop(): Promise<void>;
}

export interface LogOptions {
  readonly container?: string;
  readonly previous?: boolean;
}

export interface PodDraft {
  readonly containers: readonly Json[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

const DEADLINE_MS = 30_000;

export async function startTestNode(
  t: TestContext,
  options: { readonly imageMap?: ImageMap; readonly dir?: string } = {},
): Promise<TestNode> {
  const dir = options.dir ?? temporaryDir();
  const logger = createLogger("test", "error");
  const clock = systemClock;
  const dataDir = join(dir, "data");
  const server = await startApiServer({ dataDir, port: 0, logger, clock });
  const api = server.local;
  const imageMap = options.imageMap ?? [];
  const agent = await startNodeAgent({ api, dataDir, imageMap, logger, clock });
  server.setPodLogs(agent.podLogs);
  server.setPodExec(agent.podExec);
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= agent.stop().then(() => server.stop());
    return stopping;
  };
  t.after(stop);
  const namespace = "default";
  const node: TestNode = {
    api,
    server,
    agent,
    dir,
    stop,
    program(name, source) {
      const path = join(dir, `${name}.mjs`);
      writeFileSync(path, source);
      return ["node", path];
    },
    pod(name, { labels, annotations, ...spec }) {
      const withImage = (each: Json): Json => ({ image: "test/image:1", ...each });
      return api.create(RESOURCES.pod, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: {
          name,
          namespace,
          ...(labels === undefined ? {} : { labels }),
          ...(annotations === undefined ? {} : { annotations }),
        },
        spec: {
          ...spec,
          containers: spec.containers.map(withImage),
          ...(Array.isArray(spec["initContainers"])
            ? { initContainers: spec["initContainers"].map(withImage) }
            : {}),
        },
      });
    },
    get: (name) => api.get(RESOURCES.pod, { namespace, name }),
    async until(name, what, holds) {
      const { promise, resolve, reject } = Promise.withResolvers<KubeObject>();
      let last: KubeObject | undefined;
      const timer = setTimeout(() => {
        const status = JSON.stringify(last?.["status"], undefined, 1);
        reject(new Error(`pod ${name}: gave up waiting until ${what}; status: ${status}`));
      }, DEADLINE_MS);
      const close = api.watch(RESOURCES.pod, ({ type, object }) => {
        if (object.metadata.name !== name || type === "DELETED") return;
        last = object;
        if (holds(object)) resolve(object);
      });
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
        close();
      }
    },
    async logged(name, text, { container = "app", previous = false } = {}) {
      await node.until(name, `container ${container} has begun`, (pod) => {
        const isWaiting = at(statusOf(pod, container), "state", "waiting") !== undefined;
        const hasRun = at(statusOf(pod, container), "lastState", "terminated") !== undefined;
        return statusOf(pod, container)["name"] === container && (!isWaiting || hasRun);
      });
      const signal = AbortSignal.timeout(DEADLINE_MS);
      let log = "";
      const how = { follow: true, previous, timestamps: false, signal };
      for await (const chunk of agent.podLogs.read({ namespace, name, container }, how)) {
        log += Buffer.from(chunk).toString();
        if (log.includes(text)) return log;
      }
      throw new Error(`log of ${name} never held ${text}:\n${log}`);
    },
  };
  return node;
}

export function isReady(pod: KubeObject): boolean {
  const conditions = at(pod, "status", "conditions") as readonly Json[] | undefined;
  return conditions?.some((c) => c["type"] === "Ready" && c["status"] === "True") === true;
}

/** The status of a container, init or not. */
export function statusOf(pod: KubeObject | undefined, container = "app"): Json {
  const lists = ["initContainerStatuses", "containerStatuses"].flatMap(
    (list) => (at(pod, "status", list) as readonly Json[] | undefined) ?? [],
  );
  return lists.find((status) => status["name"] === container) ?? {};
}

/** A program that answers every request with its environment, and ends on SIGTERM. */
export const ECHO = `
import { createServer } from "node:http";
createServer((request, response) => {
  if (request.url === "/health") return response.end("ok");
  response.end(JSON.stringify(process.env));
}).listen(Number(process.env.PORT), process.env.HOST, () => console.log("listens"));
process.on("SIGTERM", () => { console.log("got SIGTERM"); process.exit(0); });
`;

/** A program that does nothing until SIGTERM. */
export const IDLE = `
setInterval(() => undefined, 1000);
process.on("SIGTERM", () => { console.log("got SIGTERM"); process.exit(0); });
console.log("idle");
`;
