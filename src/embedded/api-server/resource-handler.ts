import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { KubeObject } from "../../api/index.ts";
import {
  arrayAt,
  isObject,
  type JsonObject,
  numberAt,
  objectAt,
  stringAt,
} from "../core/api/json.ts";
import { negotiate, OFFERED } from "../core/api/negotiate.ts";
import type { ResourcePath } from "../core/api/request-path.ts";
import {
  badRequest,
  forbidden,
  methodNotAllowed,
  noSuchPath,
  notAcceptable,
  notFound,
} from "../core/api/status-error.ts";
import { type AnswerStyle, sendDocument, sendList, sendObject } from "./answer.ts";
import { mayDo } from "./authorization.ts";
import { mediaTypeOf, parseJson, readBody, readDocumentBody } from "./body.ts";
import type { Cluster } from "./cluster.ts";
import type { User } from "./credentials.ts";
import { checkListVersion, parseCount } from "./list-pages.ts";
import { patchKindOf, patchTransform } from "./patch.ts";
import { execInPod } from "./pod-exec.ts";
import { streamPodLog } from "./pod-log.ts";
import { scaleOf, withScale } from "./scale.ts";
import { isSelected, parseSelection } from "./selection.ts";
import { answerTokenRequest } from "./service-account-token.ts";
import { streamWatch } from "./watch-stream.ts";
import type { DeleteOptions, FieldValidation, Target, WriteOptions } from "./write-request.ts";
import type { UpdatePart } from "./writer.ts";

/** One request for a resource, on its way. */
export interface ResourceRequest {
  readonly cluster: Cluster;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
  readonly user: User;
  /** Aborts when the server stops. */
  readonly signal: AbortSignal;
  /** The connection of a client that asks for WebSocket. */
  readonly upgrade: Upgrade | undefined;
}

export interface Upgrade {
  readonly socket: Socket;
  /** What came after the request's head. */
  readonly head: Buffer;
}

/** Answers a request for a stored resource; throws StatusError. */
export async function handleResource(call: ResourceRequest): Promise<void> {
  const { cluster, path, method } = call;
  const served = cluster.registry.findServed(path.group, path.version, path.plural);
  if (served === undefined) throw noSuchPath();
  const target: Target = { ...served, namespace: path.namespace };
  checkScope(call, target);
  checkAccess(call, target);
  if (path.subresource !== undefined) return handleSubresource(call, target, path.subresource);
  if (path.name === undefined) {
    if (method === "GET") return isWatch(call) ? watch(call, target) : list(call, target);
    if (method === "POST") return create(call, target);
    if (method === "DELETE") return deleteCollection(call, target);
    throw methodNotAllowed();
  }
  if (method === "GET") {
    return isWatch(call) ? watch(call, target) : get(call, target, path.name);
  }
  if (method === "PUT") return put(call, target, path.name, "main");
  if (method === "PATCH") return patch(call, target, path.name, "main");
  if (method === "DELETE") return remove(call, target, path.name);
  throw methodNotAllowed();
}

function checkScope(call: ResourceRequest, target: Target): void {
  const { namespaced } = target.resource;
  if (!namespaced && target.namespace !== "") throw noSuchPath();
  const needsNamespace = call.path.name !== undefined || call.method === "POST";
  if (namespaced && target.namespace === "" && needsNamespace) {
    if (call.method === "POST")
      throw badRequest("an empty namespace may not be set during creation");
    throw noSuchPath();
  }
}

function verbOf(call: ResourceRequest): string {
  const { method, path } = call;
  const isCollection = path.name === undefined;
  if (method === "GET") return isWatch(call) ? "watch" : isCollection ? "list" : "get";
  if (method === "DELETE") return isCollection ? "deletecollection" : "delete";
  return { POST: "create", PUT: "update", PATCH: "patch" }[method] ?? method.toLowerCase();
}

