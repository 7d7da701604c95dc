/** What a cluster may have in use at once, for requests of one priority. */
export interface CircuitThresholds {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** In place of `maxRetries`: a share (percent) of the active requests, but never less than so many. */
  readonly retryBudget: { readonly percent: number; readonly minConcurrency: number } | undefined;
  /** Shows what is left in gauges. */
  readonly tracksRemaining: boolean;
}

interface Gauge {
  add(count: number): void;
}

/** The gauges of one resource: 1 while its limit is reached, and what is left of it. */
export interface LimitGauges {
  readonly open: Gauge;
  readonly remaining: Gauge;
}

export interface CircuitGauges {
  readonly connections: LimitGauges;
  readonly pending: LimitGauges;
  readonly requests: LimitGauges;
  readonly retries: LimitGauges;
}

/** One resource: what is in use of it, and how much may be. */
export class Limit {
  #inUse = 0;
  #maximum: number;
  #isTracked: boolean;
  /** As the gauges have it. */
  #isOpen = false;
  #remaining = 0;
  readonly #gauges: LimitGauges | undefined;

  constructor(maximum: number, isTracked: boolean, gauges: LimitGauges | undefined) {
    this.#maximum = maximum;
    this.#isTracked = isTracked;
    this.#gauges = gauges;
    this.#showRemaining();
  }

  get inUse(): number {
    return this.#inUse;
  }

  get canTake(): boolean {
    return this.#inUse < this.#maximum;
  }

  /** Takes so many, or gives them back below 0. Taking beyond the maximum is the caller's decision. */
  add(count: number): void {
    this.#inUse += count;
    this.#showOpen();
    this.#showRemaining();
  }

  update(maximum: number, isTracked: boolean): void {
    this.#maximum = maximum;
    this.#isTracked = isTracked;
    this.#showRemaining();
  }

  /** As Envoy, only when something is taken or given: a limit of 0 does not show before. */
  #showOpen(): void {
    if (this.#gauges === undefined) return;
    const isOpen = !this.canTake;
    if (isOpen !== this.#isOpen) {
      this.#isOpen = isOpen;
      this.#gauges.open.add(isOpen ? 1 : -1);
    }
  }

  #showRemaining(): void {
    if (this.#gauges === undefined) return;
    if (!this.#isTracked && this.#remaining === 0) return;
    const remaining = this.#isTracked ? Math.max(0, this.#maximum - this.#inUse) : 0;
    if (remaining === this.#remaining) return;
    this.#gauges.remaining.add(remaining - this.#remaining);
    this.#remaining = remaining;
  }
}

/**
 * What a cluster has in use, against its circuit breaker's thresholds. Envoy's semantics: limits hold
 * per proxy, cluster and priority; going over refuses at once, nothing trips open for a time.
 */
export class Circuit {
  readonly connections: Limit;
  readonly pending: Limit;
  /** Those that have a connection. */
  readonly requests: Limit;
  readonly retries: Limit;
  #thresholds: CircuitThresholds;

  constructor(thresholds: CircuitThresholds, gauges?: CircuitGauges) {
    const { tracksRemaining: isTracked } = thresholds;
    this.#thresholds = thresholds;
    this.connections = new Limit(thresholds.maxConnections, isTracked, gauges?.connections);
    this.pending = new Limit(thresholds.maxPendingRequests, isTracked, gauges?.pending);
    this.requests = new Limit(thresholds.maxRequests, isTracked, gauges?.requests);
    this.retries = new Limit(this.#maxRetries(), isTracked, gauges?.retries);
  }

  /** New thresholds apply from now; what is in use stays. */
  update(thresholds: CircuitThresholds): void {
    const { tracksRemaining: isTracked } = thresholds;
    this.#thresholds = thresholds;
    this.connections.update(thresholds.maxConnections, isTracked);
    this.pending.update(thresholds.maxPendingRequests, isTracked);
    this.requests.update(thresholds.maxRequests, isTracked);
    this.retries.update(this.#maxRetries(), isTracked);
  }

  /** Whether one more retry may wait or be on its way. */
  get canRetry(): boolean {
    if (this.#thresholds.retryBudget !== undefined) {
      this.retries.update(this.#maxRetries(), this.#thresholds.tracksRemaining);
    }
    return this.retries.canTake;
  }

  #maxRetries(): number {
    const { retryBudget, maxRetries } = this.#thresholds;
    if (retryBudget === undefined) return maxRetries;
    const active = this.requests.inUse + this.pending.inUse;
    const share = Math.floor((active * retryBudget.percent) / 100);
    return Math.max(retryBudget.minConcurrency, share);
  }
}
