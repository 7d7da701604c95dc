import { stringify } from "yaml";
import type { KubeObject } from "../../api/index.ts";

/** YAML 1.1 as kubectl writes: what a 1.1 reader takes for a time or a boolean is quoted, nothing folded. */
const YAML = { sortMapEntries: true, version: "1.1", indentSeq: false, lineWidth: 0 } as const;

/** Output formats of a document. */
export type DocumentFormat = "json" | "yaml";

/** An object as `kubectl get -o json|yaml` prints it. */
export function formatDocument(object: unknown, format: DocumentFormat): string {
  return format === "json" ? `${JSON.stringify(object, undefined, 4)}\n` : stringify(object, YAML);
}

/** Several objects as one, kubectl's client-side `List`. */
export function listOf(items: readonly KubeObject[]): unknown {
  return { apiVersion: "v1", items, kind: "List", metadata: { resourceVersion: "" } };
}
