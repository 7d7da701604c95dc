import type { Clock, Logger } from "../runtime/index.ts";
import type {
  ListenerFailure,
  ProxyServer,
  RequestTelemetry,
  RuntimeConfig,
} from "./config/runtime-config.ts";
import type { ProxyContext } from "./context.ts";
import { UNKNOWN_PEER } from "./core/peer-metadata.ts";
import type { LocalNode } from "./core/tracing/span.ts";
import { Listeners } from "./net/listeners.ts";
import { TimerWheel } from "./net/timer-wheel.ts";
import type { OverloadGuard } from "./overload-guard.ts";
import { SecureContexts } from "./tls/secure-contexts.ts";
import { TlsTermination } from "./tls/termination.ts";
import { Tracers } from "./tracing/tracers.ts";
import { Clusters } from "./upstream/clusters.ts";

/** How often idle connections and slow heads are looked for. */
const SWEEP_INTERVAL_MS = 1000;
/** How often a stop looks whether the last connection has gone. */
const STOP_POLL_MS = 20;
/** How long the last spans of a proxy that stops may take to go. */
const MAX_LAST_REPORT_MS = 1000;

export interface ProxyServerOptions {
  readonly telemetry: RequestTelemetry;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Numbers in [0, 1); Math.random by default. */
  readonly random?: () => number;
  /** Other threads listen on the same ports (SO_REUSEPORT). */
  readonly sharesPorts?: boolean;
  /** The thread's number; 0 by default. */
  readonly workerId?: number;
  /** Who this is, for its spans; nobody by default. */
  readonly node?: LocalNode;
  /** Undefined without an overload manager. */
  readonly overload?: OverloadGuard | undefined;
}

const NOBODY: LocalNode = { id: "", cluster: "", zone: "", address: "" };

/** The data path, with what tests and the admin interface ask of it. */
export interface RunningProxyServer extends ProxyServer {
  /** Client connections open now. */
  readonly connectionCount: number;
  /** The port a listener is bound to (the real one when the configuration says 0). */
  listenerPort(name: string): number | undefined;
}

/** A data path without configuration: it serves nothing until the first `apply`. */
export function createProxyServer(options: ProxyServerOptions): RunningProxyServer {
  const { telemetry, clock, logger, random = Math.random } = options;
  const context: ProxyContext = {
    config: {
      self: UNKNOWN_PEER,
      listeners: new Map(),
      cluster: () => undefined,
      clusters: () => [],
    },
    clusters: new Clusters(),
    telemetry,
    clock,
    logger,
    random,
    deadlines: new TimerWheel(clock),
    secureContexts: new SecureContexts(),
    tlsTermination: new TlsTermination(),
    tracers: new Tracers(options.node ?? NOBODY),
    isDraining: false,
    sharesPorts: options.sharesPorts ?? false,
    workerId: options.workerId ?? 0,
    overload: options.overload,
  };
  const listeners = new Listeners(context);
  let cancelSweep = scheduleSweep();
  let applying: Promise<unknown> = Promise.resolve();

  function scheduleSweep(): () => void {
    return clock.schedule(SWEEP_INTERVAL_MS, () => {
      const nowMs = performance.now();
      listeners.checkIdle(nowMs);
      context.clusters.closeIdle(nowMs);
      cancelSweep = scheduleSweep();
    });
  }

  async function applyNow(config: RuntimeConfig): Promise<readonly ListenerFailure[]> {
    if (context.isDraining) return [];
    context.config = config;
    context.clusters.apply(context, config);
    context.tracers.apply(context, config);
    return listeners.apply(config);
  }

  function drain(): void {
    context.isDraining = true;
    listeners.drain();
  }

  return {
    get connectionCount() {
      return listeners.connectionCount;
    },
    listenerPort: (name) => listeners.port(name),
    apply(config) {
      // One at a time, in order: opening a socket takes a turn of the loop.
      const result = applying.then(() => applyNow(config));
      applying = result;
      return result;
    },
    drain,
    async stop(graceMs) {
      drain();
      await applying;
      drain();
      const deadlineMs = performance.now() + graceMs;
      while (listeners.connectionCount > 0 && performance.now() < deadlineMs) {
        await new Promise((resolve) => setTimeout(resolve, STOP_POLL_MS));
      }
      listeners.destroy();
      await context.tracers.stop(
        Math.min(MAX_LAST_REPORT_MS, Math.max(0, deadlineMs - performance.now())),
      );
      context.clusters.destroy();
      context.deadlines.stop();
      cancelSweep();
    },
  };
}
