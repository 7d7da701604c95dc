import type { OperatorOptions } from "../format-operators.ts";
import { parseFormatString } from "../format-string.ts";
import type { AccessLogRecord } from "../runtime-config.ts";

/** Makes a text of what is known about a request. */
export type TextFormat = (record: AccessLogRecord) => string;

/** Compiles a text with command operators; those without a value print nothing. */
export function compileText(
  format: string,
  options: OperatorOptions,
  fail: (message: string) => void,
): TextFormat {
  const parts = parseFormatString(format, options, fail);
  return (record) => {
    let text = "";
    for (const part of parts) text += typeof part === "string" ? part : (part(record) ?? "");
    return text;
  };
}
