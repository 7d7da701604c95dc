import type { ScaledTimer } from "../core/overload.ts";
import type { DownstreamConnection } from "../streams.ts";

/** Whether this answer is to be the connection's last because the proxy is overloaded; counts it. */
export function endsKeepalive({ context, manager }: DownstreamConnection): boolean {
  const level = context.overload?.state.disableKeepalive ?? 0;
  if (level === 0 || (level < 1 && context.random() >= level)) return false;
  const stat = `http.${manager.statPrefix}.downstream_cx_overload_disable_keepalive`;
  context.telemetry.counter(stat).add(1);
  return true;
}

/** An idle timeout in milliseconds as it is under the present load. */
export function scaledIdle(
  { context }: DownstreamConnection,
  timer: ScaledTimer["timer"],
  timeoutMs: number,
): number {
  return context.overload === undefined ? timeoutMs : context.overload.timeoutMs(timer, timeoutMs);
}
