import type { JsonObject } from "../json.ts";

/** A column of a Table (meta/v1 TableColumnDefinition); priority 1 shows only with `-o wide`. */
export interface ColumnDefinition {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

/** How objects of one kind look in a table. */
export interface TableColumns {
  readonly definitions: readonly ColumnDefinition[];
  readonly cells: (object: JsonObject, nowMs: number) => readonly unknown[];
}

/** The first column of every kind. */
export const NAME_COLUMN: ColumnDefinition = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name must be unique within a namespace.",
  priority: 0,
};

/** A column that is always shown. */
export function column(name: string, type = "string"): ColumnDefinition {
  return { name, type, format: "", description: `${name} of the object`, priority: 0 };
}

/** A column of `-o wide`. */
export function wideColumn(name: string, type = "string"): ColumnDefinition {
  return { ...column(name, type), priority: 1 };
}
