import type { ClusterConfig, RequestTelemetry } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { Balancer, HashBalancer } from "../core/balance/balancer.ts";
import { selectHosts } from "../core/balance/host-set.ts";
import { createBalancer as createLeastRequest } from "../core/balance/least-request.ts";
import { createBalancer as createMaglev } from "../core/balance/maglev.ts";
import { createBalancer as createRandom } from "../core/balance/random.ts";
import { createBalancer as createRingHash } from "../core/balance/ring-hash.ts";
import { createBalancer as createRoundRobin } from "../core/balance/round-robin.ts";
import { Circuit } from "../core/circuit.ts";
import type { AttemptOutcome } from "../core/outlier.ts";
import { HostPool } from "./host-pool.ts";
import { OutlierMonitor } from "./outlier-monitor.ts";

type Counter = ReturnType<RequestTelemetry["counter"]>;

/** Envoy's stats of a cluster, looked up once. */
interface ClusterStats {
  readonly connectionsTotal: Counter;
  readonly connectionsActive: Counter;
  readonly connectFail: Counter;
  readonly connectTimeout: Counter;
  readonly pendingTotal: Counter;
  readonly pendingActive: Counter;
  readonly pendingOverflow: Counter;
  readonly protocolError: Counter;
  readonly http2Total: Counter;
  readonly requestsTotal: Counter;
  readonly requestsActive: Counter;
  readonly completed: Counter;
  readonly requestTimeout: Counter;
  readonly perTryTimeout: Counter;
  readonly retries: Counter;
  readonly retrySuccess: Counter;
  readonly retryOverflow: Counter;
  readonly retryLimitExceeded: Counter;
  /** Indexed by the first digit of the status. */
  readonly byClass: readonly Counter[];
}

function clusterStats(telemetry: RequestTelemetry, name: string): ClusterStats {
  const counter = (stat: string): Counter => telemetry.counter(`cluster.${name}.${stat}`);
  const gauge = (stat: string): Counter => telemetry.gauge(`cluster.${name}.${stat}`);
  return {
    connectionsTotal: counter("upstream_cx_total"),
    connectionsActive: gauge("upstream_cx_active"),
    connectFail: counter("upstream_cx_connect_fail"),
    connectTimeout: counter("upstream_cx_connect_timeout"),
    protocolError: counter("upstream_cx_protocol_error"),
    http2Total: counter("upstream_cx_http2_total"),
    pendingTotal: counter("upstream_rq_pending_total"),
    pendingActive: gauge("upstream_rq_pending_active"),
    pendingOverflow: counter("upstream_rq_pending_overflow"),
    requestsTotal: counter("upstream_rq_total"),
    requestsActive: gauge("upstream_rq_active"),
    completed: counter("upstream_rq_completed"),
    requestTimeout: counter("upstream_rq_timeout"),
    perTryTimeout: counter("upstream_rq_per_try_timeout"),
    retries: counter("upstream_rq_retry"),
    retrySuccess: counter("upstream_rq_retry_success"),
    retryOverflow: counter("upstream_rq_retry_overflow"),
    retryLimitExceeded: counter("upstream_rq_retry_limit_exceeded"),
    byClass: ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].map((c) => counter(`upstream_rq_${c}`)),
  };
}

type HostChooser = (hash: bigint | undefined, attempt: number) => HostPool | undefined;

/** 64 random bits. */
function randomHash(random: () => number): bigint {
  const half = (): bigint => BigInt(Math.floor(random() * 2 ** 32));
  return (half() << 32n) | half();
}

/** What lives on of a cluster while its configuration changes: hosts, connections, counts. */
export class ClusterRuntime {
  readonly stats: ClusterStats;
  readonly circuit: Circuit;
  readonly #context: ProxyContext;
  readonly #hosts = new Map<string, HostPool>();
  readonly #byStatus = new Map<number, Counter>();
  readonly #statName: string;
  #config: ClusterConfig;
  readonly #outliers: OutlierMonitor;
  #balancer: HostChooser;
  #available = 0;

