/**
 * The register of stable error codes. A code never changes its meaning; tools may match on it.
 */
export const ERROR_CODES = {
  SERIN_USAGE: "wrong flags or arguments",
  SERIN_UNREADABLE_INPUT: "a file or stream cannot be read or parsed",
  SERIN_INVALID_RESOURCE: "a Kubernetes or Istio resource breaks its schema or rules",
  SERIN_INVALID_XDS: "an xDS resource cannot be used",
  SERIN_INVALID_BOOTSTRAP: "the proxy's bootstrap file cannot be used",
  SERIN_PORT_IN_USE: "a port to listen on is taken",
  SERIN_PERMISSION: "the operating system refused",
  SERIN_DATA_DIR: "the data directory cannot be used",
  SERIN_NOT_FOUND: "the named object does not exist",
  SERIN_CONFLICT: "the object was changed by somebody else",
  SERIN_API: "the Kubernetes API answered with an error",
  SERIN_UNAVAILABLE: "a server cannot be reached",
  SERIN_IMPOSSIBLE_STATUS: "a Canary's status contradicts itself",
  SERIN_EXEC: "a command cannot be run in a container",
  SERIN_WEBHOOK: "a webhook answered with an error",
  SERIN_METRICS: "a metrics provider cannot answer",
  SERIN_INTERNAL: "a broken contract inside Serin",
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface SerinErrorOptions {
  /** Where the fault lies: our caller, a server we asked, or ourselves. */
  readonly source?: "caller" | "remote" | "local";
  /** Whether the same call may work later. */
  readonly retry?: "never" | "yes";
  readonly cause?: unknown;
}

/** Every error that Serin throws on purpose: a stable `code` and one sentence that names what and where. */
export class SerinError extends Error {
  override readonly name = "SerinError";
  readonly code: ErrorCode;
  readonly source: "caller" | "remote" | "local";
  readonly retry: "never" | "yes";

  constructor(code: ErrorCode, message: string, options: SerinErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.source = options.source ?? "local";
    this.retry = options.retry ?? "never";
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
