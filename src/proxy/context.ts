import type { Clock, Logger } from "../runtime/index.ts";
import type { RequestTelemetry, RuntimeConfig } from "./config/runtime-config.ts";
import type { TimerWheel } from "./net/timer-wheel.ts";
import type { OverloadGuard } from "./overload-guard.ts";
import type { SecureContexts } from "./tls/secure-contexts.ts";
import type { TlsTermination } from "./tls/termination.ts";
import type { Tracers } from "./tracing/tracers.ts";
import type { Clusters } from "./upstream/clusters.ts";

/** What every part of the data path shares. `config` is replaced as a whole. */
export interface ProxyContext {
  config: RuntimeConfig;
  readonly clusters: Clusters;
  readonly telemetry: RequestTelemetry;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly deadlines: TimerWheel;
  readonly secureContexts: SecureContexts;
  readonly tlsTermination: TlsTermination;
  readonly tracers: Tracers;
  /** Other threads listen on the same ports. */
  readonly sharesPorts: boolean;
  /** The thread's number, 0 for the main one. */
  readonly workerId: number;
  /** Undefined without an overload manager. */
  readonly overload?: OverloadGuard | undefined;
  /** The whole proxy is going down: every answer says `Connection: close`. */
  isDraining: boolean;
}
