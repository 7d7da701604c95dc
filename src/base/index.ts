/** Shared vocabulary of every area; pure, imports nothing of ours. */
export { assertNever } from "./assert-never.ts";
export { type BackoffOptions, backoffMs } from "./backoff.ts";
export { formatDurationMs, parseDurationMs, tryParseDurationMs } from "./duration.ts";
export {
  ERROR_CODES,
  type ErrorCode,
  messageOf,
  SerinError,
  type SerinErrorOptions,
} from "./errors.ts";
export { formatPath, type Issue, invalidDocument, issuesOf } from "./parse.ts";
