import type { ServerResponse } from "node:http";
import { stringify } from "yaml";
import type { KubeObject } from "../../api/index.ts";
import type { JsonObject } from "../core/api/json.ts";
import type { Representation } from "../core/api/negotiate.ts";
import { groupVersion } from "../core/api/resource-info.ts";
import { type IncludeObject, partialMetadata, tableOf } from "../core/api/table.ts";
import type { Page } from "./list-pages.ts";
import { atVersion, jsonText } from "./served-object.ts";
import type { Target } from "./write-request.ts";

/** What an answer looks like for one client. */
export interface AnswerStyle {
  readonly representation: Representation;
  readonly includeObject: IncludeObject;
  readonly nowMs: number;
}

/** Writes a document as JSON or YAML. */
export function sendDocument(
  response: ServerResponse,
  code: number,
  document: object,
  mediaType: Representation["mediaType"] = "application/json",
): void {
  const text =
    mediaType === "application/yaml"
      ? stringify(document, { aliasDuplicateObjects: false })
      : `${jsonText(document)}\n`;
  sendText(response, code, text, mediaType);
}

/** Writes a text whole. */
export function sendText(
  response: ServerResponse,
  code: number,
  text: string,
  mediaType: string,
): void {
  const body = Buffer.from(text);
  response.writeHead(code, { "content-type": mediaType, "content-length": body.length });
  response.end(body);
}

/** Writes one object in the form the client asked for. */
export function sendObject(
  response: ServerResponse,
  code: number,
  object: KubeObject,
  target: Target,
  style: AnswerStyle,
): void {
  const document = present(object, target, style, true);
  sendDocument(response, code, document, style.representation.mediaType);
}

/** An object as this client wants it; `withColumns` is for Tables. */
export function present(
  object: KubeObject,
  target: Target,
  style: AnswerStyle,
  withColumns: boolean,
): object {
  const served = atVersion(object, target);
  switch (style.representation.kind) {
    case "Object":
      return served;
    case "PartialObjectMetadata":
      return inMetaVersion(partialMetadata(served as unknown as JsonObject), style);
    case "Table": {
      const { resourceVersion } = object.metadata;
      const list = { resourceVersion: resourceVersion ?? "" };
      const rows = [served as unknown as JsonObject];
      const options = { includeObject: style.includeObject, nowMs: style.nowMs, withColumns };
      return inMetaVersion(tableOf(rows, list, target.resource, target.version, options), style);
    }
  }
}

/** Writes a list in the form the client asked for. */
export function sendList(
  response: ServerResponse,
  page: Page,
  target: Target,
  style: AnswerStyle,
): void {
  const metadata = {
    resourceVersion: page.resourceVersion,
    ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  const items = page.items.map((item) => atVersion(item, target));
  const { kind, mediaType } = style.representation;
  if (kind === "Table") {
    const rows = items as unknown as readonly JsonObject[];
    const table = tableOf(rows, metadata, target.resource, target.version, style);
    sendDocument(response, 200, inMetaVersion(table, style), mediaType);
    return;
  }
  if (kind === "PartialObjectMetadata") {
    const list = {
      kind: "PartialObjectMetadataList",
      apiVersion: "meta.k8s.io/v1",
      metadata,
      items: items.map((item) => partialMetadata(item as unknown as JsonObject)),
    };
    sendDocument(response, 200, inMetaVersion(list, style), mediaType);
    return;
  }
  const apiVersion = groupVersion(target.resource.group, target.version.name);
  const list = { kind: target.resource.listKind, apiVersion, metadata, items };
  if (mediaType === "application/yaml") {
    sendDocument(response, 200, list, mediaType);
    return;
  }
  // Joined from the objects' own texts: a list of thousands is not written out anew each time.
  const { items: _items, ...head } = list;
  const text = `${JSON.stringify(head).slice(0, -1)},"items":[${items.map(jsonText).join(",")}]}\n`;
  sendText(response, 200, text, mediaType);
}

function inMetaVersion(document: JsonObject, style: AnswerStyle): JsonObject {
  return { ...document, apiVersion: `meta.k8s.io/${style.representation.version}` };
}
