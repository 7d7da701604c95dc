import { randomUUID } from "node:crypto";
import type { KubeObject, LabelSelector, StringMap } from "../../api/index.ts";
import { matchesSelector } from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import type { Logger } from "../../runtime/index.ts";
import {
  arrayAt,
  isObject,
  type JsonObject,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
} from "../core/api/json.ts";
import { applyJsonPatch } from "../core/api/json-patch.ts";
import { badRequest, internalError, StatusError } from "../core/api/status-error.ts";
import type { Storage } from "./storage.ts";
import { callWebhook, WebhookCallError } from "./webhook-client.ts";
import type { Draft, Target, WriteOptions } from "./write-request.ts";

/** A write on its way through the webhooks. */
export interface AdmissionRequest {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly target: Target;
  readonly options: WriteOptions;
  readonly object: Draft | undefined;
  readonly old: KubeObject | undefined;
  readonly subresource?: string | undefined;
}

interface Webhook {
  readonly configuration: string;
  readonly spec: JsonObject;
  readonly name: string;
}

const NAMESPACES = { group: "", plural: "namespaces" };
const GROUP = "admissionregistration.k8s.io";
const DEFAULT_TIMEOUT_SECONDS = 10;

/** Calls the cluster's admission webhooks over HTTPS, in order of configuration name. */
export class Admission {
  readonly #storage: Storage;
  readonly #logger: Logger;

  constructor(storage: Storage, logger: Logger) {
    this.#storage = storage;
    this.#logger = logger;
  }

  /**
   * The object as the mutating webhooks leave it: the very one given when none changed it. A
   * webhook with reinvocationPolicy IfNeeded is called once more when a later one changed
   * something. Throws StatusError when one denies or cannot be called.
   */
  async mutate(request: AdmissionRequest): Promise<Draft> {
    let object = request.object ?? ({ metadata: {} } satisfies Draft);
    let isOriginal = true;
    const again: Webhook[] = [];
    const apply = async (webhook: Webhook): Promise<boolean> => {
      const current = request.object === undefined ? request : { ...request, object };
      const answer = await this.#call(webhook, current);
      const patched = patchedBy(webhook, answer, object);
      if (patched === undefined || request.object === undefined) return false;
      object = patched;
      isOriginal = false;
      return true;
    };
    for (const webhook of this.#matching("mutatingwebhookconfigurations", request)) {
      const changed = await apply(webhook);
      if (changed && again.length > 0) for (const earlier of again.splice(0)) await apply(earlier);
      if (webhook.spec["reinvocationPolicy"] === "IfNeeded") again.push(webhook);
    }
    return isOriginal && request.object !== undefined ? request.object : object;
  }

