import { ageSince } from "../age.ts";
import { isObject, stringAt } from "../json.ts";
import { evaluateJsonPath } from "../json-path.ts";
import type { CustomColumn } from "../resource-info.ts";
import { NAME_COLUMN, type TableColumns } from "./table-columns.ts";

const AGE: CustomColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

/** Columns that a CustomResourceDefinition declares; none = name and age. */
export function customColumns(declared: readonly CustomColumn[]): TableColumns {
  const columns = declared.length === 0 ? [AGE] : declared;
  return {
    definitions: [
      NAME_COLUMN,
      ...columns.map((c) => ({
        name: c.name,
        type: c.type,
        format: c.format ?? "",
        description: c.description ?? "",
        priority: c.priority ?? 0,
      })),
    ],
    cells: (object, nowMs) => [
      stringAt(object, "metadata", "name"),
      ...columns.map((c) => cell(c, evaluateJsonPath(c.jsonPath, object), nowMs)),
    ],
  };
}

function cell(column: CustomColumn, found: readonly unknown[], nowMs: number): unknown {
  const first = found[0];
  if (first === undefined || first === null) return null;
  switch (column.type) {
    case "integer":
      return typeof first === "number" ? Math.trunc(first) : null;
    case "number":
      return typeof first === "number" ? first : null;
    case "boolean":
      return typeof first === "boolean" ? first : null;
    case "date":
      return typeof first === "string" ? ageSince(first, nowMs) : "<invalid>";
    default:
      return found.map(textOf).join(",");
  }
}

function textOf(value: unknown): string {
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}
