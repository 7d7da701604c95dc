import type { envoy_config_core_v3_DataSource } from "../../../xds/index.ts";
import type { Scope } from "./scope.ts";

/** What a compiler may read from outside the resource; the shell supplies it. */
export interface CompileContext {
  /** Throws when the file cannot be read. */
  readFile(path: string): Uint8Array;
  environment(name: string): string | undefined;
  /** Milliseconds since the epoch at `performance.now()` 0, to print the start time of requests. */
  readonly timeOriginMs: number;
  /** This machine's name. */
  readonly hostname?: string;
}

/** The bytes of a DataSource; undefined when it is not set, or after recording a problem. */
export function readData(
  source: envoy_config_core_v3_DataSource | null | undefined,
  context: CompileContext,
  scope: Scope,
): Buffer | undefined {
  if (!source) return undefined;
  if (typeof source.inline_string === "string") return Buffer.from(source.inline_string);
  if (source.inline_bytes) return Buffer.from(source.inline_bytes);
  if (typeof source.environment_variable === "string") {
    const value = context.environment(source.environment_variable);
    if (value !== undefined) return Buffer.from(value);
    scope.at("environment_variable").fail(`${source.environment_variable} is not set`);
    return undefined;
  }
  if (typeof source.filename !== "string" || source.filename === "") {
    scope.fail("must set one of filename, inline_bytes, inline_string, environment_variable");
    return undefined;
  }
  try {
    return Buffer.from(context.readFile(source.filename));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    scope.at("filename").fail(`cannot be read: ${reason}`);
    return undefined;
  }
}
