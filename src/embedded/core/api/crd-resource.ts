import { arrayAt, type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "./json.ts";
import type { CustomColumn, ResourceInfo, ScaleInfo, VersionInfo } from "./resource-info.ts";
import type { Schema } from "./schema.ts";

/** The resource that a valid CustomResourceDefinition declares. */
export function resourceOfDefinition(definition: JsonObject): ResourceInfo {
  const spec = objectAt(definition, "spec") ?? {};
  const names = objectAt(spec, "names") ?? {};
  const kind = stringAt(names, "kind") ?? "";
  const versions = objectsAt(spec, "versions");
  const storage = versions.find((version) => version["storage"] === true);
  return {
    group: stringAt(spec, "group") ?? "",
    kind,
    listKind: stringAt(names, "listKind") ?? `${kind}List`,
    plural: stringAt(names, "plural") ?? "",
    singular: stringAt(names, "singular") ?? kind.toLowerCase(),
    shortNames: arrayAt(names, "shortNames").map(String),
    categories: arrayAt(names, "categories").map(String),
    namespaced: stringAt(spec, "scope") === "Namespaced",
    versions: versions.map(versionOf),
    storageVersion: stringAt(storage, "name") ?? "",
    isCustom: true,
    rules: {},
    otherSubresources: [],
  };
}

function versionOf(version: JsonObject): VersionInfo {
  const scale = objectAt(version, "subresources", "scale");
  return {
    name: stringAt(version, "name") ?? "",
    served: version["served"] === true,
    schema: (objectAt(version, "schema", "openAPIV3Schema") ?? { type: "object" }) as Schema,
    columns: objectsAt(version, "additionalPrinterColumns").map(columnOf),
    hasStatus: objectAt(version, "subresources", "status") !== undefined,
    ...(scale === undefined ? {} : { scale: scaleOf(scale) }),
  };
}

function columnOf(column: JsonObject): CustomColumn {
  return {
    name: stringAt(column, "name") ?? "",
    type: stringAt(column, "type") ?? "string",
    format: stringAt(column, "format") ?? "",
    description: stringAt(column, "description") ?? "",
    priority: numberAt(column, "priority") ?? 0,
    jsonPath: stringAt(column, "jsonPath") ?? "",
  };
}

function scaleOf(scale: JsonObject): ScaleInfo {
  const labelSelectorPath = stringAt(scale, "labelSelectorPath");
  return {
    specReplicasPath: stringAt(scale, "specReplicasPath") ?? ".spec.replicas",
    statusReplicasPath: stringAt(scale, "statusReplicasPath") ?? ".status.replicas",
    ...(labelSelectorPath === undefined ? {} : { labelSelectorPath }),
  };
}

/** The status that accepts a definition: names and the conditions NamesAccepted and Established. */
export function establishedStatus(definition: JsonObject, now: string): JsonObject {
  const storage = objectsAt(definition, "spec", "versions").find((v) => v["storage"] === true);
  const condition = (type: string, reason: string, message: string): JsonObject => ({
    type,
    status: "True",
    lastTransitionTime: now,
    reason,
    message,
  });
  return {
    acceptedNames: objectAt(definition, "spec", "names") ?? {},
    storedVersions: [stringAt(storage, "name") ?? ""],
    conditions: [
      condition("NamesAccepted", "NoConflicts", "no conflicts found"),
      condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ],
  };
}
