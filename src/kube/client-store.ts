import type { IncomingMessage } from "node:http";
import { StringDecoder } from "node:string_decoder";
import { apiVersionOf, type KubeObject, type ResourceType } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import { type Connection, type ConnectionOptions, createConnection } from "./connection.ts";
import type { KubeStore, ListOptions, ObjectKey, PatchKind, WatchEvent } from "./store.ts";

const PAGE_SIZE = 500;
/** The server ends a watch after this; one that went silent is noticed a little later. */
const WATCH_TIMEOUT_S = 290;
const WATCH_SILENCE_MS = (WATCH_TIMEOUT_S + 20) * 1000;
const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const satisfies Record<PatchKind, string>;

/**
 * The Kubernetes API behind a kubeconfig. Reads no network until the first call.
 * Throws SERIN_UNREADABLE_INPUT when the kubeconfig cannot be used.
 */
export function createClientStore(options: ConnectionOptions = {}): KubeStore {
  const connection = createConnection(options);
  const call = (what: string, request: Parameters<Connection["send"]>[0]) =>
    answerOf(connection, what, request);
  return {
    async get(type, key) {
      try {
        return await call(nameOf(type, key), { method: "GET", path: objectPath(type, key) });
      } catch (error) {
        if (error instanceof SerinError && error.code === "SERIN_NOT_FOUND") return undefined;
        throw error;
      }
    },
    list: (type, listOptions = {}) => listAll(connection, type, listOptions),
    create: async (type, object) =>
      call(nameOf(type, object.metadata), {
        method: "POST",
        path: collectionPath(type, object.metadata.namespace),
        body: withType(type, object),
      }),
    update: async (type, object, { subresource } = {}) =>
      call(nameOf(type, object.metadata), {
        method: "PUT",
        path: objectPath(type, object.metadata, subresource),
        body: withType(type, object),
      }),
    patch: async (type, key, patch, { kind, subresource }) =>
      call(nameOf(type, key), {
        method: "PATCH",
        path: objectPath(type, key, subresource),
        body: patch,
        contentType: PATCH_TYPES[kind],
      }),
    async delete(type, key, { propagation } = {}) {
      await call(nameOf(type, key), {
        method: "DELETE",
        path: objectPath(type, key),
        body: {
          kind: "DeleteOptions",
          apiVersion: "v1",
          ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
        },
      });
    },
    watch: (type, watchOptions) => watchFrom(connection, type, watchOptions),
  };
}

/** In pages, so that a large collection costs neither side one huge answer. */
async function listAll(
  connection: Connection,
  type: ResourceType,
  options: ListOptions,
): ReturnType<KubeStore["list"]> {
  const items: KubeObject[] = [];
  let next = "";
  let resourceVersion = "";
  do {
    const query = { ...selectorsOf(options), limit: String(PAGE_SIZE), continue: next };
    const page = await readPage(connection, type, options, query);
    if (page === undefined) {
      // The pages' snapshot has expired: from the start.
      items.length = 0;
      next = "";
      resourceVersion = "";
      continue;
    }
    for (const item of page.items) items.push(withType(type, item));
    resourceVersion = page.metadata.resourceVersion;
    next = page.metadata.continue ?? "";
  } while (next !== "" || resourceVersion === "");
  return { items, resourceVersion };
}

interface Page {
  readonly items: readonly KubeObject[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

async function readPage(
  connection: Connection,
  type: ResourceType,
  options: ListOptions,
  query: Readonly<Record<string, string>>,
): Promise<Page | undefined> {
  try {
    const path = collectionPath(type, options.namespace) + queryOf(query);
    const answer = await answerOf(connection, type.plural, { method: "GET", path });
    return answer as unknown as Page;
  } catch (error) {
    const isExpired = error instanceof SerinError && error.code === "SERIN_CONFLICT";
    if (isExpired && query["continue"] !== "") return undefined;
    throw error;
  }
}

async function* watchFrom(
  connection: Connection,
  type: ResourceType,
  options: Parameters<KubeStore["watch"]>[1],
): AsyncIterable<WatchEvent> {
  const { signal, resourceVersion, namespace } = options;
  if (signal.aborted) return;
  const query = queryOf({
    ...selectorsOf(options),
    watch: "true",
    resourceVersion,
    allowWatchBookmarks: "true",
    timeoutSeconds: String(WATCH_TIMEOUT_S),
  });
  const path = collectionPath(type, namespace) + query;
  const response = await connection
    .send({ method: "GET", path, signal, isWatch: true })
    .catch((error) => {
      if (signal.aborted) return undefined;
      throw error;
    });
  if (response === undefined) return;
  if (response.statusCode !== 200) throw errorOf(await readStatus(response), type.plural);
  // Kept: once the body has ended, the response no longer knows its socket.
  const { socket } = response;
  const onSilence = (): void => {
    response.destroy(new Error("watch is silent"));
  };
  socket.setTimeout(WATCH_SILENCE_MS, onSilence);
  try {
    for await (const line of linesOf(response)) {
      const event = JSON.parse(line) as { type: string; object: KubeObject };
      if (event.type === "ERROR") throw errorOf(event.object as unknown as Status, type.plural);
      yield { type: event.type as WatchEvent["type"], object: withType(type, event.object) };
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof SerinError) throw error;
    throw new SerinError("SERIN_UNAVAILABLE", `watch of ${type.plural}: ${messageOf(error)}`, {
      source: "remote",
      retry: "yes",
      cause: error,
    });
  } finally {
    socket.setTimeout(0);
    socket.off("timeout", onSilence);
    // Leaving early (return, throw, abort): the server must not go on sending.
    response.destroy();
  }
}

/** Lines of a body as text; characters and lines may be cut anywhere. */
async function* linesOf(response: IncomingMessage): AsyncIterable<string> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of response) {
    rest += decoder.write(chunk as Buffer);
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line !== "") yield line;
    }
  }
}

