import { isObject } from "./json.ts";

type Step =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "all" }
  | { readonly kind: "filter"; readonly path: readonly string[]; readonly equals: unknown };

/**
 * Evaluates the JSON paths that printer columns use: `.spec.replicas`, `.a[0]`, `.a[*].b`,
 * `.metadata.labels.x\.y`, `.status.conditions[?(@.type=="Ready")].status`. Returns every match;
 * none when the path cannot be read.
 */
export function evaluateJsonPath(path: string, document: unknown): readonly unknown[] {
  const steps = parse(path);
  if (steps === undefined) return [];
  let current: readonly unknown[] = [document];
  for (const step of steps) current = current.flatMap((value) => follow(value, step));
  return current;
}

function follow(value: unknown, step: Step): readonly unknown[] {
  switch (step.kind) {
    case "field":
      return isObject(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
    case "index": {
      const found = Array.isArray(value) ? value.at(step.index) : undefined;
      return found === undefined ? [] : [found];
    }
    case "all":
      return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    case "filter":
      return (Array.isArray(value) ? value : []).filter((item) => {
        let inner: unknown = item;
        for (const name of step.path) inner = isObject(inner) ? inner[name] : undefined;
        return inner === step.equals;
      });
  }
}

const STEP =
  /\.((?:[^.[\\\]]|\\.)+)|\[(-?\d+)\]|\[(\*)\]|\['((?:[^'\\]|\\.)+)'\]|\["((?:[^"\\]|\\.)+)"\]|\[\?\(\s*@((?:\.[\w-]+)+)\s*==\s*("[^"]*"|'[^']*'|[\w.]+)\s*\)\]/y;

function parse(text: string): readonly Step[] | undefined {
  const inner = text.trim().replace(/^\{(.*)\}$/, "$1");
  const path = inner.startsWith(".") || inner.startsWith("[") ? inner : `.${inner}`;
  if (path === ".") return [];
  const steps: Step[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < path.length) {
    const match = STEP.exec(path);
    if (match === null) return undefined;
    const name = match[1] ?? match[4] ?? match[5];
    if (name === "*" || match[3] !== undefined) steps.push({ kind: "all" });
    else if (name !== undefined) {
      steps.push({ kind: "field", name: name.replaceAll(/\\(.)/g, "$1") });
    } else if (match[2] !== undefined) steps.push({ kind: "index", index: Number(match[2]) });
    else if (match[6] !== undefined && match[7] !== undefined) {
      steps.push({ kind: "filter", path: match[6].slice(1).split("."), equals: literal(match[7]) });
    }
  }
  return steps;
}

function literal(text: string): unknown {
  if (/^["']/.test(text)) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  return Number(text);
}
