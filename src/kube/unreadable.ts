import { SerinError } from "../base/index.ts";

/** A kubeconfig, or something that it names, cannot be used. */
export function unreadable(message: string, cause?: unknown): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause });
}
