import {
  durationToMs,
  type envoy_config_accesslog_v3_AccessLog,
  type envoy_config_core_v3_SubstitutionFormatString,
  type google_protobuf_Duration,
  structToJson,
  unpackAny,
} from "../../../xds/index.ts";
import { compileJsonFormat, compileTextFormat, DEFAULT_FORMAT } from "../access-log-format.ts";
import type { AccessLogConfig } from "../runtime-config.ts";
import { compileAccessLogFilter } from "./access-log-filter.ts";
import type { CompileContext } from "./data-source.ts";
import type { Scope } from "./scope.ts";

const FILE = "envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";

/** Compiles access loggers: files and the process's streams, as text or JSON. */
export function compileAccessLogs(
  logs: readonly envoy_config_accesslog_v3_AccessLog[],
  context: CompileContext,
  scope: Scope,
): readonly AccessLogConfig[] {
  return logs.flatMap((log, i) => {
    const config = compileOne(log, context, scope.at(i, "typed_config"));
    if (config === undefined || !log.filter) return config ?? [];
    return { ...config, filter: compileAccessLogFilter(log.filter, scope.at(i, "filter")) };
  });
}

/** Milliseconds between the lines about one request or connection; 0 = none. */
export function compileFlushInterval(
  interval: google_protobuf_Duration | null | undefined,
  scope: Scope,
): number {
  const ms = durationToMs(interval);
  if (ms === undefined) return 0;
  if (ms < 1) scope.at("access_log_flush_interval").fail("must be at least 0.001s");
  return ms;
}

function compileOne(
  log: envoy_config_accesslog_v3_AccessLog,
  context: CompileContext,
  scope: Scope,
): AccessLogConfig | undefined {
  const file = unpackAny(FILE, log.typed_config);
  if (file !== undefined) {
    if (!file.path) scope.at("path").fail("must not be empty");
    const path = file.path ?? "";
    if (typeof file.format === "string") {
      return { path, format: textFormat(file.format, false, context, scope.at("format")) };
    }
    const json = file.json_format ?? file.typed_json_format;
    if (json) return { path, format: jsonFormat(structToJson(json), false, context, scope) };
    return { path, format: compileFormat(file.log_format, context, scope.at("log_format")) };
  }
  for (const [name, path] of [
    [STDOUT, "/dev/stdout"],
    [STDERR, "/dev/stderr"],
  ] as const) {
    const stream = unpackAny(name, log.typed_config);
    if (stream !== undefined) {
      return { path, format: compileFormat(stream.log_format, context, scope.at("log_format")) };
    }
  }
  scope.fail(`access logger ${log.typed_config?.type_url ?? log.name ?? ""} is not supported`);
  return undefined;
}

function compileFormat(
  format: envoy_config_core_v3_SubstitutionFormatString | null | undefined,
  context: CompileContext,
  scope: Scope,
): AccessLogConfig["format"] {
  const omitEmpty = format?.omit_empty_values ?? false;
  if (format?.json_format) {
    return jsonFormat(
      structToJson(format.json_format),
      omitEmpty,
      context,
      scope.at("json_format"),
    );
  }
  if (typeof format?.text_format === "string") {
    return textFormat(format.text_format, omitEmpty, context, scope.at("text_format"));
  }
  const source = format?.text_format_source;
  if (source) {
    if (typeof source.inline_string === "string") {
      return textFormat(
        source.inline_string,
        omitEmpty,
        context,
        scope.at("text_format_source", "inline_string"),
      );
    }
    scope.at("text_format_source").fail("only inline_string is supported");
  }
  return textFormat(DEFAULT_FORMAT, omitEmpty, context, scope);
}

function textFormat(
  text: string,
  omitEmpty: boolean,
  context: CompileContext,
  scope: Scope,
): AccessLogConfig["format"] {
  return compileTextFormat(text, { ...context, omitEmpty }, (message) => scope.fail(message));
}

function jsonFormat(
  json: Readonly<Record<string, unknown>>,
  omitEmpty: boolean,
  context: CompileContext,
  scope: Scope,
): AccessLogConfig["format"] {
  return compileJsonFormat(json, { ...context, omitEmpty }, (message) => scope.fail(message));
}
