import { columnsOf } from "./columns/by-kind.ts";
import { type JsonObject, objectAt } from "./json.ts";
import type { ResourceInfo, VersionInfo } from "./resource-info.ts";

/** What of the object a table row carries. */
export type IncludeObject = "None" | "Metadata" | "Object";

/** Renders objects as a meta.k8s.io/v1 Table. `withColumns`: later watch events leave them out. */
export function tableOf(
  objects: readonly JsonObject[],
  listMetadata: JsonObject,
  resource: ResourceInfo,
  version: VersionInfo,
  options: {
    readonly includeObject: IncludeObject;
    readonly nowMs: number;
    readonly withColumns?: boolean;
  },
): JsonObject {
  const columns = columnsOf(resource, version);
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: listMetadata,
    columnDefinitions: options.withColumns === false ? null : columns.definitions,
    rows: objects.map((object) => ({
      cells: columns.cells(object, options.nowMs),
      ...(options.includeObject === "None"
        ? {}
        : { object: options.includeObject === "Object" ? object : partialMetadata(object) }),
    })),
  };
}

/** An object's metadata alone (meta.k8s.io/v1 PartialObjectMetadata). */
export function partialMetadata(object: JsonObject): JsonObject {
  return {
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: objectAt(object, "metadata") ?? {},
  };
}
