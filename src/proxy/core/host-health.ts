import type { HostHealth } from "./balance/host-sets.ts";
import type { EdsHealth } from "./runtime-config.ts";

/** What else than the control plane's word takes a host out. */
export interface HostFlags {
  /** Outlier detection has put it out. */
  readonly isEjected: boolean;
  /** Its active health check fails, or has not succeeded yet. */
  readonly failsActiveCheck: boolean;
  /** Its active health check says `x-envoy-degraded`. */
  readonly isDegraded: boolean;
}

/** Whether a host takes traffic. Source: Envoy docs, "Health checking", host health flags. */
export function hostHealth(edsHealth: EdsHealth, flags: HostFlags): HostHealth {
  if (flags.isEjected || flags.failsActiveCheck) return "unhealthy";
  switch (edsHealth) {
    case "UNHEALTHY":
    case "DRAINING":
    case "TIMEOUT":
      return "unhealthy";
    case "DEGRADED":
      return "degraded";
    case "UNKNOWN":
    case "HEALTHY":
      return flags.isDegraded ? "degraded" : "healthy";
  }
}
