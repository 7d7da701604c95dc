import { messageOf } from "../../base/index.ts";
import { isObject } from "../core/api/json.ts";
import { applyJsonPatch, PatchError } from "../core/api/json-patch.ts";
import { applyMergePatch } from "../core/api/merge-patch.ts";
import { badRequest, StatusError, unsupportedMediaType } from "../core/api/status-error.ts";
import { applyStrategicMerge } from "../core/api/strategic-merge.ts";
import type { Target } from "./write-request.ts";
import type { Transform } from "./writer.ts";

export type PatchKind = "json" | "merge" | "strategic";

const MEDIA_TYPES: Readonly<Record<string, PatchKind>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
};

/** Which patch a media type announces; throws StatusError 415 (server-side apply comes later). */
export function patchKindOf(mediaType: string, target: Target): PatchKind {
  const kind = Object.hasOwn(MEDIA_TYPES, mediaType) ? MEDIA_TYPES[mediaType] : undefined;
  const known = Object.keys(MEDIA_TYPES).filter(
    (type) => !target.resource.isCustom || MEDIA_TYPES[type] !== "strategic",
  );
  if (kind === undefined || (kind === "strategic" && target.resource.isCustom)) {
    throw unsupportedMediaType(mediaType, known);
  }
  return kind;
}

/** A patch as a change of the current object. Applying it throws StatusError 422, or 400. */
export function patchTransform(patch: unknown, kind: PatchKind, target: Target): Transform {
  if (kind === "json" ? !Array.isArray(patch) : !isObject(patch)) {
    throw badRequest(
      `error decoding patch: a ${kind} patch must be ${kind === "json" ? "an array" : "an object"}`,
    );
  }
  const apply = (current: object): unknown => {
    try {
      if (kind === "json") return applyJsonPatch(current, patch);
      if (kind === "merge") return applyMergePatch(current, patch);
      return applyStrategicMerge(current, patch, target.version.schema ?? {});
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      throw new StatusError(
        422,
        "Invalid",
        `the server rejected our request due to an error in our request: ${messageOf(error)}`,
      );
    }
  };
  return Object.assign(apply, { patchText: JSON.stringify(patch) });
}
