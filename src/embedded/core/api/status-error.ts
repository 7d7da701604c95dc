import { type FieldError, formatFieldError } from "./field-error.ts";
import type { JsonObject } from "./json.ts";

/** How a resource is called in messages: `deployments.apps`, or `pods` in the core group. */
export interface GroupResource {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

/** An answer other than success, as the API words it (meta/v1 Status). */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;

  constructor(code: number, reason: string, message: string, details?: JsonObject) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The body of the HTTP answer. */
  toStatus(): JsonObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

/** `deployments.apps`, or `pods`. */
export function qualifiedName(resource: GroupResource): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

const detailsOf = (resource: GroupResource, name: string): JsonObject => ({
  ...(name === "" ? {} : { name }),
  ...(resource.group === "" ? {} : { group: resource.group }),
  kind: resource.plural,
});

/** 404: no such object. */
export function notFound(resource: GroupResource, name: string): StatusError {
  const message = `${qualifiedName(resource)} "${name}" not found`;
  return new StatusError(404, "NotFound", message, detailsOf(resource, name));
}

/** 404: no such path; worded as kubectl expects it. */
export function noSuchPath(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

/** 409: the name is taken. */
export function alreadyExists(resource: GroupResource, name: string): StatusError {
  const message = `${qualifiedName(resource)} "${name}" already exists`;
  return new StatusError(409, "AlreadyExists", message, detailsOf(resource, name));
}

/** 409: the resourceVersion is not the current one, or a precondition does not hold. */
export function conflict(
  resource: GroupResource,
  name: string,
  why = "the object has been modified; please apply your changes to the latest version and try again",
): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, detailsOf(resource, name));
}

/** 422: every wrong field with its path. */
export function invalid(
  resource: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): StatusError {
  const qualified = resource.group === "" ? resource.kind : `${resource.kind}.${resource.group}`;
  const texts = [...new Set(errors.map((e) => `${e.field}: ${formatFieldError(e)}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return new StatusError(422, "Invalid", `${qualified} "${name}" is invalid: ${list}`, {
    name,
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.kind,
    causes: errors.map((e) => ({
      reason: e.reason,
      message: formatFieldError(e),
      field: e.field,
    })),
  });
}

/** 400: the request cannot be understood. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

/** 401: no token, or one that does not hold. */
export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

/** 403 about an object. */
export function forbidden(resource: GroupResource, name: string, why: string): StatusError {
  const subject = `${qualifiedName(resource)}${name === "" ? "" : ` "${name}"`}`;
  const details = detailsOf(resource, name);
  return new StatusError(403, "Forbidden", `${subject} is forbidden: ${why}`, details);
}

/** 405: the resource has no such verb. */
export function methodNotAllowed(): StatusError {
  const message = "the server does not allow this method on the requested resource";
  return new StatusError(405, "MethodNotAllowed", message, {});
}

/** 406: no representation that the client accepts. */
export function notAcceptable(offered: readonly string[]): StatusError {
  const message = `only the following media types are accepted: ${offered.join(", ")}`;
  return new StatusError(406, "NotAcceptable", message);
}

/** 415: a body that this server does not read. */
export function unsupportedMediaType(found: string, allowed: readonly string[]): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${allowed.join(", ")} (found ${found === "" ? "none" : found})`;
  return new StatusError(415, "UnsupportedMediaType", message);
}

/** 410: the version asked for is older than the history kept. */
export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", message);
}

/** 500: our fault, or a webhook's that could not be called. */
export function internalError(message: string): StatusError {
  return new StatusError(500, "InternalError", `Internal error occurred: ${message}`, {
    causes: [{ message }],
  });
}
