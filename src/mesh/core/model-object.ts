import type { KubeObject } from "../../api/index.ts";

/** One thing that a resource says and that does not happen; an invalid resource is left out. */
export interface ModelProblem {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly message: string;
}

/** Collects problems while a model is built. */
export interface ProblemLog {
  report(object: KubeObject, message: string): void;
  /** Adds what another log collected. */
  take(problems: readonly ModelProblem[]): void;
  readonly problems: readonly ModelProblem[];
}

export function createProblemLog(): ProblemLog {
  const problems: ModelProblem[] = [];
  return {
    problems,
    report(object, message) {
      const { namespace = "", name } = object.metadata;
      problems.push({ kind: object.kind, namespace, name, message });
    },
    take(others) {
      problems.push(...others);
    },
  };
}

export type Json = Readonly<Record<string, unknown>>;

/** The value as an object; anything else reads as an empty one. */
export function objectOf(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

/** The value as a list; anything else reads as an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A TCP port; undefined for anything else. */
export function portOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535
    ? value
    : undefined;
}

/** Labels; values that are not text are left out. */
export function labelsOf(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(objectOf(value));
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

/**
 * Oldest first, then by namespace and name: Istio's order of precedence, and the same whatever
 * order a watch gave the objects in.
 */
export function byAge(objects: readonly KubeObject[]): readonly KubeObject[] {
  return objects.toSorted(
    (a, b) =>
      compare(a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? "") ||
      compare(a.metadata.namespace ?? "", b.metadata.namespace ?? "") ||
      compare(a.metadata.name, b.metadata.name),
  );
}

/** Order by code unit, the same on every machine. */
export function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
