import { type OperatorOptions, type OperatorValue, operatorText } from "./format-operators.ts";
import { parseFormatString } from "./format-string.ts";
import type { AccessLogRecord } from "./runtime-config.ts";

/**
 * Compiles a header value with command operators: a text when it has none, else a function; operators
 * without a value print nothing. Either gives one byte per character, UTF-8 where it is not ASCII.
 * `fail` is told what is wrong with the format.
 */
export function compileHeaderFormat(
  format: string,
  options: OperatorOptions,
  fail: (message: string) => void,
): string | ((record: AccessLogRecord) => string) {
  const parts = parseFormatString(format, options, fail).map((part) =>
    typeof part === "string" ? wireText(part) : part,
  );
  const texts = parts.filter((part) => typeof part === "string");
  if (texts.length === parts.length) return texts.join("");
  return (record) => {
    let value = "";
    for (const part of parts) value += typeof part === "string" ? part : fieldText(part(record));
    return value;
  };
}

/** A value as it may stand in a field: what a token claims must not end the line. */
function fieldText(operand: OperatorValue): string {
  if (operand === undefined) return "";
  if (typeof operand === "number") return String(operand);
  const value = operatorText(operand) ?? "";
  const line = /[\0\r\n]/.test(value) ? value.replaceAll(/[\0\r\n]/g, " ") : value;
  return /[^\0-\xff]/.test(line) ? wireText(line) : line;
}

function wireText(value: string): string {
  return Buffer.from(value, "utf8").toString("latin1");
}
