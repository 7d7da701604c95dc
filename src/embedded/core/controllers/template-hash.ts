import { isObject } from "../api/json.ts";

export const TEMPLATE_HASH_LABEL = "pod-template-hash";
/** No vowels and no look-alikes: names must not spell words (as Kubernetes' SafeEncodeString). */
const SAFE = "bcdfghjklmnpqrstvwxz2456789";

/** The same template gives the same hash; `collisionCount` gives another one when it is taken. */
export function templateHash(template: unknown, collisionCount: number): string {
  let hash = 0x811c9dc5;
  for (const character of canonical(template) + (collisionCount === 0 ? "" : collisionCount)) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return [...String(hash)].map((digit) => SAFE[digit.charCodeAt(0) % SAFE.length]).join("");
}

/** Whether two pod templates are the same, the hash label apart. */
export function isSameTemplate(a: unknown, b: unknown): boolean {
  return canonical(withoutHash(a)) === canonical(withoutHash(b));
}

function withoutHash(template: unknown): unknown {
  if (!isObject(template) || !isObject(template["metadata"])) return template;
  const { metadata } = template;
  const labels = isObject(metadata["labels"]) ? metadata["labels"] : {};
  const { [TEMPLATE_HASH_LABEL]: _, ...rest } = labels;
  return { ...template, metadata: { ...metadata, labels: rest } };
}

/** JSON with sorted fields; fields without content are left out. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? "null";
  const fields = Object.keys(value)
    .filter((key) => !isEmpty(value[key]))
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${fields.join(",")}}`;
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined;
}
