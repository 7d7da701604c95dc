import { type Json, listOf, objectOf } from "../model-object.ts";
import type { WantedCondition } from "./conditions.ts";
import { CONTROLLERS } from "./convert.ts";
import type { ParentStatus, StatusBody } from "./wanted-status.ts";

/**
 * The status to write so that an object has the one it shall have, or undefined when it has it.
 * What others wrote stays: conditions of other types, and the parents that other controllers speak
 * for. A condition that did not change its status keeps the time of its last change. `now`: RFC 3339.
 */
export function mergedStatus(current: unknown, wanted: StatusBody, now: string): Json | undefined {
  const status = objectOf(current);
  switch (wanted.kind) {
    case "class":
      return changed(status, { conditions: conditionsWith(status, wanted.conditions, now) });
    case "gateway": {
      const before = new Map(
        listOf(status["listeners"]).map((each) => [objectOf(each)["name"], objectOf(each)]),
      );
      return changed(status, {
        addresses: wanted.addresses,
        conditions: conditionsWith(status, wanted.conditions, now),
        listeners: wanted.listeners.map((listener) => ({
          ...listener,
          conditions: conditionsWith(before.get(listener.name) ?? {}, listener.conditions, now),
        })),
      });
    }
    case "route":
      return changed(status, { parents: parentsWith(status, wanted.parents, now) });
    default:
      return wanted satisfies never;
  }
}

function parentsWith(
  status: Json,
  wanted: readonly ParentStatus[],
  now: string,
): readonly unknown[] {
  const all = listOf(status["parents"]).map(objectOf);
  const isOurs = (parent: Json): boolean =>
    CONTROLLERS.some((controller) => controller === parent["controllerName"]);
  const ours = new Map(all.filter(isOurs).map((each) => [parentKey(each), each]));
  return [
    ...all.filter((each) => !isOurs(each)),
    ...wanted.map((parent) => ({
      ...parent,
      conditions: conditionsWith(ours.get(parentKey(parent)) ?? {}, parent.conditions, now),
    })),
  ];
}

function parentKey({ parentRef, controllerName }: Json | ParentStatus): string {
  return text([parentRef, controllerName]);
}

function conditionsWith(
  status: Json,
  wanted: readonly WantedCondition[],
  now: string,
): readonly unknown[] {
  const before = listOf(status["conditions"]).map(objectOf);
  const types = new Set<unknown>(wanted.map(({ type }) => type));
  return [
    ...wanted.map((condition) => {
      const old = before.find(({ type }) => type === condition.type);
      const isSame = old?.["status"] === condition.status;
      return { ...condition, lastTransitionTime: isSame ? old?.["lastTransitionTime"] : now };
    }),
    ...before.filter(({ type }) => !types.has(type)),
  ];
}

/** The fields, when any of them is not what is there; that a list is missing is like an empty one. */
function changed(status: Json, fields: Json): Json | undefined {
  const isSame = Object.entries(fields).every(
    ([field, value]) => text(status[field] ?? []) === text(value),
  );
  return isSame ? undefined : fields;
}

/** JSON with sorted keys: the API server may give an object's fields in another order. */
function text(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