function checkAccess(call: ResourceRequest, target: Target): void {
  // Who runs a command does more than read, by whatever method.
  const verb = call.path.subresource === "exec" ? "create" : verbOf(call);
  if (mayDo(call.user, { verb, plural: target.resource.plural })) return;
  const { group, plural } = target.resource;
  const where =
    target.namespace === "" ? "at the cluster scope" : `in the namespace "${target.namespace}"`;
  throw forbidden(
    target.resource,
    call.path.name ?? "",
    `User "${call.user.name}" cannot ${verb} resource "${plural}" in API group "${group}" ${where}`,
  );
}

async function handleSubresource(
  call: ResourceRequest,
  target: Target,
  subresource: string,
): Promise<void> {
  const { cluster, method, path } = call;
  const name = path.name ?? "";
  const { version, resource } = target;
  const isOffered =
    (subresource === "status" && version.hasStatus) ||
    (subresource === "scale" && version.scale !== undefined) ||
    resource.otherSubresources.includes(subresource);
  if (!isOffered) throw noSuchPath();
  switch (`${method} ${subresource}`) {
    case "GET status":
      return get(call, target, name);
    case "PUT status":
      return put(call, target, name, "status");
    case "PATCH status":
      return patch(call, target, name, "status");
    case "PUT finalize":
      return put(call, target, name, "finalize");
    case "GET scale":
    case "PUT scale":
    case "PATCH scale":
      return scale(call, target, name);
    case "GET log":
      return streamPodLog(call, target, name);
    // WebSocket begins with GET, whatever it does.
    case "GET exec":
    case "POST exec":
      return execInPod(call, target, name);
    case "POST eviction":
      return evict(call, target, name);
    case "POST binding":
      return bind(call, target, name);
    case "POST token": {
      const context = { ...cluster, nowMs: cluster.clock.nowMs() };
      const body = await readDocumentBody(call.request);
      const key = { namespace: target.namespace, name };
      return sendDocument(call.response, 201, answerTokenRequest(key, body, context));
    }
    default:
      throw methodNotAllowed();
  }
}

function isWatch(call: ResourceRequest): boolean {
  const flag = call.query.get("watch");
  return call.method === "GET" && (flag === "true" || flag === "1");
}

function styleOf(call: ResourceRequest): AnswerStyle {
  const representation = negotiate(call.request.headers.accept);
  if (representation === undefined) throw notAcceptable(OFFERED);
  const include = call.query.get("includeObject") ?? "Metadata";
  if (include !== "Object" && include !== "Metadata" && include !== "None") {
    throw badRequest(
      `includeObject must be None, Metadata or Object (found ${JSON.stringify(include)})`,
    );
  }
  return { representation, includeObject: include, nowMs: call.cluster.clock.nowMs() };
}

function get(call: ResourceRequest, target: Target, name: string): void {
  const style = styleOf(call);
  sendObject(call.response, 200, find(call, target, name), target, style);
}

function find(call: ResourceRequest, target: Target, name: string): KubeObject {
  const object = call.cluster.storage.get(target.resource, target.namespace, name);
  if (object === undefined) throw notFound(target.resource, name);
  return object;
}

function list(call: ResourceRequest, target: Target): void {
  const { cluster, query, response } = call;
  const style = styleOf(call);
  const limit = parseCount(query, "limit");
  const token = query.get("continue") ?? "";
  const selection = parseSelection(query, target);
  if (token !== "") {
    sendList(response, cluster.pages.next(token, limit), target, style);
    return;
  }
  checkListVersion(query, cluster.storage.resourceVersion);
  const items = cluster.storage
    .list(target.resource, target.namespace)
    .filter((object) => isSelected(object, selection, target.namespace));
  const page = cluster.pages.first(items, String(cluster.storage.resourceVersion), limit);
  sendList(response, page, target, style);
}

function watch(call: ResourceRequest, target: Target): void {
  const { cluster, response, query, signal, path } = call;
  // The old form of watching one object: its name in the path.
  if (path.name !== undefined) query.set("fieldSelector", `metadata.name=${path.name}`);
  const style = styleOf(call);
  const { storage, clock } = cluster;
  streamWatch(response, { target, query, style, storage, clock, signal });
}

async function create(call: ResourceRequest, target: Target): Promise<void> {
  const style = styleOf(call);
  const options = writeOptions(call);
  const body = await readDocumentBody(call.request);
  const object = await call.cluster.writer.create(target, body, options);
  sendWarnings(call, options);
  sendObject(call.response, 201, object, target, style);
}

