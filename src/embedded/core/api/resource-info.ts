import type { FieldError } from "./field-error.ts";
import type { JsonObject } from "./json.ts";
import type { Schema } from "./schema.ts";

/** A printer column of a CustomResourceDefinition. */
export interface CustomColumn {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  readonly priority?: number;
  readonly jsonPath: string;
}

/** The `scale` subresource: where in the object its parts are, as JSON paths (`.spec.replicas`). */
export interface ScaleInfo {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath?: string;
}

/** One served version of a resource. */
export interface VersionInfo {
  readonly name: string;
  readonly served: boolean;
  readonly schema?: Schema;
  /** Custom resources: what Tables show; empty = name and age. */
  readonly columns: readonly CustomColumn[];
  readonly hasStatus: boolean;
  readonly scale?: ScaleInfo;
}

/** What is special about a built-in kind. Drafts are changed in place. */
export interface KindRules {
  readonly applyDefaults?: (draft: JsonObject) => void;
  /** Beyond metadata, which every kind has. */
  readonly validate?: (object: JsonObject) => readonly FieldError[];
  readonly validateUpdate?: (next: JsonObject, old: JsonObject) => readonly FieldError[];
  readonly nameProblem?: (name: string) => string | undefined;
}

/** A REST resource: how it is called, which versions it has, and its rules. */
export interface ResourceInfo {
  readonly group: string;
  readonly kind: string;
  readonly listKind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly versions: readonly VersionInfo[];
  readonly storageVersion: string;
  readonly isCustom: boolean;
  readonly rules: KindRules;
  /** Subresources besides status and scale, for discovery: `log`, `eviction`, `token`. */
  readonly otherSubresources: readonly string[];
}

/** The key a resource is stored under: `apps/deployments`, `/pods`. */
export function storageKey(resource: { readonly group: string; readonly plural: string }): string {
  return `${resource.group}/${resource.plural}`;
}

/** A version of a resource by its name, when it is served. */
export function servedVersion(resource: ResourceInfo, name: string): VersionInfo | undefined {
  return resource.versions.find((version) => version.name === name && version.served);
}

/** `v1`, or `apps/v1`. */
export function groupVersion(group: string, version: string): string {
  return group === "" ? version : `${group}/${version}`;
}
