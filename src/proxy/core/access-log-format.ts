import { type OperatorOptions, operatorText } from "./format-operators.ts";
import { parseFormatString } from "./format-string.ts";
import type { AccessLogRecord } from "./runtime-config.ts";

/** Envoy's default access log format. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ' +
  "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% " +
  '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** How records become lines. */
export interface FormatOptions extends OperatorOptions {
  /** What has no value is left out, instead of `-` in texts and null in JSON. */
  readonly omitEmpty: boolean;
}

/** Compiles a text format; empty values print as `-`. `fail` is told of unknown operators. */
export function compileTextFormat(
  format: string,
  options: FormatOptions,
  fail: (message: string) => void,
): (record: AccessLogRecord) => string {
  const parts = parseFormatString(format, options, fail);
  const nothing = options.omitEmpty ? "" : "-";
  return (record) => {
    let line = "";
    for (const part of parts) {
      if (typeof part === "string") line += part;
      else line += operatorText(part(record)) ?? nothing;
    }
    return line;
  };
}

/**
 * Compiles a JSON format: a value that is exactly one operator keeps its type and is null when
 * empty; anything else is text. Keys are sorted, as Envoy writes them. One line per record.
 */
export function compileJsonFormat(
  format: Readonly<Record<string, unknown>>,
  options: FormatOptions,
  fail: (message: string) => void,
): (record: AccessLogRecord) => string {
  const render = compileJsonObject(format, options, fail);
  return (record) => `${JSON.stringify(render(record))}\n`;
}

type JsonRender = (record: AccessLogRecord) => unknown;

function compileJsonObject(
  format: Readonly<Record<string, unknown>>,
  options: FormatOptions,
  fail: (message: string) => void,
): (record: AccessLogRecord) => Readonly<Record<string, unknown>> {
  const fields = Object.keys(format)
    .sort()
    .map((key) => [key, compileJsonValue(format[key], options, fail)] as const);
  return (record) => {
    const out: Record<string, unknown> = {};
    for (const [key, render] of fields) {
      const value = render(record);
      if (value !== null || !options.omitEmpty) out[key] = value;
    }
    return out;
  };
}

function compileJsonValue(
  value: unknown,
  options: FormatOptions,
  fail: (message: string) => void,
): JsonRender {
  if (Array.isArray(value)) {
    const items = value.map((item) => compileJsonValue(item, options, fail));
    return (record) => {
      const list = items.map((render) => render(record));
      return options.omitEmpty ? list.filter((item) => item !== null) : list;
    };
  }
  if (typeof value === "object" && value !== null) {
    const render = compileJsonObject(value as Readonly<Record<string, unknown>>, options, fail);
    if (!options.omitEmpty) return render;
    return (record) => {
      const object = render(record);
      return Object.keys(object).length === 0 ? null : object;
    };
  }
  if (typeof value !== "string") return () => value;
  const parts = parseFormatString(value, options, fail);
  const only = parts[0];
  if (parts.length === 1 && typeof only === "function") {
    return (record) => {
      const single = only(record);
      return single === undefined ? null : single;
    };
  }
  return compileTextFormat(value, options, fail);
}
