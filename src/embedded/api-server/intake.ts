import { defaultCustomResource, pruneCustomResource } from "../core/api/custom-resource.ts";
import { type Decoded, DecodeError, decodeBuiltIn } from "../core/api/decode-built-in.ts";
import { isObject, type JsonObject, objectAt, setField } from "../core/api/json.ts";
import { groupVersion } from "../core/api/resource-info.ts";
import { badRequest, invalid } from "../core/api/status-error.ts";
import { builtInSchema } from "./built-in-schemas.ts";
import type { ServedResource } from "./registry.ts";
import type { Draft, Target, WriteOptions } from "./write-request.ts";

/**
 * Reads a document sent for a target: kind and namespace must fit, unknown fields are refused,
 * warned about or dropped as `fieldValidation` says. Returns a draft of the served version's own.
 * Throws StatusError 400; `patch` is the text of the patch that led here, which words it as 422.
 */
export function readDocument(
  body: unknown,
  target: Target,
  options: Pick<WriteOptions, "fieldValidation" | "warnings">,
  patch?: string,
): Draft {
  if (!isObject(body)) throw badRequest("the body of the request must be an object");
  const document = withEnvelope(body, target);
  const { value, unknown } = decode(document, target, patch);
  const complaints = unknown.map((path) => `unknown field "${path}"`);
  if (complaints.length > 0 && options.fieldValidation === "Strict") {
    throw undecodable(target, `strict decoding error: ${complaints.join(", ")}`, patch);
  }
  if (options.fieldValidation === "Warn") options.warnings.push(...complaints);
  const metadata = objectAt(value, "metadata") ?? {};
  // Field ownership comes with server-side apply; until then none is claimed.
  delete metadata["managedFields"];
  const namespace = metadata["namespace"] ?? "";
  if (target.resource.namespaced) {
    if (namespace !== "" && namespace !== target.namespace) {
      throw badRequest(
        "the namespace of the provided object does not match the namespace sent on the request",
      );
    }
    metadata["namespace"] = target.namespace;
  } else delete metadata["namespace"];
  return { ...value, metadata };
}

/** apiVersion and kind, taken from the path where absent, and in their usual place. */
function withEnvelope(body: JsonObject, target: Target): JsonObject {
  const apiVersion = groupVersion(target.resource.group, target.version.name);
  const found = {
    apiVersion: body["apiVersion"] ?? apiVersion,
    kind: body["kind"] ?? target.resource.kind,
  };
  if (found.kind !== target.resource.kind) {
    throw badRequest(
      `${String(found.kind)} in version ${JSON.stringify(versionPart(found.apiVersion))} cannot be handled as a ${target.resource.kind}: the kind in the data does not match the resource of the request`,
    );
  }
  if (found.apiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${String(found.apiVersion)}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (body["metadata"] !== undefined && body["metadata"] !== null && !isObject(body["metadata"])) {
    throw badRequest("metadata must be an object");
  }
  return {
    apiVersion,
    kind: target.resource.kind,
    ...withoutEnvelope(body),
    metadata: body["metadata"] ?? {},
  };
}

function withoutEnvelope(body: JsonObject): JsonObject {
  const rest: JsonObject = {};
  for (const [field, value] of Object.entries(body)) {
    if (field !== "apiVersion" && field !== "kind" && field !== "metadata")
      setField(rest, field, value);
  }
  return rest;
}

function versionPart(apiVersion: unknown): string {
  return String(apiVersion).split("/").at(-1) ?? "";
}

function decode(document: JsonObject, target: Target, patch: string | undefined): Decoded {
  const schema = target.version.schema ?? {};
  try {
    if (!target.resource.isCustom) return decodeBuiltIn(document, schema);
    const metadata = decodeBuiltIn(
      { metadata: document["metadata"] },
      { type: "object", properties: { metadata: builtInSchema("V1ObjectMeta") } },
    );
    const pruned = pruneCustomResource({ ...structuredClone(document), ...metadata.value }, schema);
    return { value: pruned.value, unknown: [...metadata.unknown, ...pruned.unknown] };
  } catch (error) {
    if (error instanceof DecodeError) throw undecodable(target, error.message, patch);
    throw error;
  }
}

function undecodable(target: ServedResource, why: string, patch: string | undefined): Error {
  if (patch !== undefined) {
    return invalid({ group: "", kind: "" }, "", [
      { reason: "FieldValueInvalid", field: "patch", value: patch, detail: why },
    ]);
  }
  const { kind } = target.resource;
  return badRequest(
    `${kind} in version "${target.version.name}" cannot be handled as a ${kind}: ${why}`,
  );
}

/** Fills in what the kind or the definition's schema leaves to the server. */
export function applyDefaults(draft: Draft, target: ServedResource): Draft {
  if (target.resource.isCustom) {
    const defaulted = defaultCustomResource(draft, target.version.schema ?? {});
    return { ...defaulted, metadata: draft.metadata };
  }
  target.resource.rules.applyDefaults?.(draft);
  return draft;
}
