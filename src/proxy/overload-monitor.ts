import { readFileSync } from "node:fs";
import { messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import {
  AT_EASE,
  type OverloadConfig,
  type OverloadState,
  overloadState,
  type ResourceMonitor,
} from "./core/overload.ts";
import type { StatRegistry } from "./telemetry/stat-registry.ts";

/** Watches the resources of an overload manager. */
export interface OverloadMonitor {
  /** Looks again at every refresh interval until `stop`. */
  start(): void;
  stop(): void;
}

/**
 * Reads the resources and tells `onState` whenever an action changes. A resource that cannot be read
 * keeps its last pressure and counts as a failed update. Stats are Envoy's (`overload.…`).
 */
export function createOverloadMonitor(options: {
  readonly config: OverloadConfig;
  readonly stats: StatRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onState: (state: OverloadState) => void;
  /** Bytes of memory in use; the resident set of the process by default. */
  readonly memoryBytes?: () => number;
}): OverloadMonitor {
  const { config, stats, clock, logger, onState } = options;
  const memoryBytes = options.memoryBytes ?? (() => process.memoryUsage.rss());
  const pressures = new Map<string, number>();
  let state = AT_EASE;
  let cancel: (() => void) | undefined;
  for (const { name } of config.monitors) stats.counter(`overload.${name}.failed_updates`);

  const read = (monitor: ResourceMonitor): number =>
    monitor.kind === "memory" ? memoryBytes() / monitor.maxBytes : readPressure(monitor.path);

  const update = (monitor: ResourceMonitor): void => {
    const scope = `overload.${monitor.name}`;
    try {
      const pressure = read(monitor);
      pressures.set(monitor.name, pressure);
      stats.gauge(`${scope}.pressure`).value = Math.trunc(pressure * 100);
    } catch (error) {
      stats.counter(`${scope}.failed_updates`).add(1);
      logger.warn({ monitor: monitor.name, reason: messageOf(error) }, "pressure not read");
    }
  };

  const publish = (next: OverloadState): void => {
    for (const { name, kind } of config.actions) {
      stats.gauge(`overload.${name}.active`).value = next[kind] === 1 ? 1 : 0;
      stats.gauge(`overload.${name}.scale_percent`).value = Math.trunc(next[kind] * 100);
    }
    const changed = config.actions.filter(({ kind }) => next[kind] !== state[kind]);
    state = next;
    if (changed.length === 0) return;
    logger.warn({ actions: changed.map(({ name }) => name) }, "overload actions changed");
    onState(next);
  };

  const refresh = (): void => {
    for (const monitor of config.monitors) update(monitor);
    publish(overloadState(config.actions, pressures));
    cancel = clock.schedule(config.refreshIntervalMs, refresh);
  };

  return {
    start: refresh,
    stop: () => cancel?.(),
  };
}

function readPressure(path: string): number {
  const text = readFileSync(path, "utf8").trim();
  const pressure = text === "" ? Number.NaN : Number(text);
  if (!(pressure >= 0 && pressure <= 1)) {
    throw new RangeError(`${path} must hold a number from 0 to 1 (found ${JSON.stringify(text)})`);
  }
  return pressure;
}
