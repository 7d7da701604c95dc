import { prometheusName } from "../core/stat-name.ts";
import type { Series } from "./series.ts";

/** One of Envoy's counters or gauges. */
export interface Stat {
  readonly kind: "counter" | "gauge";
  readonly name: string;
  value: number;
  add(count: number): void;
}

/** Envoy's counters and gauges by full name, made on first use. */
export class StatRegistry {
  readonly #stats = new Map<string, Stat>();
  readonly #prometheus = new Map<Stat, ReturnType<typeof prometheusName>>();

  counter(name: string): Stat {
    return this.#stats.get(name) ?? this.#create("counter", name);
  }

  gauge(name: string): Stat {
    return this.#stats.get(name) ?? this.#create("gauge", name);
  }

  /** All stats, sorted by name. */
  list(): readonly Stat[] {
    return [...this.#stats.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  value(name: string): number {
    return this.#stats.get(name)?.value ?? 0;
  }

  /** The stats under their Prometheus names. */
  series(): readonly Series[] {
    return this.list().map((stat) => {
      let named = this.#prometheus.get(stat);
      if (named === undefined) {
        named = prometheusName(stat.name);
        this.#prometheus.set(stat, named);
      }
      return { ...named, kind: stat.kind, value: stat.value };
    });
  }

  /** Forgets the stats of a cluster or listener that is gone. */
  dropPrefix(prefix: string): void {
    for (const [name, stat] of this.#stats) {
      if (!name.startsWith(prefix)) continue;
      this.#stats.delete(name);
      this.#prometheus.delete(stat);
    }
  }

  #create(kind: Stat["kind"], name: string): Stat {
    const stat: Stat = {
      kind,
      name,
      value: 0,
      add(count) {
        this.value += count;
      },
    };
    this.#stats.set(name, stat);
    return stat;
  }
}
