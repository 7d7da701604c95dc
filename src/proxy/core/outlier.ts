/** Why a host is put out. Names as in Envoy's stats. */
export type EjectionCause =
  | "consecutive_5xx"
  | "consecutive_gateway_failure"
  | "consecutive_local_origin_failure"
  | "success_rate"
  | "local_origin_success_rate"
  | "failure_percentage"
  | "local_origin_failure_percentage";

/** Envoy's OutlierDetection with its defaults filled in. Percentages are 0..100. */
export interface OutlierDetectionConfig {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayFailure: number;
  readonly consecutiveLocalOriginFailure: number;
  readonly splitLocalOrigin: boolean;
  readonly intervalMs: number;
  readonly baseEjectionTimeMs: number;
  readonly maxEjectionTimeMs: number;
  readonly maxEjectionTimeJitterMs: number;
  readonly maxEjectionPercent: number;
  readonly alwaysEjectOneHost: boolean;
  /** A host that passes an active health check comes back at once. */
  readonly readmitsOnHealthCheck: boolean;
  readonly successRateMinimumHosts: number;
  readonly successRateRequestVolume: number;
  /** Thousandths of a standard deviation. */
  readonly successRateStdevFactor: number;
  readonly failurePercentageThreshold: number;
  readonly failurePercentageMinimumHosts: number;
  readonly failurePercentageRequestVolume: number;
  /** How likely a detection is acted on, by cause. */
  readonly enforcing: Readonly<Record<EjectionCause, number>>;
}

/** What a detection came to; `overflow` = too many hosts are out already. */
export interface Detection {
  readonly host: string;
  readonly cause: EjectionCause;
  readonly outcome: "ejected" | "notEnforced" | "overflow";
}

/** How an attempt ended. `local`: the proxy could not reach the host or gave up waiting for it. */
export interface AttemptOutcome {
  /** The response's status; for `local` the one Envoy answers, 503 or 504. */
  readonly status: number;
  readonly origin: "external" | "local";
}

interface Bucket {
  requests: number;
  successes: number;
}

interface Monitor {
  readonly host: string;
  consecutive5xx: number;
  consecutiveGatewayFailure: number;
  consecutiveLocalOriginFailure: number;
  readonly external: Bucket;
  readonly local: Bucket;
  ejectedAtMs: number | undefined;
  jitterMs: number;
  /** How often in a row: the time out is this many times the base. */
  multiplier: number;
}

/**
 * Envoy's passive health checking: hosts that fail are put out for a while. All time and chance are
 * arguments: `nowMs` epoch milliseconds, `random` gives numbers in [0, 1).
 * Source: Envoy docs, "Outlier detection".
 */
export class OutlierDetector {
  readonly #monitors = new Map<string, Monitor>();
  #config: OutlierDetectionConfig;
  #ejected = 0;

  constructor(config: OutlierDetectionConfig) {
    this.#config = config;
  }

  get ejectedCount(): number {
    return this.#ejected;
  }

  isEjected(host: string): boolean {
    return this.#monitors.get(host)?.ejectedAtMs !== undefined;
  }