  /** Asks every validating webhook at once; throws StatusError with the first denial. */
  async validate(request: AdmissionRequest): Promise<void> {
    const webhooks = this.#matching("validatingwebhookconfigurations", request);
    if (webhooks.length === 0) return;
    const answers = await Promise.allSettled(webhooks.map((w) => this.#call(w, request)));
    for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
  }

  #matching(plural: string, request: AdmissionRequest): readonly Webhook[] {
    // Webhooks about webhooks could lock everybody out.
    if (request.target.resource.group === GROUP) return [];
    return this.#storage
      .list({ group: GROUP, plural })
      .flatMap((configuration) =>
        objectsAt(configuration, "webhooks").map((spec) => ({
          configuration: configuration.metadata.name,
          spec,
          name: stringAt(spec, "name") ?? "",
        })),
      )
      .filter((webhook) => this.#matches(webhook.spec, request));
  }

  #matches(webhook: JsonObject, request: AdmissionRequest): boolean {
    if (!objectsAt(webhook, "rules").some((rule) => ruleMatches(rule, webhook, request)))
      return false;
    const labels = [request.object, request.old].map((o) => objectAt(o, "metadata", "labels"));
    const selects = (selector: string, of: JsonObject | undefined): boolean =>
      matchesSelector((webhook[selector] ?? {}) as LabelSelector, of as StringMap | undefined);
    if (
      !labels.some(
        (l, i) => [request.object, request.old][i] !== undefined && selects("objectSelector", l),
      )
    ) {
      return false;
    }
    return this.#namespaceMatches(request, (of) => selects("namespaceSelector", of));
  }

  #namespaceMatches(
    request: AdmissionRequest,
    selects: (labels: JsonObject | undefined) => boolean,
  ): boolean {
    const { resource, namespace } = request.target;
    if (resource.group === "" && resource.kind === "Namespace") {
      return selects(objectAt(request.object ?? request.old, "metadata", "labels"));
    }
    if (!resource.namespaced) return true;
    return selects(objectAt(this.#storage.get(NAMESPACES, "", namespace), "metadata", "labels"));
  }

  /** The webhook's response; throws StatusError when it denies, or fails with failurePolicy Fail. */
  async #call(webhook: Webhook, request: AdmissionRequest): Promise<JsonObject> {
    const { spec, name } = webhook;
    const { options } = request;
    if (options.dryRun && !["None", "NoneOnDryRun"].includes(String(spec["sideEffects"]))) {
      throw badRequest(`admission webhook "${name}" does not support dry run`);
    }
    const uid = randomUUID();
    let response: JsonObject;
    try {
      const timeoutSeconds = numberAt(spec, "timeoutSeconds") ?? DEFAULT_TIMEOUT_SECONDS;
      response = await callWebhook(objectAt(spec, "clientConfig") ?? {}, {
        review: reviewOf(request, uid),
        uid,
        timeoutMs: timeoutSeconds * 1000,
      });
    } catch (error) {
      if (!(error instanceof WebhookCallError)) throw error;
      const why = `failed calling webhook "${name}": ${messageOf(error)}`;
      if (spec["failurePolicy"] === "Ignore") {
        this.#logger.warn({ webhook: name, error: messageOf(error) }, "webhook failed, ignored");
        return { allowed: true };
      }
      throw internalError(why);
    }
    options.warnings.push(...arrayAt(response, "warnings").map(String));
    if (response["allowed"] === true) return response;
    throw denial(name, objectAt(response, "status"));
  }
}

function denial(name: string, status: JsonObject | undefined): StatusError {
  const reason = stringAt(status, "reason");
  const message = stringAt(status, "message") ?? "";
  const code = numberAt(status, "code") ?? 0;
  const why =
    message !== "" ? `: ${message}` : reason === undefined ? " without explanation" : `: ${reason}`;
  return new StatusError(
    code >= 400 && code <= 599 ? code : 400,
    reason ?? "BadRequest",
    `admission webhook "${name}" denied the request${why}`,
    objectAt(status, "details"),
  );
}

function patchedBy(webhook: Webhook, response: JsonObject, object: Draft): Draft | undefined {
  const patch = stringAt(response, "patch");
  if (patch === undefined || patch === "") return undefined;
  if (stringAt(response, "patchType") !== "JSONPatch") {
    throw internalError(`admission webhook "${webhook.name}": patchType must be JSONPatch`);
  }
  try {
    const operations: unknown = JSON.parse(Buffer.from(patch, "base64").toString("utf8"));
    const patched = applyJsonPatch(object, operations);
    if (isObject(patched) && isObject(patched["metadata"]))
      return { ...patched, metadata: patched["metadata"] };
  } catch (error) {
    throw internalError(`admission webhook "${webhook.name}": bad patch: ${messageOf(error)}`);
  }
  throw internalError(`admission webhook "${webhook.name}": the patch leaves no object`);
}

function ruleMatches(rule: JsonObject, webhook: JsonObject, request: AdmissionRequest): boolean {
  const { resource, version } = request.target;
  const has = (field: string, value: string): boolean => {
    const list = arrayAt(rule, field);
    return list.includes("*") || list.includes(value);
  };
  if (!has("operations", request.operation) || !has("apiGroups", resource.group)) return false;
  // matchPolicy Equivalent: another version of the same resource counts too.
  const versions =
    webhook["matchPolicy"] === "Exact" ? [version.name] : resource.versions.map((v) => v.name);
  if (!versions.some((v) => has("apiVersions", v))) return false;
  const scope = stringAt(rule, "scope") ?? "*";
  if (scope !== "*" && (scope === "Namespaced") !== resource.namespaced) return false;
  return arrayAt(rule, "resources").some((pattern) => {
    const [plural, subresource] = String(pattern).split("/");
    if (plural !== "*" && plural !== resource.plural) return false;
    if (request.subresource === undefined) return subresource === undefined || pattern === "*/*";
    return subresource === "*" || subresource === request.subresource;
  });
}

/** admission.k8s.io/v1 AdmissionReview. */
function reviewOf(request: AdmissionRequest, uid: string): JsonObject {
  const { target, options, operation } = request;
  const { group, kind, plural } = target.resource;
  const version = target.version.name;
  const source = request.object ?? request.old;
  const metadata = objectAt(source, "metadata");
  const requestResource = { group, version, resource: plural };
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid,
      kind: { group, version, kind },
      resource: requestResource,
      ...(request.subresource === undefined ? {} : { subResource: request.subresource }),
      requestKind: { group, version, kind },
      requestResource,
      ...(request.subresource === undefined ? {} : { requestSubResource: request.subresource }),
      name: stringAt(metadata, "name") ?? "",
      ...(target.namespace === "" ? {} : { namespace: target.namespace }),
      operation,
      userInfo: { username: options.user.name, uid: options.user.uid, groups: options.user.groups },
      object: request.object ?? null,
      oldObject: request.old ?? null,
      dryRun: options.dryRun,
      options: {
        apiVersion: "meta.k8s.io/v1",
        kind: `${operation[0]}${operation.slice(1).toLowerCase()}Options`,
      },
    },
  };
}
