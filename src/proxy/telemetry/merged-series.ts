import { Histogram, type HistogramSnapshot } from "../core/histogram.ts";
import type { Series } from "./series.ts";
import type { Stat } from "./stat-registry.ts";

/** A stat as it crosses threads. */
export type PlainStat = Pick<Stat, "kind" | "name" | "value">;

/** A series as it crosses threads. */
export type PlainSeries =
  | Extract<Series, { readonly value: number }>
  | (Pick<Series, "name" | "labels"> & {
      readonly kind: "histogram";
      readonly snapshot: HistogramSnapshot;
    });

/** Series without anything but data. */
export function plainSeries(series: readonly Series[]): readonly PlainSeries[] {
  return series.map((one) =>
    one.kind === "histogram"
      ? {
          name: one.name,
          labels: one.labels,
          kind: one.kind,
          snapshot: one.histogram.snapshot(),
        }
      : one,
  );
}

/** Adds the series of other threads to our own: equal name and labels become one. */
export function mergedSeries(
  own: readonly Series[],
  others: readonly PlainSeries[],
): readonly Series[] {
  if (others.length === 0) return own;
  const merged = new Map<string, Series>(own.map((one) => [keyOf(one), one]));
  for (const other of others) {
    const key = keyOf(other);
    const known = merged.get(key);
    if (other.kind === "histogram") {
      const histogram = new Histogram();
      if (known?.kind === "histogram") histogram.add(known.histogram.snapshot());
      histogram.add(other.snapshot);
      const { name, labels } = other;
      merged.set(key, { name, labels, kind: "histogram", histogram });
    } else {
      const before = known === undefined || known.kind === "histogram" ? 0 : known.value;
      merged.set(key, { ...other, value: before + other.value });
    }
  }
  return [...merged.values()];
}

function keyOf({ name, labels }: Pick<Series, "name" | "labels">): string {
  return JSON.stringify([name, labels]);
}
