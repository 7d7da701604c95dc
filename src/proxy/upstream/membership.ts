import type { ClusterConfig, RequestTelemetry } from "../config/runtime-config.ts";
import type { HostHealth } from "../core/balance/host-sets.ts";
import { hostHealth } from "../core/host-health.ts";

const KINDS = ["total", "healthy", "degraded"] as const;
const NO_FLAGS = { isEjected: false, failsActiveCheck: false, isDegraded: false };

/** The gauges `membership_total`, `membership_healthy` and `membership_degraded` of all clusters. */
export class MembershipGauges {
  readonly #telemetry: RequestTelemetry;
  readonly #shown = new Map<string, Record<(typeof KINDS)[number], number>>();

  constructor(telemetry: RequestTelemetry) {
    this.#telemetry = telemetry;
  }

  /** Shows a cluster's hosts by their health. */
  show(statName: string, hosts: readonly HostHealth[]): void {
    let shown = this.#shown.get(statName);
    if (shown === undefined) {
      shown = { total: 0, healthy: 0, degraded: 0 };
      this.#shown.set(statName, shown);
    }
    const counts = {
      total: hosts.length,
      healthy: hosts.filter((health) => health === "healthy").length,
      degraded: hosts.filter((health) => health === "degraded").length,
    };
    for (const kind of KINDS) {
      this.#telemetry
        .gauge(`cluster.${statName}.membership_${kind}`)
        .add(counts[kind] - shown[kind]);
      shown[kind] = counts[kind];
    }
  }

  /** Shows a cluster that nobody has used yet, by what the control plane says. */
  showUnused({ altStatName, name, endpoints }: ClusterConfig): void {
    const health = endpoints.map(({ edsHealth }) => hostHealth(edsHealth, NO_FLAGS));
    this.show(altStatName || name, health);
  }

  /** The cluster is gone. */
  clear(statName: string): void {
    if (!this.#shown.has(statName)) return;
    this.show(statName, []);
    this.#shown.delete(statName);
  }
}
