interface Thresholds {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  readonly retryBudget: { readonly percent: number; readonly minConcurrency: number } | undefined;
}

/**
 * What a cluster has in use, against its circuit breaker's thresholds. Envoy's semantics: limits hold
 * per proxy and cluster; going over refuses at once, nothing trips open for a time.
 */
export class Circuit {
  connections = 0;
  pending = 0;
  requests = 0;
  retries = 0;
  #thresholds: Thresholds;

  constructor(thresholds: Thresholds) {
    this.#thresholds = thresholds;
  }

  /** New thresholds apply from now; what is in use stays. */
  update(thresholds: Thresholds): void {
    this.#thresholds = thresholds;
  }

  get canConnect(): boolean {
    return this.connections < this.#thresholds.maxConnections;
  }

  get canQueue(): boolean {
    return this.pending < this.#thresholds.maxPendingRequests;
  }

  get canRequest(): boolean {
    return this.requests < this.#thresholds.maxRequests;
  }

  /** A retry budget, when there is one, replaces maxRetries: a share of the active requests. */
  get canRetry(): boolean {
    const { retryBudget, maxRetries } = this.#thresholds;
    if (retryBudget === undefined) return this.retries < maxRetries;
    const active = this.requests + this.pending;
    const allowed = Math.max(retryBudget.minConcurrency, (active * retryBudget.percent) / 100);
    return this.retries < Math.floor(allowed);
  }
}
