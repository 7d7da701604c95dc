import type { JsonObject } from "../core/api/json.ts";
import type { User } from "./credentials.ts";
import type { ServedResource } from "./registry.ts";

export type FieldValidation = "Strict" | "Warn" | "Ignore";

/** Where a request goes: a resource in a version, and a namespace ("" = none). */
export interface Target extends ServedResource {
  readonly namespace: string;
}

/** Who writes, and how carefully. */
export interface WriteOptions {
  readonly user: User;
  readonly dryRun: boolean;
  readonly fieldValidation: FieldValidation;
  /** Filled in by the write: each becomes a `Warning` header. */
  readonly warnings: string[];
}

/** DeleteOptions, parsed. */
export interface DeleteOptions {
  readonly propagation: "Background" | "Foreground" | "Orphan" | undefined;
  readonly gracePeriodSeconds: number | undefined;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

/** An object on its way in. */
export type Draft = JsonObject & { metadata: JsonObject };
