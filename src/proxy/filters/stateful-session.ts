import { hasSession, type StatefulSession, sessionAddress } from "../core/session-state.ts";
import type { Exchange } from "../upstream/exchange.ts";

/** Envoy's stateful_session filter: the client stays with the host that it was given. */
export function keepSession(
  exchange: Exchange,
  { state, isStrict }: StatefulSession,
  next: () => void,
): void {
  if (state !== undefined && hasSession(state, exchange.target)) {
    const nowSeconds = Math.trunc(exchange.context.clock.nowMs() / 1000);
    const address = sessionAddress(state, (name) => exchange.get(name), nowSeconds);
    exchange.session = { state, isStrict, address };
  }
  next();
}