  /** Which hosts there are; what is known of those that stay is kept. */
  update(config: OutlierDetectionConfig, hosts: Iterable<string>): void {
    this.#config = config;
    const kept = new Set(hosts);
    for (const [host, monitor] of this.#monitors) {
      if (kept.has(host)) continue;
      if (monitor.ejectedAtMs !== undefined) this.#ejected -= 1;
      this.#monitors.delete(host);
    }
    for (const host of kept) {
      if (!this.#monitors.has(host)) this.#monitors.set(host, newMonitor(host));
    }
  }

  /** Takes note of an attempt. Answers what it led to, usually nothing. */
  record(
    host: string,
    { status, origin }: AttemptOutcome,
    nowMs: number,
    random: () => number,
  ): readonly Detection[] {
    const monitor = this.#monitors.get(host);
    if (monitor === undefined) return [];
    const { splitLocalOrigin } = this.#config;
    if (origin === "local" && splitLocalOrigin) {
      monitor.local.requests += 1;
      monitor.consecutiveLocalOriginFailure += 1;
      return this.#consecutive(monitor, "consecutive_local_origin_failure", nowMs, random);
    }
    if (splitLocalOrigin) {
      monitor.consecutiveLocalOriginFailure = 0;
      monitor.local.requests += 1;
      monitor.local.successes += 1;
    }
    return this.#recordStatus(monitor, status, nowMs, random);
  }

  #recordStatus(
    monitor: Monitor,
    status: number,
    nowMs: number,
    random: () => number,
  ): readonly Detection[] {
    monitor.external.requests += 1;
    if (status < 500 || status > 599) {
      monitor.external.successes += 1;
      monitor.consecutive5xx = 0;
      monitor.consecutiveGatewayFailure = 0;
      return [];
    }
    const detections: Detection[] = [];
    if (status === 502 || status === 503 || status === 504) {
      monitor.consecutiveGatewayFailure += 1;
      detections.push(...this.#consecutive(monitor, "consecutive_gateway_failure", nowMs, random));
    } else {
      monitor.consecutiveGatewayFailure = 0;
    }
    monitor.consecutive5xx += 1;
    detections.push(...this.#consecutive(monitor, "consecutive_5xx", nowMs, random));
    return detections;
  }

  #consecutive(
    monitor: Monitor,
    cause: keyof typeof COUNTERS,
    nowMs: number,
    random: () => number,
  ): readonly Detection[] {
    const { counter, limit } = COUNTERS[cause];
    // Exactly at the limit, as Envoy: a host that could not be put out is not tried at each failure.
    if (monitor[counter] !== this.#config[limit]) return [];
    if (monitor.ejectedAtMs !== undefined) return [];
    const detection = this.#detect(monitor, cause, nowMs, random);
    monitor[counter] = 0;
    return [detection];
  }

  /**
   * Once per interval: lets those back in whose time is over, shortens the time of those that did
   * well, then compares the hosts of the interval. Answers detections and whether a host came back.
   */
  sweep(
    nowMs: number,
    random: () => number,
  ): { readonly detections: readonly Detection[]; readonly hasReturned: boolean } {
    let hasReturned = false;
    for (const monitor of this.#monitors.values()) {
      if (this.#mayReturn(monitor, nowMs)) hasReturned = true;
    }
    const detections = [
      ...this.#compare("external", "success_rate", "failure_percentage", nowMs, random),
      ...(this.#config.splitLocalOrigin
        ? this.#compare(
            "local",
            "local_origin_success_rate",
            "local_origin_failure_percentage",
            nowMs,
            random,
          )
        : []),
    ];
    for (const { external, local } of this.#monitors.values()) {
      for (const bucket of [external, local]) {
        bucket.requests = 0;
        bucket.successes = 0;
      }
    }
    return { detections, hasReturned };
  }

  #mayReturn(monitor: Monitor, nowMs: number): boolean {
    if (monitor.ejectedAtMs === undefined) {
      monitor.multiplier = Math.max(0, monitor.multiplier - 1);
      return false;
    }
    const { baseEjectionTimeMs, maxEjectionTimeMs } = this.#config;
    const outMs = Math.min(baseEjectionTimeMs * monitor.multiplier, maxEjectionTimeMs);
    if (outMs + monitor.jitterMs > nowMs - monitor.ejectedAtMs) return false;
    return this.readmit(monitor.host);
  }

  /** Lets a host back in before its time is over. Returns whether it was out. */
  readmit(host: string): boolean {
    const monitor = this.#monitors.get(host);
    if (monitor?.ejectedAtMs === undefined) return false;
    monitor.ejectedAtMs = undefined;
    monitor.consecutive5xx = 0;
    monitor.consecutiveGatewayFailure = 0;
    monitor.consecutiveLocalOriginFailure = 0;
    this.#ejected -= 1;
    return true;
  }

  #compare(
    origin: "external" | "local",
    rateCause: EjectionCause,
    percentageCause: EjectionCause,
    nowMs: number,
    random: () => number,
  ): readonly Detection[] {
    const config = this.#config;
    const inUse = [...this.#monitors.values()].filter((m) => m.ejectedAtMs === undefined);
    const withVolume = (volume: number) =>
      inUse
        .filter((m) => m[origin].requests > 0 && m[origin].requests >= volume)
        .map((monitor) => ({ monitor, rate: successRate(monitor[origin]) }));
    const detections: Detection[] = [];
    const rated = withVolume(config.successRateRequestVolume);
    if (rated.length > 0 && rated.length >= config.successRateMinimumHosts) {
      const threshold = lowestRate(
        rated.map(({ rate }) => rate),
        config.successRateStdevFactor / 1000,
      );
      for (const { monitor, rate } of rated) {
        if (rate < threshold) detections.push(this.#detect(monitor, rateCause, nowMs, random));
      }
    }
    const counted = withVolume(config.failurePercentageRequestVolume);
    if (counted.length > 0 && counted.length >= config.failurePercentageMinimumHosts) {
      for (const { monitor, rate } of counted) {
        if (monitor.ejectedAtMs !== undefined) continue;
        if (100 - rate >= config.failurePercentageThreshold) {
          detections.push(this.#detect(monitor, percentageCause, nowMs, random));
        }
      }
    }
    return detections;
  }

  #detect(monitor: Monitor, cause: EjectionCause, nowMs: number, random: () => number): Detection {
    const config = this.#config;
    const { host } = monitor;
    const percent = (100 * (this.#ejected + 1)) / this.#monitors.size;
    const isAllowed =
      percent <= config.maxEjectionPercent || (config.alwaysEjectOneHost && this.#ejected === 0);
    if (!isAllowed) return { host, cause, outcome: "overflow" };
    if (random() * 100 >= config.enforcing[cause]) return { host, cause, outcome: "notEnforced" };
    monitor.ejectedAtMs = nowMs;
    monitor.jitterMs = random() * config.maxEjectionTimeJitterMs;
    // Beyond the maximum it need not grow: it would only take longer to come down again.
    const { baseEjectionTimeMs, maxEjectionTimeMs } = config;
    if (monitor.multiplier * baseEjectionTimeMs < maxEjectionTimeMs + baseEjectionTimeMs) {
      monitor.multiplier += 1;
    }
    this.#ejected += 1;
    return { host, cause, outcome: "ejected" };
  }
}

const COUNTERS = {
  consecutive_5xx: { counter: "consecutive5xx", limit: "consecutive5xx" },
  consecutive_gateway_failure: {
    counter: "consecutiveGatewayFailure",
    limit: "consecutiveGatewayFailure",
  },
  consecutive_local_origin_failure: {
    counter: "consecutiveLocalOriginFailure",
    limit: "consecutiveLocalOriginFailure",
  },
} as const;

function newMonitor(host: string): Monitor {
  return {
    host,
    consecutive5xx: 0,
    consecutiveGatewayFailure: 0,
    consecutiveLocalOriginFailure: 0,
    external: { requests: 0, successes: 0 },
    local: { requests: 0, successes: 0 },
    ejectedAtMs: undefined,
    jitterMs: 0,
    multiplier: 0,
  };
}

/** 0..100. */
function successRate({ requests, successes }: Bucket): number {
  return (successes * 100) / requests;
}

/** Mean less so many standard deviations (of the population). */
function lowestRate(rates: readonly number[], factor: number): number {
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  return mean - factor * Math.sqrt(variance);
}