  constructor(context: ProxyContext, config: ClusterConfig) {
    this.#context = context;
    this.#config = config;
    this.#statName = config.altStatName === "" ? config.name : config.altStatName;
    this.stats = clusterStats(context.telemetry, this.#statName);
    this.circuit = new Circuit(config.circuitBreaker);
    this.#outliers = new OutlierMonitor(context, this.#statName, () => {
      this.#balancer = this.#balance();
    });
    this.#balancer = this.#apply();
  }

  get config(): ClusterConfig {
    return this.#config;
  }

  /** Connections open now, all hosts together. */
  get connectionCount(): number {
    let count = 0;
    for (const host of this.#hosts.values()) count += host.connectionCount;
    return count;
  }

  update(config: ClusterConfig): void {
    this.#config = config;
    this.circuit.update(config.circuitBreaker);
    this.#balancer = this.#apply();
  }

  /**
   * The host for one request, or undefined when none is healthy. A host for which `isTried` answers
   * true is avoided for up to `maxAttempts` draws. `hash` places the request where the cluster
   * hashes; without one it goes anywhere.
   */
  pick(
    isTried: ((host: HostPool) => boolean) | undefined,
    maxAttempts: number,
    hash?: bigint,
  ): HostPool | undefined {
    let host = this.#balancer(hash, 0);
    if (isTried === undefined || this.#available < 2) return host;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      if (host === undefined || !isTried(host)) return host;
      host = this.#balancer(hash, attempt + 1);
    }
    return host;
  }

  /** Tells outlier detection how an attempt at a host ended. */
  recordOutcome(host: HostPool, outcome: AttemptOutcome): void {
    this.#outliers.record(host.endpoint.key, outcome);
  }

  /** Counts an attempt's outcome under its status and its class, as Envoy does. */
  countStatus(status: number): void {
    this.stats.completed.add(1);
    this.stats.byClass[Math.floor(status / 100)]?.add(1);
    let counter = this.#byStatus.get(status);
    if (counter === undefined) {
      counter = this.#context.telemetry.counter(`cluster.${this.#statName}.upstream_rq_${status}`);
      this.#byStatus.set(status, counter);
    }
    counter.add(1);
  }

  /** Requests began (or, below zero, ceased) to wait for a connection. */
  countWaiting(requests: number): void {
    this.circuit.pending += requests;
    this.stats.pendingActive.add(requests);
    if (requests > 0) this.stats.pendingTotal.add(requests);
  }

  /** Counts a response that the client never sees, because the request was tried again. */
  countRetriedStatus(status: number): void {
    const prefix = `cluster.${this.#statName}.retry.upstream_rq`;
    for (const suffix of ["completed", `${Math.floor(status / 100)}xx`, status]) {
      this.#context.telemetry.counter(`${prefix}_${suffix}`).add(1);
    }
  }

  closeIdle(nowMs: number): void {
    for (const host of this.#hosts.values()) host.closeIdle(nowMs);
  }

  retire(): void {
    this.#outliers.stop();
    for (const host of this.#hosts.values()) host.retire();
  }

  destroy(): void {
    this.#outliers.stop();
    for (const host of this.#hosts.values()) host.destroy();
  }

  #apply(): HostChooser {
    const { endpoints, outlierDetection } = this.#config;
    const kept = new Set<string>();
    for (const endpoint of endpoints) {
      kept.add(endpoint.key);
      const known = this.#hosts.get(endpoint.key);
      if (known !== undefined) known.update(endpoint);
      else this.#hosts.set(endpoint.key, new HostPool(this.#context, this, endpoint));
    }
    for (const [key, host] of this.#hosts) {
      if (kept.has(key)) continue;
      this.#hosts.delete(key);
      host.retire();
    }
    this.#outliers.update(outlierDetection, kept);
    return this.#balance();
  }

  #balance(): HostChooser {
    const { endpoints, healthyPanicThresholdPercent } = this.#config;
    const judged = endpoints.map((endpoint) =>
      this.#outliers.isEjected(endpoint.key) ? { ...endpoint, isHealthy: false } : endpoint,
    );
    const hosts: HostPool[] = [];
    for (const endpoint of selectHosts(judged, healthyPanicThresholdPercent)) {
      const host = this.#hosts.get(endpoint.key);
      if (host !== undefined) hosts.push(host);
    }
    this.#available = hosts.length;
    return this.#chooser(hosts);
  }

  #chooser(hosts: readonly HostPool[]): HostChooser {
    const { lbPolicy, leastRequestChoices, ringSize, maglevTableSize } = this.#config;
    const { random } = this.#context;
    const plain =
      (balancer: Balancer<HostPool>): HostChooser =>
      () =>
        balancer.pick(random);
    const hashed = (balancer: HashBalancer<HostPool>): HostChooser => {
      return (hash, attempt) => balancer.pick(hash ?? randomHash(random), attempt);
    };
    switch (lbPolicy) {
      case "round_robin":
        return plain(createRoundRobin(hosts, Math.floor(random() * hosts.length)));
      case "least_request":
        return plain(createLeastRequest(hosts, leastRequestChoices));
      case "random":
        return plain(createRandom(hosts));
      case "ring_hash":
        return hashed(createRingHash(hosts, ringSize.minimum, ringSize.maximum));
      case "maglev":
        return hashed(createMaglev(hosts, maglevTableSize));
    }
  }
}
