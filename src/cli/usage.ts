import { type ParseArgsConfig, parseArgs } from "node:util";
import { messageOf, SerinError } from "../base/index.ts";
import type { LogLevel } from "../runtime/index.ts";

/**
 * `node:util` parseArgs, strict, with its errors as one SERIN_USAGE sentence. `--help` and `-h` are
 * always known.
 */
export function parseFlags<T extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: T,
  limits: { readonly maxPositionals?: number } = {},
) {
  let parsed: ReturnType<
    typeof parseArgs<{
      args: string[];
      options: T & { help: { type: "boolean"; short: "h" } };
      allowPositionals: true;
      strict: true;
    }>
  >;
  try {
    parsed = parseArgs({
      args,
      options: { ...options, help: { type: "boolean", short: "h" } },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw usageError(firstSentence(messageOf(error)));
  }
  const extra = parsed.positionals[limits.maxPositionals ?? 0];
  if (extra !== undefined) {
    throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  }
  return parsed;
}

/** Wrong usage: exit code 2, with a pointer to the help. */
export function usageError(message: string): SerinError {
  return new SerinError("SERIN_USAGE", message, { source: "caller" });
}

const FORMATS = ["table", "json", "yaml"] as const;

/** How a command prints what it found. */
export type OutputFormat = (typeof FORMATS)[number];

/** The value of --output of commands that print a table unless told otherwise. Throws SERIN_USAGE. */
export function parseOutput(text: string): OutputFormat {
  const format = FORMATS.find((known) => known === text);
  if (format !== undefined) return format;
  throw usageError(`--output must be ${FORMATS.join(", ")} (found ${text})`);
}

/** A TCP port from a flag; 0 lets the system choose. Throws SERIN_USAGE. */
export function parsePort(flag: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw usageError(`--${flag} must be a port 0..65535 (found ${text})`);
  }
  return port;
}

/** The value of --log-level. Throws SERIN_USAGE. */
export function parseLogLevel(text: string): LogLevel {
  if (text === "debug" || text === "info" || text === "warn" || text === "error") return text;
  throw usageError(`--log-level must be debug, info, warn or error (found ${text})`);
}

function firstSentence(text: string): string {
  return text.split(/\. (?=[A-Z])/)[0] ?? text;
}
