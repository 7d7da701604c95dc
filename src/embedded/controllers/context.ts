import type { Clock, Logger } from "../../runtime/index.ts";
import type { LocalApi } from "../local-api.ts";

/** What every built-in controller works with. */
export interface ControllerContext {
  readonly api: LocalApi;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RunningController {
  stop(): Promise<void>;
}

/** RFC 3339 in whole seconds, as Kubernetes writes times. */
export function timestamp(clock: Clock): string {
  return new Date(clock.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
}
