import type { KubeObject } from "../../api/index.ts";

interface Column {
  readonly header: string;
  /** Path of the value in the object; an absent value is an empty cell. */
  readonly path: readonly string[];
  readonly isWideOnly?: true;
}

/** The printer columns of Flagger's Canary CRD, in its order. */
const COLUMNS: readonly Column[] = [
  { header: "NAME", path: ["metadata", "name"] },
  { header: "STATUS", path: ["status", "phase"] },
  { header: "WEIGHT", path: ["status", "canaryWeight"] },
  { header: "SUSPENDED", path: ["spec", "suspend"], isWideOnly: true },
  { header: "FAILEDCHECKS", path: ["status", "failedChecks"], isWideOnly: true },
  { header: "INTERVAL", path: ["spec", "analysis", "interval"], isWideOnly: true },
  { header: "MIRROR", path: ["spec", "analysis", "mirror"], isWideOnly: true },
  { header: "STEPWEIGHT", path: ["spec", "analysis", "stepWeight"], isWideOnly: true },
  { header: "STEPWEIGHTS", path: ["spec", "analysis", "stepWeights"], isWideOnly: true },
  { header: "MAXWEIGHT", path: ["spec", "analysis", "maxWeight"], isWideOnly: true },
  { header: "LASTTRANSITIONTIME", path: ["status", "lastTransitionTime"] },
];
const NAMESPACE: Column = { header: "NAMESPACE", path: ["metadata", "namespace"] };

/** The table's first row and how to make the others, as `kubectl get canaries [-o wide] [-A]`. */
export function canaryColumns(options: {
  readonly isWide: boolean;
  readonly hasNamespace: boolean;
}): { readonly headers: readonly string[]; readonly row: (canary: KubeObject) => string[] } {
  const columns = [
    ...(options.hasNamespace ? [NAMESPACE] : []),
    ...COLUMNS.filter((column) => options.isWide || column.isWideOnly === undefined),
  ];
  return {
    headers: columns.map((column) => column.header),
    row: (canary) => columns.map((column) => cell(valueAt(canary, column.path))),
  };
}

function valueAt(object: unknown, path: readonly string[]): unknown {
  let value = object;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