async function put(
  call: ResourceRequest,
  target: Target,
  name: string,
  part: UpdatePart,
): Promise<void> {
  const style = styleOf(call);
  const options = writeOptions(call);
  const body = await readDocumentBody(call.request);
  const object = await call.cluster.writer.update(target, name, part, () => body, options);
  sendWarnings(call, options);
  sendObject(call.response, 200, object, target, style);
}

async function patch(
  call: ResourceRequest,
  target: Target,
  name: string,
  part: UpdatePart,
): Promise<void> {
  const style = styleOf(call);
  const options = writeOptions(call);
  const kind = patchKindOf(mediaTypeOf(call.request), target);
  const transform = patchTransform(parseJson(await readBody(call.request)), kind, target);
  const object = await call.cluster.writer.update(target, name, part, transform, options);
  sendWarnings(call, options);
  sendObject(call.response, 200, object, target, style);
}

async function scale(call: ResourceRequest, target: Target, name: string): Promise<void> {
  const info = target.version.scale;
  if (info === undefined) throw noSuchPath();
  const style = styleOf(call);
  const send = (object: KubeObject): void => {
    sendDocument(call.response, 200, scaleOf(object, info), style.representation.mediaType);
  };
  if (call.method === "GET") return send(find(call, target, name));
  const options = writeOptions(call);
  let change: (current: KubeObject) => unknown;
  if (call.method === "PUT") {
    const body = await readDocumentBody(call.request);
    change = () => body;
  } else {
    const kind = patchKindOf(mediaTypeOf(call.request), target);
    change = patchTransform(parseJson(await readBody(call.request)), kind, {
      ...target,
      version: { ...target.version, schema: {} },
    });
  }
  const isPatch = call.method === "PATCH";
  const transform = (current: KubeObject): unknown =>
    withScale(current, change(scaleOf(current, info)), info, target);
  const object = await call.cluster.writer.update(
    target,
    name,
    "main",
    isPatch ? Object.assign(transform, { patchText: "{}" }) : transform,
    options,
  );
  sendWarnings(call, options);
  send(object);
}

async function remove(call: ResourceRequest, target: Target, name: string): Promise<void> {
  const body = await readDocumentBody(call.request);
  const options = withBodyDryRun(writeOptions(call), body);
  const how = deleteOptionsOf(body, call.query);
  const removal = await call.cluster.remover.delete(target, name, how, options);
  sendWarnings(call, options);
  const { resource } = target;
  // Pods are answered whole, everything else that is gone with a Status, as on kube-apiserver.
  if (!removal.isGone || (resource.group === "" && resource.kind === "Pod")) {
    return sendObject(call.response, 200, removal.object, target, styleOf(call));
  }
  sendDocument(call.response, 200, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: {
      name,
      ...(resource.group === "" ? {} : { group: resource.group }),
      kind: resource.plural,
      uid: removal.object.metadata.uid,
    },
  });
}

async function deleteCollection(call: ResourceRequest, target: Target): Promise<void> {
  const { cluster, query } = call;
  const style = styleOf(call);
  const selection = parseSelection(query, target);
  const body = await readDocumentBody(call.request);
  const options = withBodyDryRun(writeOptions(call), body);
  const how = deleteOptionsOf(body, query);
  const objects = cluster.storage
    .list(target.resource, target.namespace)
    .filter((object) => isSelected(object, selection, target.namespace));
  for (const { metadata } of objects) {
    const own = { ...target, namespace: metadata.namespace ?? "" };
    if (cluster.storage.get(target.resource, own.namespace, metadata.name) === undefined) continue;
    await cluster.remover.delete(own, metadata.name, how, options);
  }
  sendWarnings(call, options);
  const page = cluster.pages.first(objects, String(cluster.storage.resourceVersion), 0);
  sendList(call.response, page, target, style);
}

