import {
  AT_EASE,
  type OverloadConfig,
  type OverloadState,
  type ScaledTimer,
  scaledTimeoutMs,
} from "./core/overload.ts";

/** What a thread needs to take part; it may be sent to one. */
export interface OverloadShare {
  readonly timers: readonly ScaledTimer[];
  readonly maxConnections: number | undefined;
  /** One 32-bit number: the clients' connections of all threads. */
  readonly connections: SharedArrayBuffer;
}

/** What the threads of a proxy share; undefined without an overload manager. */
export function shareOverload(config: OverloadConfig | undefined): OverloadShare | undefined {
  if (config === undefined) return undefined;
  const { timers, maxConnections } = config;
  return { timers, maxConnections, connections: new SharedArrayBuffer(4) };
}

/** How the data path of one thread hears of overload. */
export class OverloadGuard {
  state: OverloadState = AT_EASE;
  readonly #share: OverloadShare;
  readonly #connections: Int32Array;

  constructor(share: OverloadShare) {
    this.#share = share;
    this.#connections = new Int32Array(share.connections);
  }

  /** Counts a new connection; false, and not counted, when there are as many as may be. */
  takeConnection(): boolean {
    const before = Atomics.add(this.#connections, 0, 1);
    const { maxConnections } = this.#share;
    if (maxConnections === undefined || before < maxConnections) return true;
    this.releaseConnection();
    return false;
  }

  releaseConnection(): void {
    Atomics.sub(this.#connections, 0, 1);
  }

  /** A timeout in milliseconds as it is under the present load. */
  timeoutMs(timer: ScaledTimer["timer"], timeoutMs: number): number {
    return scaledTimeoutMs(this.#share.timers, this.state.reduceTimeouts, timer, timeoutMs);
  }
}
