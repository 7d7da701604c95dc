import type { Socket } from "node:net";
import type { ConcurrentLimitConfig, FilterChainConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";

/** Open connections by limit; a new configuration begins to count anew, as Envoy's does. */
const open = new WeakMap<ConcurrentLimitConfig, number>();

/**
 * Whether a new connection is within its chain's limits on open ones (Envoy's connection_limit filter);
 * counts it until it closes. One above a limit is closed, at once or after the limit's delay.
 */
export function mayStay(
  context: ProxyContext,
  { concurrentLimits }: FilterChainConfig,
  socket: Socket,
): boolean {
  if (concurrentLimits === undefined) return true;
  for (const limit of concurrentLimits) {
    if (!take(context, limit, socket)) return false;
  }
  return true;
}

function take(context: ProxyContext, limit: ConcurrentLimitConfig, socket: Socket): boolean {
  const { telemetry, clock } = context;
  const active = telemetry.gauge(`connection_limit.${limit.statPrefix}.active_connections`);
  active.add(1);
  const count = open.get(limit) ?? 0;
  const isWithin = count < limit.maxConnections;
  if (isWithin) open.set(limit, count + 1);
  let cancel: (() => void) | undefined;
  socket.once("close", () => {
    active.add(-1);
    cancel?.();
    if (isWithin) open.set(limit, (open.get(limit) ?? 1) - 1);
  });
  if (isWithin) return true;
  telemetry.counter(`connection_limit.${limit.statPrefix}.limited_connections`).add(1);
  // The client is kept waiting, so that it does not come again at once; it is not read.
  if (limit.delayMs > 0) cancel = clock.schedule(limit.delayMs, () => socket.destroy());
  else socket.destroy();
  return false;
}
