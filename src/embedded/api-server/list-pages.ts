import { randomUUID } from "node:crypto";
import type { KubeObject } from "../../api/index.ts";
import { badRequest, expired, invalid, StatusError } from "../core/api/status-error.ts";

/** One page of a list. */
export interface Page {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
  readonly continueToken: string | undefined;
  readonly remaining: number | undefined;
}

interface Rest {
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
}

/** Lists begun and not ended: more than this many are forgotten, the oldest first. */
const MAX_OPEN_LISTS = 200;

/**
 * `limit` and `continue`: every page of a list comes from the state of its first page, which is
 * kept (objects never change, so it costs references only).
 */
export class ListPages {
  readonly #open = new Map<string, Rest>();

  /** The first page. `limit` 0 = everything. */
  first(items: readonly KubeObject[], resourceVersion: string, limit: number): Page {
    return this.#page({ items, resourceVersion }, limit);
  }

  /** The page that a token stands for; throws StatusError 410 when the list is forgotten. */
  next(token: string, limit: number): Page {
    const rest = this.#open.get(token);
    if (rest === undefined) {
      throw expired(
        "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
      );
    }
    return this.#page(rest, limit);
  }

  #page(rest: Rest, limit: number): Page {
    const { items, resourceVersion } = rest;
    if (limit === 0 || items.length <= limit) {
      return { items, resourceVersion, continueToken: undefined, remaining: undefined };
    }
    const left = items.slice(limit);
    const token = randomUUID();
    this.#open.set(token, { items: left, resourceVersion });
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= MAX_OPEN_LISTS) break;
      this.#open.delete(oldest);
    }
    return {
      items: items.slice(0, limit),
      resourceVersion,
      continueToken: token,
      remaining: left.length,
    };
  }
}

/** Reads a whole number of a query; throws StatusError 400. */
export function parseCount(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? "";
  if (text === "") return 0;
  if (!/^\d+$/.test(text))
    throw badRequest(`${name} must be a whole number (found ${JSON.stringify(text)})`);
  return Number(text);
}

/**
 * Checks `resourceVersion` and `resourceVersionMatch` of a list: this server always answers with
 * the newest state, which every version but an older Exact one allows.
 */
export function checkListVersion(query: URLSearchParams, current: number): void {
  const version = query.get("resourceVersion") ?? "";
  const match = query.get("resourceVersionMatch") ?? "";
  if (match !== "" && version === "") {
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      {
        reason: "FieldValueForbidden",
        field: "resourceVersionMatch",
        detail: "resourceVersionMatch is forbidden unless resourceVersion is provided",
      },
    ]);
  }
  if (version === "" || version === "0") return;
  if (!/^\d+$/.test(version))
    throw badRequest(`Invalid value: ${JSON.stringify(version)}: resourceVersion must be a number`);
  if (Number(version) > current) {
    throw new StatusError(
      504,
      "Timeout",
      `Too large resource version: ${version}, current: ${current}`,
      {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    );
  }
  if (match === "Exact" && Number(version) !== current) {
    throw expired(`The resourceVersion for the provided list is too old.`);
  }
}
