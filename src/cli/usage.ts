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
    throw new SerinError("SERIN_USAGE", firstSentence(messageOf(error)), { source: "caller" });
  }
  const extra = parsed.positionals[limits.maxPositionals ?? 0];
  if (extra !== undefined) {
    throw new SerinError("SERIN_USAGE", `unexpected argument ${JSON.stringify(extra)}`, {
      source: "caller",
    });
  }
  return parsed;
}

/** A TCP port from a flag; 0 lets the system choose. Throws SERIN_USAGE. */
export function parsePort(flag: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) {
    throw new SerinError("SERIN_USAGE", `--${flag} must be a port 0..65535 (found ${text})`, {
      source: "caller",
    });
  }
  return port;
}

/** The value of --log-level. Throws SERIN_USAGE. */
export function parseLogLevel(text: string): LogLevel {
  if (text === "debug" || text === "info" || text === "warn" || text === "error") return text;
  throw new SerinError(
    "SERIN_USAGE",
    `--log-level must be debug, info, warn or error (found ${text})`,
    { source: "caller" },
  );
}

function firstSentence(text: string): string {
  return text.split(/\. (?=[A-Z])/)[0] ?? text;
}
