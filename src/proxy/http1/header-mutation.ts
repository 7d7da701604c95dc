import type {
  AccessLogRecord,
  HeaderEdit,
  HeaderEdits,
  HeaderMutation,
} from "../config/runtime-config.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";

/** Applies a mutation. Values with operators are made of `record` as it is now. */
export function mutateHeaders(
  headers: HeaderBlock,
  mutation: HeaderMutation,
  record: AccessLogRecord,
): void {
  for (const level of mutation) applyLevel(headers, level, record);
}

function applyLevel(headers: HeaderBlock, level: HeaderEdits, record: AccessLogRecord): void {
  for (const name of level.remove) headers.remove(name);
  if (level.isPlain) {
    for (const edit of level.edits) write(headers, edit, String(edit.value));
    return;
  }
  // As Envoy: every value is of the time before this level writes the first of its own.
  const values = level.edits.map((edit) => editValue(edit, headers, record));
  for (const [index, edit] of level.edits.entries()) {
    const value = values[index];
    if (value !== undefined) write(headers, edit, value);
  }
}

function editValue(
  { name, value, when, keepsEmpty }: HeaderEdit,
  headers: HeaderBlock,
  record: AccessLogRecord,
): string | undefined {
  if (when !== "always" && headers.has(name) !== (when === "present")) return undefined;
  const text = typeof value === "string" ? value : value(record);
  return text === "" && !keepsEmpty ? undefined : text;
}

function write(headers: HeaderBlock, { name, isOverwrite }: HeaderEdit, value: string): void {
  if (isOverwrite) headers.set(name, value);
  else headers.add(name, value);
}
