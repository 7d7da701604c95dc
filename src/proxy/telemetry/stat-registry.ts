import { prometheusName } from "../core/stat-name.ts";
import type { Series } from "./series.ts";

/** One of Envoy's counters or gauges. */
export interface Stat {
  readonly kind: "counter" | "gauge";
  readonly name: string;
  value: number;
  add(count: number): void;
}

const silent = (kind: Stat["kind"]): Stat => ({ kind, name: "", value: 0, add() {} });
const SILENT = { counter: silent("counter"), gauge: silent("gauge") };

/** Envoy's counters and gauges by full name, made on first use. */
export class StatRegistry {
  readonly #stats = new Map<string, Stat>();
  /** Names that are not kept, so that each is judged once. */
  readonly #silent = new Set<string>();
  readonly #keeps: (name: string) => boolean;
  /** What other threads counted, as last heard. */
  others: () => readonly Pick<Stat, "kind" | "name" | "value">[] = () => [];
  readonly #prometheus = new Map<string, ReturnType<typeof prometheusName>>();

  /** `keeps`: which stats exist at all; the others take counts and show nothing. */
  constructor(keeps: (name: string) => boolean = () => true) {
    this.#keeps = keeps;
  }

  counter(name: string): Stat {
    return this.#stats.get(name) ?? this.#create("counter", name);
  }

  gauge(name: string): Stat {
    return this.#stats.get(name) ?? this.#create("gauge", name);
  }

  /** All stats, sorted by name; those of other threads are added. */
  list(): readonly Stat[] {
    const others = this.others();
    if (others.length === 0) return sorted(this.#stats.values());
    const all = new StatRegistry();
    for (const { kind, name, value } of [...this.#stats.values(), ...others]) {
      (kind === "counter" ? all.counter(name) : all.gauge(name)).add(value);
    }
    return all.list();
  }

  value(name: string): number {
    return this.#stats.get(name)?.value ?? 0;
  }

  /** The stats under their Prometheus names. */
  series(): readonly Series[] {
    return this.list().map((stat) => {
      let named = this.#prometheus.get(stat.name);
      if (named === undefined) {
        named = prometheusName(stat.name);
        this.#prometheus.set(stat.name, named);
      }
      return { ...named, kind: stat.kind, value: stat.value };
    });
  }

  /** Forgets the stats of a cluster or listener that is gone. */
  dropPrefix(prefix: string): void {
    for (const name of this.#silent) if (name.startsWith(prefix)) this.#silent.delete(name);
    for (const name of this.#stats.keys()) {
      if (!name.startsWith(prefix)) continue;
      this.#stats.delete(name);
      this.#prometheus.delete(name);
    }
  }

  #create(kind: Stat["kind"], name: string): Stat {
    if (this.#silent.has(name)) return SILENT[kind];
    if (!this.#keeps(name)) {
      this.#silent.add(name);
      return SILENT[kind];
    }
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

function sorted(stats: Iterable<Stat>): readonly Stat[] {
  return [...stats].sort((a, b) => (a.name < b.name ? -1 : 1));
}
