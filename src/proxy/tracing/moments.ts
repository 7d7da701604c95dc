import type { SpanEvent } from "../core/tracing/span.ts";
import { nowMicros } from "./span-clock.ts";

/** What verbose spans tell of, in Envoy's words and order. */
const MOMENTS = [
  "last_downstream_rx_byte_received",
  "first_upstream_tx_byte_sent",
  "last_upstream_tx_byte_sent",
  "first_upstream_rx_byte_received",
  "last_upstream_rx_byte_received",
  "first_downstream_tx_byte_sent",
  "last_downstream_tx_byte_sent",
] as const;
export type Moment = (typeof MOMENTS)[number];

/** When each part of an exchange came and went. */
export class Moments {
  readonly #times = new Map<Moment, number>();

  /** Notes that it is now; the last reading counts of what is last, the first of what is first. */
  mark(moment: Moment): void {
    if (moment.startsWith("last_") || !this.#times.has(moment))
      this.#times.set(moment, nowMicros());
  }

  events(): readonly SpanEvent[] {
    return MOMENTS.flatMap((name) => {
      const atMicros = this.#times.get(name);
      return atMicros === undefined ? [] : [{ name, atMicros }];
    });
  }
}
