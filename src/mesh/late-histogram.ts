import type { Histogram } from "prom-client";
import type { Clock } from "../runtime/index.ts";

/** How long what was seen may wait. */
const WAIT_MS = 100;

/** A histogram that is brought up to date in its own time. */
export interface LateHistogram {
  /** `label`: the value of the histogram's one label; "" where it has none. */
  observe(label: string, value: number): void;
  /** Brings it up to date now. */
  flush(): void;
}

/**
 * Keeps what is seen while a push goes out to a thousand proxies, and counts it afterwards: the last
 * of them should not wait for the metrics of all the others.
 */
export function createLateHistogram(
  histogram: Histogram,
  clock: Clock,
  labelName?: string,
): LateHistogram {
  let seen: [label: string, value: number][] = [];
  let isWaiting = false;
  const flush = (): void => {
    isWaiting = false;
    const all = seen;
    seen = [];
    for (const [label, value] of all) {
      if (labelName === undefined) histogram.observe(value);
      else histogram.observe({ [labelName]: label }, value);
    }
  };
  return {
    observe(label, value) {
      seen.push([label, value]);
      if (isWaiting) return;
      isWaiting = true;
      clock.schedule(WAIT_MS, flush);
    },
    flush,
  };
}
