import type { ClusterConfig, RuntimeConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { ClusterRuntime } from "./cluster-runtime.ts";
import { MembershipGauges } from "./membership.ts";

/** The clusters in use, made on first use and kept up to date with the configuration. */
export class Clusters {
  readonly #runtimes = new Map<string, ClusterRuntime>();
  /** Stat names of clusters that are configured, by name. */
  #statNames = new Map<string, string>();
  #membership: MembershipGauges | undefined;

  /** The running cluster for a configuration, updated when it differs from the one before. */
  get(context: ProxyContext, config: ClusterConfig): ClusterRuntime {
    let runtime = this.#runtimes.get(config.name);
    if (runtime === undefined) {
      runtime = new ClusterRuntime(context, config, this.#gauges(context));
      this.#runtimes.set(config.name, runtime);
    } else if (runtime.config !== config && context.config.cluster(config.name) === config) {
      // Only forwards: a request that started under the former configuration must not restore it.
      runtime.update(config);
    }
    return runtime;
  }

  /** Follows a new configuration; clusters that are gone finish what they have. */
  apply(context: ProxyContext, config: RuntimeConfig): void {
    for (const [name, runtime] of this.#runtimes) {
      const next = config.cluster(name);
      if (next === undefined) {
        this.#runtimes.delete(name);
        runtime.retire();
      } else if (next !== runtime.config) {
        runtime.update(next);
      }
    }
    const membership = this.#gauges(context);
    const statNames = new Map<string, string>();
    for (const cluster of config.clusters()) {
      statNames.set(cluster.name, cluster.altStatName || cluster.name);
      if (this.#runtimes.has(cluster.name)) continue;
      // Checks begin before the first request; other clusters wait for it.
      if (cluster.healthCheck !== undefined) this.get(context, cluster);
      else membership.showUnused(cluster);
    }
    for (const [name, statName] of this.#statNames) {
      if (statNames.get(name) !== statName) membership.clear(statName);
    }
    this.#statNames = statNames;
  }

  closeIdle(nowMs: number): void {
    for (const runtime of this.#runtimes.values()) runtime.closeIdle(nowMs);
  }

  destroy(): void {
    for (const runtime of this.#runtimes.values()) runtime.destroy();
    this.#runtimes.clear();
  }

  #gauges(context: ProxyContext): MembershipGauges {
    this.#membership ??= new MembershipGauges(context.telemetry);
    return this.#membership;
  }
}
