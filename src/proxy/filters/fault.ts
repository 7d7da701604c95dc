import type { FaultConfig } from "../config/runtime-config.ts";
import { headerMatches } from "../core/header-match.ts";
import type { Exchange } from "../upstream/exchange.ts";

/**
 * Envoy's fault filter: the request waits, then it may be answered instead of going on. `next` runs
 * when it goes on, later in the case of a delay and never when the client has left by then.
 */
export function injectFault(exchange: Exchange, fault: FaultConfig, next: () => void): void {
  if (!applies(fault, exchange)) {
    next();
    return;
  }
  const { random } = exchange.context;
  const goOn = (): void => {
    if (fault.abort !== undefined && random() < fault.abort.fraction) {
      count(exchange, "aborts_injected");
      exchange.fail({
        kind: "faultAbort",
        status: fault.abort.status,
        grpcStatus: fault.abort.grpcStatus,
      });
    } else {
      next();
    }
  };
  if (fault.delay === undefined || random() >= fault.delay.fraction) {
    goOn();
    return;
  }
  count(exchange, "delays_injected");
  exchange.delay(fault.delay.durationMs, goOn);
}

function applies(fault: FaultConfig, exchange: Exchange): boolean {
  if (fault.delay === undefined && fault.abort === undefined) return false;
  if (fault.upstreamCluster !== undefined) {
    if (exchange.clusterChoice?.cluster !== fault.upstreamCluster) return false;
  }
  return fault.headers.every((matcher) => headerMatches(matcher, exchange));
}

function count(exchange: Exchange, stat: "aborts_injected" | "delays_injected"): void {
  const { manager, context } = exchange;
  context.telemetry.counter(`http.${manager.statPrefix}.fault.${stat}`).add(1);
}
