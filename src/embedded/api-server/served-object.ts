import type { KubeObject } from "../../api/index.ts";
import { groupVersion } from "../core/api/resource-info.ts";
import type { ServedResource } from "./registry.ts";

const converted = new WeakMap<KubeObject, KubeObject>();
const texts = new WeakMap<object, string>();

/** A stored object in the version asked for: only apiVersion differs (conversion strategy None). */
export function atVersion(object: KubeObject, target: ServedResource): KubeObject {
  const apiVersion = groupVersion(target.resource.group, target.version.name);
  if (object.apiVersion === apiVersion) return object;
  const known = converted.get(object);
  if (known?.apiVersion === apiVersion) return known;
  const served = Object.freeze({ ...object, apiVersion });
  converted.set(object, served);
  return served;
}

/** An object as JSON text; stored objects never change, so each is written out once. */
export function jsonText(object: object): string {
  let text = texts.get(object);
  if (text === undefined) {
    text = JSON.stringify(object);
    if (Object.isFrozen(object)) texts.set(object, text);
  }
  return text;
}
