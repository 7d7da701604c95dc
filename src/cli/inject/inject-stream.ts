import { type Document, isSeq, parseDocument } from "yaml";
import type { KubeObject } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import { type InjectionSettings, injectTemplate } from "../../mesh/index.ts";
import { documentParts } from "./document-parts.ts";
import { writeInto } from "./write-into.ts";

export interface InjectedStream {
  /** The stream with sidecars; documents that nothing changed are as they were, byte for byte. */
  readonly text: string;
  /** What was left alone although it makes pods, and deserves a word. */
  readonly warnings: readonly string[];
}

/**
 * Injects sidecars into the resources of a YAML (or JSON) stream that make pods. Lists and resources
 * without a namespace are looked into; whatever makes no pods passes. Throws SERIN_UNREADABLE_INPUT
 * naming the document that is no YAML.
 */
export function injectStream(
  stream: string,
  source: string,
  options: { readonly namespace: string; readonly settings: InjectionSettings },
): InjectedStream {
  const warnings: string[] = [];
  const texts = documentParts(stream).map(({ separator, text }, i) => {
    const document = parseDocument(text);
    const [error] = document.errors;
    if (error !== undefined) {
      const message = `${source}: document ${i + 1}: ${error.message}`;
      throw new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause: error });
    }
    const changed = injectNode(document, [], options, warnings);
    return separator + (changed ? document.toString({ lineWidth: 0, indentSeq: false }) : text);
  });
  return { text: texts.join(""), warnings };
}

/** Whether anything below `path` changed. */
function injectNode(
  document: Document,
  path: readonly (string | number)[],
  options: { readonly namespace: string; readonly settings: InjectionSettings },
  warnings: string[],
): boolean {
  const value: unknown = valueAt(document.toJS(), path);
  if (!isNamedKind(value)) return false;
  const items = document.getIn([...path, "items"]);
  if (value.kind.endsWith("List") && isSeq(items)) {
    const changed = items.items.map((_, i) =>
      injectNode(document, [...path, "items", i], options, warnings),
    );
    return changed.includes(true);
  }
  const metadata = { ...value.metadata, name: value.metadata?.name ?? "" };
  const object: KubeObject = { ...value, metadata };
  const namespace = object.metadata.namespace ?? options.namespace;
  const injection = injectTemplate(object, namespace, options.settings);
  if (injection.kind === "skip" && injection.isWarning) {
    warnings.push(`${object.kind} ${namespace}/${object.metadata.name}: ${injection.reason}`);
  }
  if (injection.kind !== "inject") return false;
  for (const change of injection.changes) {
    writeInto(document, [...path.map(String), ...change.path], change.value);
  }
  return true;
}

function valueAt(value: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined),
    value,
  );
}

interface NamedKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: Partial<KubeObject["metadata"]>;
}

function isNamedKind(value: unknown): value is NamedKind {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof Reflect.get(value, "apiVersion") === "string" &&
    typeof Reflect.get(value, "kind") === "string"
  );
}
