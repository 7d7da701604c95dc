/** Envoy's TokenBucket message. */
export interface TokenBucketConfig {
  readonly maxTokens: number;
  readonly tokensPerFill: number;
  readonly fillIntervalMs: number;
}

/** Tokens that come back at a steady rate, up to a limit; it begins full. */
export class TokenBucket {
  readonly config: TokenBucketConfig;
  #tokens: number;
  #filledMs: number;

  constructor(config: TokenBucketConfig, nowMs: number) {
    this.config = config;
    this.#tokens = config.maxTokens;
    this.#filledMs = nowMs;
  }

  /** Takes one token; false when there is none. `nowMs` must not go back. */
  take(nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Whole tokens left. */
  remaining(nowMs: number): number {
    this.#refill(nowMs);
    return Math.floor(this.#tokens);
  }

  /** Seconds, rounded up, until a token is there. */
  resetSeconds(nowMs: number): number {
    this.#refill(nowMs);
    const { tokensPerFill, fillIntervalMs } = this.config;
    const missing = Math.max(0, 1 - this.#tokens);
    return Math.ceil((missing * fillIntervalMs) / tokensPerFill / 1000);
  }

  #refill(nowMs: number): void {
    const { maxTokens, tokensPerFill, fillIntervalMs } = this.config;
    const gained = ((nowMs - this.#filledMs) * tokensPerFill) / fillIntervalMs;
    this.#tokens = Math.min(maxTokens, this.#tokens + gained);
    this.#filledMs = nowMs;
  }
}
