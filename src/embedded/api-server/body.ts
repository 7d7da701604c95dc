import type { IncomingMessage } from "node:http";
import { parse } from "yaml";
import { messageOf } from "../../base/index.ts";
import { badRequest, StatusError, unsupportedMediaType } from "../core/api/status-error.ts";

/** As kube-apiserver. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;
const DOCUMENTS = ["application/json", "application/yaml"];

/** Reads a whole body; throws StatusError 413. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) {
      throw new StatusError(
        413,
        "RequestEntityTooLarge",
        `Request entity too large: limit is ${MAX_BODY_BYTES}`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The media type of a request without its parameters. */
export function mediaTypeOf(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/**
 * The document a request carries; undefined when it carries none. Throws StatusError 400 for
 * malformed text, 415 for types this server does not read (protobuf comes later).
 */
export async function readDocumentBody(request: IncomingMessage): Promise<unknown> {
  const mediaType = mediaTypeOf(request);
  const text = await readBody(request);
  if (text === "") return undefined;
  if (mediaType === "" || mediaType === "application/json") return parseJson(text);
  if (mediaType === "application/yaml") return parseYaml(text);
  throw unsupportedMediaType(mediaType, DOCUMENTS);
}

/** Throws StatusError 400. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the object provided is not valid JSON: ${messageOf(error)}`);
  }
}

/** Throws StatusError 400. */
export function parseYaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw badRequest(`the object provided is not valid YAML: ${messageOf(error)}`);
  }
}
