import { once } from "node:events";
import { SerinError } from "../../base/index.ts";
import { objectsAt, stringAt } from "../core/api/json.ts";
import { badRequest, notFound, StatusError } from "../core/api/status-error.ts";
import { sendText } from "./answer.ts";
import { parseCount } from "./list-pages.ts";
import type { ResourceRequest } from "./resource-handler.ts";
import type { Target } from "./write-request.ts";

const DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container";

/** Streams a container's log as text, following it if asked to. Throws StatusError. */
export async function streamPodLog(
  call: ResourceRequest,
  target: Target,
  name: string,
): Promise<void> {
  const { cluster, query, response, signal } = call;
  const pod = cluster.storage.get(target.resource, target.namespace, name);
  if (pod === undefined) throw notFound(target.resource, name);
  const container = containerOf(pod, query.get("container") ?? "", name);
  if (cluster.podLogs === undefined) {
    throw new StatusError(
      503,
      "ServiceUnavailable",
      "no node agent is running: there are no logs to read",
    );
  }
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.on("close", leave);
  signal.addEventListener("abort", leave, { once: true });
  const chunks = cluster.podLogs.read(
    { namespace: target.namespace, name, container },
    {
      follow: query.get("follow") === "true",
      previous: query.get("previous") === "true",
      timestamps: query.get("timestamps") === "true",
      ...count(query, "tailLines"),
      ...count(query, "sinceSeconds"),
      ...count(query, "limitBytes"),
      signal: gone.signal,
    },
  );
  try {
    // The head waits for the first chunk: until then an error can still be a Status.
    const iterator = chunks[Symbol.asyncIterator]();
    let next = await iterator.next();
    if (next.done === true) return sendText(response, 200, "", "text/plain");
    response.writeHead(200, { "content-type": "text/plain" });
    while (next.done !== true && !gone.signal.aborted) {
      if (!response.write(next.value))
        await Promise.race([once(response, "drain"), once(response, "close")]);
      next = await iterator.next();
    }
    response.end();
  } catch (error) {
    if (gone.signal.aborted) return;
    throw wordError(error);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

function count(query: URLSearchParams, name: "tailLines" | "sinceSeconds" | "limitBytes"): object {
  return query.has(name) ? { [name]: parseCount(query, name) } : {};
}

/** The container that is meant: the one asked for, or the pod's default. Throws StatusError. */
export function containerOf(pod: object, asked: string, podName: string): string {
  const names = ["initContainers", "containers"].flatMap((list) =>
    objectsAt(pod, "spec", list).map((container) => stringAt(container, "name") ?? ""),
  );
  if (asked !== "") {
    if (names.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${podName}`);
  }
  const main = objectsAt(pod, "spec", "containers").map(
    (container) => stringAt(container, "name") ?? "",
  );
  const preferred = stringAt(pod, "metadata", "annotations", DEFAULT_CONTAINER);
  const only = main.length === 1 ? main[0] : main.find((name) => name === preferred);
  if (only !== undefined) return only;
  throw badRequest(
    `a container name must be specified for pod ${podName}, choose one of: [${main.join(" ")}]`,
  );
}

function wordError(error: unknown): unknown {
  if (!(error instanceof SerinError)) return error;
  if (error.code === "SERIN_NOT_FOUND") return badRequest(error.message);
  return error;
}