/** meta/v1 Status. */
interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

async function answerOf(
  connection: Connection,
  what: string,
  request: Parameters<Connection["send"]>[0],
): Promise<KubeObject> {
  const response = await connection.send(request);
  const code = response.statusCode ?? 0;
  if (code < 200 || code > 299) throw errorOf(await readStatus(response), what);
  const text = await readText(response);
  try {
    return JSON.parse(text) as KubeObject;
  } catch (error) {
    const start = JSON.stringify(text.slice(0, 80));
    throw new SerinError("SERIN_API", `${what}: the answer is not JSON (it begins ${start})`, {
      source: "remote",
      cause: error,
    });
  }
}

async function readStatus(response: IncomingMessage): Promise<Status> {
  const text = await readText(response);
  const code = response.statusCode ?? 0;
  try {
    const status = JSON.parse(text) as Status;
    return { ...status, code: status.code ?? code };
  } catch {
    // Not from the API server itself: a proxy's page, say.
    return { code, message: text.slice(0, 200) };
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (error) {
    throw new SerinError("SERIN_UNAVAILABLE", `the answer broke off: ${messageOf(error)}`, {
      source: "remote",
      retry: "yes",
      cause: error,
    });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function errorOf({ code = 0, reason, message = "" }: Status, what: string): SerinError {
  const text = message === "" ? `${what}: HTTP ${code} ${reason ?? ""}`.trimEnd() : message;
  const remote = { source: "remote" } as const;
  switch (code) {
    case 404:
      return new SerinError("SERIN_NOT_FOUND", text, remote);
    case 409:
      return new SerinError("SERIN_CONFLICT", text, { ...remote, retry: "yes" });
    case 410:
      return new SerinError("SERIN_CONFLICT", text, { ...remote, retry: "yes" });
    case 403:
      // A webhook's refusal is about the object; RBAC's is about who asks.
      return new SerinError(
        isWebhookRefusal(text) ? "SERIN_INVALID_RESOURCE" : "SERIN_API",
        text,
        remote,
      );
    case 400:
    case 422:
      return new SerinError("SERIN_INVALID_RESOURCE", text, remote);
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return new SerinError("SERIN_API", text, { ...remote, retry: "yes" });
    default:
      return new SerinError("SERIN_API", text, remote);
  }
}

function isWebhookRefusal(message: string): boolean {
  return /admission webhook|denied the request/.test(message);
}

/** Lists and watches leave the type out of their items. */
function withType(type: ResourceType, object: KubeObject): KubeObject {
  return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}

function collectionPath(type: ResourceType, namespace: string | undefined): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope =
    type.namespaced && namespace !== undefined
      ? `/namespaces/${encodeURIComponent(namespace)}`
      : "";
  return `${root}${scope}/${type.plural}`;
}

function objectPath(type: ResourceType, key: ObjectKey, subresource?: string): string {
  if (type.namespaced && key.namespace === undefined) {
    throw new SerinError("SERIN_USAGE", `${type.kind} ${key.name}: a namespace is needed`);
  }
  const path = `${collectionPath(type, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function selectorsOf({ labelSelector, fieldSelector }: ListOptions): Record<string, string> {
  return { labelSelector: labelSelector ?? "", fieldSelector: fieldSelector ?? "" };
}

function queryOf(parameters: Readonly<Record<string, string>>): string {
  const set = Object.entries(parameters).filter(([, value]) => value !== "");
  return set.length === 0 ? "" : `?${new URLSearchParams(set)}`;
}

function nameOf(type: ResourceType, { namespace, name }: ObjectKey): string {
  return namespace === undefined ? `${type.kind} ${name}` : `${type.kind} ${namespace}/${name}`;
}