/** policy/v1 Eviction: a deletion; there are no disruption budgets here to ask. */
async function evict(call: ResourceRequest, target: Target, name: string): Promise<void> {
  const body = await readDocumentBody(call.request);
  const deleteOptions = objectAt(body, "deleteOptions");
  const options = withBodyDryRun(writeOptions(call), deleteOptions);
  const how = deleteOptionsOf(deleteOptions, call.query);
  await call.cluster.remover.delete(target, name, how, options);
  sendDocument(call.response, 201, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
  });
}

/** v1 Binding: says on which node a pod runs. */
async function bind(call: ResourceRequest, target: Target, name: string): Promise<void> {
  const node = stringAt(await readDocumentBody(call.request), "target", "name") ?? "";
  if (node === "") throw badRequest("target.name is required");
  const assign = (current: KubeObject): JsonObject => {
    const draft = structuredClone(current) as unknown as JsonObject;
    return { ...draft, spec: { ...objectAt(draft, "spec"), nodeName: node } };
  };
  await call.cluster.writer.update(target, name, "main", assign, writeOptions(call));
  sendDocument(call.response, 201, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
  });
}

/** DeleteOptions say in their body too that it is a dry run; kubectl does. */
function withBodyDryRun(options: WriteOptions, body: unknown): WriteOptions {
  const dryRun = arrayAt(body, "dryRun");
  if (dryRun.some((value) => value !== "All")) {
    throw badRequest(
      `dryRun: Unsupported value: ${JSON.stringify(dryRun[0])}: supported values: "All"`,
    );
  }
  return { ...options, dryRun: options.dryRun || dryRun.length > 0 };
}

function writeOptions(call: ResourceRequest): WriteOptions {
  const { query, user } = call;
  const dryRun = query.getAll("dryRun").filter((value) => value !== "");
  if (dryRun.some((value) => value !== "All")) {
    throw badRequest(
      `dryRun: Unsupported value: ${JSON.stringify(dryRun[0])}: supported values: "All"`,
    );
  }
  const text = query.get("fieldValidation") ?? "";
  const fieldValidation: FieldValidation | undefined =
    text === "" ? "Warn" : (["Strict", "Warn", "Ignore"] as const).find((known) => known === text);
  if (fieldValidation === undefined) {
    throw badRequest(
      `fieldValidation: Unsupported value: ${JSON.stringify(text)}: supported values: "Ignore", "Strict", "Warn"`,
    );
  }
  return { user, dryRun: dryRun.length > 0, fieldValidation, warnings: [] };
}

/** RFC 7234 §5.5: code 299, no agent, quoted text. */
function sendWarnings(call: ResourceRequest, options: WriteOptions): void {
  const lines = [...new Set(options.warnings)].map((warning) => {
    const text = warning.replaceAll(/[\r\n]+/g, " ").replaceAll(/[\\"]/g, "\\$&");
    return `299 - "${text.replaceAll(/[^\x20-\x7e]/g, "?")}"`;
  });
  if (lines.length > 0) call.response.setHeader("Warning", lines);
}

function deleteOptionsOf(body: unknown, query: URLSearchParams): DeleteOptions {
  if (body !== undefined && !isObject(body)) throw badRequest("DeleteOptions must be an object");
  const propagation =
    stringAt(body, "propagationPolicy") ?? query.get("propagationPolicy") ?? undefined;
  const known = (["Background", "Foreground", "Orphan"] as const).find((p) => p === propagation);
  if (propagation !== undefined && propagation !== "" && known === undefined) {
    throw badRequest(
      `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: ${JSON.stringify(propagation)}: supported values: "Background", "Foreground", "Orphan"`,
    );
  }
  const graceText = query.get("gracePeriodSeconds");
  const grace =
    numberAt(body, "gracePeriodSeconds") ?? (graceText === null ? undefined : Number(graceText));
  if (grace !== undefined && !(Number.isInteger(grace) && grace >= 0)) {
    throw badRequest("gracePeriodSeconds must be a whole number of seconds, 0 or more");
  }
  const orphan = body?.["orphanDependents"] === true;
  return {
    propagation: known ?? (orphan ? "Orphan" : undefined),
    gracePeriodSeconds: grace,
    uid: stringAt(body, "preconditions", "uid"),
    resourceVersion: stringAt(body, "preconditions", "resourceVersion"),
  };
}
