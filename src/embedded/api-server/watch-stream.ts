import { randomInt } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { KubeObject } from "../../api/index.ts";
import type { Clock } from "../../runtime/index.ts";
import { groupVersion, storageKey } from "../core/api/resource-info.ts";
import { badRequest, expired, invalid, type StatusError } from "../core/api/status-error.ts";
import { type AnswerStyle, present } from "./answer.ts";
import { parseCount } from "./list-pages.ts";
import { isSelected, parseSelection, type Selection } from "./selection.ts";
import { jsonText } from "./served-object.ts";
import type { Storage } from "./storage.ts";
import type { Change } from "./watch-history.ts";
import type { Target } from "./write-request.ts";

/** A watch ends by itself after a random time in this range, unless the client says when. */
const MIN_DURATION_SECONDS = 1800;
const BOOKMARK_INTERVAL_MS = 60_000;
/** A client that reads this slowly is cut off; it lists again. */
const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;

interface Watch {
  readonly target: Target;
  readonly selection: Selection;
  readonly style: AnswerStyle;
  readonly storage: Storage;
}

/** What a watcher is told about a change: a selector can turn it into an arrival or a departure. */
export function eventFor(
  change: Change,
  selection: Selection,
  namespace: string,
): { readonly type: Change["type"]; readonly object: KubeObject } | undefined {
  const { type, object, previous } = change;
  const was = previous !== undefined && isSelected(previous, selection, namespace);
  const is = type !== "DELETED" && isSelected(object, selection, namespace);
  if (is) return { type: was ? "MODIFIED" : "ADDED", object };
  if (!was) return undefined;
  // The state that matched, at the version at which it stopped doing so.
  const { resourceVersion } = object.metadata;
  const last =
    type === "DELETED"
      ? object
      : {
          ...previous,
          metadata: {
            ...previous.metadata,
            ...(resourceVersion === undefined ? {} : { resourceVersion }),
          },
        };
  return { type: "DELETED", object: last };
}

/**
 * Streams events until the client leaves, the time is over or `signal` aborts. Throws StatusError
 * before the first byte when the query is wrong; a version too old is an ERROR event (410), as on
 * kube-apiserver.
 */
export function streamWatch(
  response: ServerResponse,
  options: {
    readonly target: Target;
    readonly query: URLSearchParams;
    readonly style: AnswerStyle;
    readonly storage: Storage;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): void {
  const { target, query, style, storage, clock, signal } = options;
  const watch: Watch = { target, selection: parseSelection(query, target), style, storage };
  const start = parseStart(query);
  const timeoutSeconds =
    parseCount(query, "timeoutSeconds") ||
    randomInt(MIN_DURATION_SECONDS, MIN_DURATION_SECONDS * 2);
  const wantsBookmarks = query.get("allowWatchBookmarks") === "true";

  response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
  response.flushHeaders();
  const writer = new EventWriter(response, watch);
  const unsubscribe = begin(writer, watch, start);
  if (unsubscribe === undefined) {
    response.end();
    return;
  }

  const stops = [unsubscribe];
  const end = (): void => {
    for (const stop of stops.splice(0)) stop();
    if (!response.writableEnded) response.end();
  };
  if (wantsBookmarks)
    stops.push(everyInterval(clock, BOOKMARK_INTERVAL_MS, () => writer.bookmark({})));
  stops.push(clock.schedule(timeoutSeconds * 1000, end));
  signal.addEventListener("abort", end, { once: true });
  stops.push(() => signal.removeEventListener("abort", end));
  response.on("close", end);
}

type Start =
  | { readonly kind: "now" }
  | { readonly kind: "after"; readonly resourceVersion: number }
  | { readonly kind: "initial"; readonly withBookmark: boolean };

function parseStart(query: URLSearchParams): Start {
  const version = query.get("resourceVersion") ?? "";
  if (version !== "" && !/^\d+$/.test(version)) {
    throw badRequest(`Invalid value: ${JSON.stringify(version)}: resourceVersion must be a number`);
  }
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = query.get("sendInitialEvents");
  const forbid = (field: string, detail: string): never => {
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      { reason: "FieldValueForbidden", field, detail },
    ]);
  };
  if (initial === null) {
    if (match !== "")
      forbid(
        "resourceVersionMatch",
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
      );
    if (version === "" || version === "0") return { kind: "initial", withBookmark: false };
    return { kind: "after", resourceVersion: Number(version) };
  }
  if (match !== "NotOlderThan") {
    forbid(
      "resourceVersionMatch",
      "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
  }
  if (initial === "true")
    return { kind: "initial", withBookmark: query.get("allowWatchBookmarks") === "true" };
  if (version === "" || version === "0") return { kind: "now" };
  return { kind: "after", resourceVersion: Number(version) };
}

/** Sends what lies before now and subscribes to what comes; undefined when that is impossible. */
function begin(writer: EventWriter, watch: Watch, start: Start): (() => void) | undefined {
  const { target, storage, selection } = watch;
  // Nothing is awaited between reading the past and subscribing: no event can fall between.
  if (start.kind === "after") {
    const missed = storage.history.since(storageKey(target.resource), start.resourceVersion);
    if (missed === undefined) {
      const oldest = storage.history.oldestVersion;
      writer.error(expired(`too old resource version: ${start.resourceVersion} (${oldest})`));
      return undefined;
    }
    for (const change of missed) writer.change(change);
  } else if (start.kind === "initial") {
    for (const object of storage.list(target.resource, target.namespace)) {
      if (isSelected(object, selection, target.namespace)) writer.event("ADDED", object);
    }
    if (start.withBookmark) writer.bookmark({ "k8s.io/initial-events-end": "true" });
  }
  return storage.subscribe(target.resource, (change) => writer.change(change));
}

function everyInterval(clock: Clock, intervalMs: number, callback: () => void): () => void {
  let cancel = clock.schedule(intervalMs, tick);
  function tick(): void {
    callback();
    cancel = clock.schedule(intervalMs, tick);
  }
  return () => cancel();
}

class EventWriter {
  readonly #response: ServerResponse;
  readonly #watch: Watch;
  #isFirst = true;

  constructor(response: ServerResponse, watch: Watch) {
    this.#response = response;
    this.#watch = watch;
  }

  change(change: Change): void {
    const event = eventFor(change, this.#watch.selection, this.#watch.target.namespace);
    if (event !== undefined) this.event(event.type, event.object);
  }

  event(type: string, object: KubeObject): void {
    const { target, style } = this.#watch;
    const document = present(object, target, style, this.#isFirst);
    this.#isFirst = false;
    this.#write(`{"type":"${type}","object":${jsonText(document)}}\n`);
  }

  bookmark(annotations: Readonly<Record<string, string>>): void {
    const { target, storage } = this.#watch;
    const object = {
      kind: target.resource.kind,
      apiVersion: groupVersion(target.resource.group, target.version.name),
      metadata: { name: "", resourceVersion: String(storage.resourceVersion), annotations },
    };
    this.event("BOOKMARK", object);
  }

  error(status: StatusError): void {
    this.#write(`{"type":"ERROR","object":${JSON.stringify(status.toStatus())}}\n`);
  }

  #write(line: string): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    this.#response.write(line);
    if (this.#response.writableLength > MAX_BUFFERED_BYTES) this.#response.destroy();
  }
}
