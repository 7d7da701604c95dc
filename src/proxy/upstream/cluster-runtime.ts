import type { ClusterConfig, EndpointConfig, RequestTelemetry } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import type { PlacedHost } from "../core/balance/host-sets.ts";
import type { PriorityBalancer } from "../core/balance/priority-balancer.ts";
import { Circuit } from "../core/circuit.ts";
import { hostHealth } from "../core/host-health.ts";
import type { AttemptOutcome } from "../core/outlier.ts";
import { formatAddress } from "../net/connection-info.ts";
import type { Destination } from "../net/original-destination.ts";
import type { UpstreamStream } from "../streams.ts";
import { circuitGauges } from "./circuit-gauges.ts";
import { HealthMonitor } from "./health-check/monitor.ts";
import { HostPool } from "./host-pool.ts";
import { createLoadBalancer } from "./load-balancer.ts";
import type { MembershipGauges } from "./membership.ts";
import { OutlierMonitor } from "./outlier-monitor.ts";

type Counter = ReturnType<RequestTelemetry["counter"]>;

/** Envoy's stats of a cluster, looked up once. */
interface ClusterStats {
  readonly connectionsTotal: Counter;
  readonly connectionsActive: Counter;
  readonly connectionOverflow: Counter;
  readonly noneHealthy: Counter;
  readonly destroyed: Counter;
  readonly destroyedLocally: Counter;
  readonly destroyedRemotely: Counter;
  readonly destroyedWithRequest: Counter;
  readonly destroyedLocallyWithRequest: Counter;
  readonly destroyedRemotelyWithRequest: Counter;
  readonly maxRequestsReached: Counter;
  readonly maxDurationReached: Counter;
  readonly idleTimeout: Counter;
  readonly http1Total: Counter;
  readonly connectFail: Counter;
  readonly connectTimeout: Counter;
  readonly pendingTotal: Counter;
  readonly pendingActive: Counter;
  readonly pendingOverflow: Counter;
  readonly activeOverflow: Counter;
  readonly protocolError: Counter;
  readonly http2Total: Counter;
  readonly requestsTotal: Counter;
  readonly requestsActive: Counter;
  readonly completed: Counter;
  readonly requestTimeout: Counter;
  readonly perTryTimeout: Counter;
  readonly perTryIdleTimeout: Counter;
  readonly retries: Counter;
  readonly retryBackoffExponential: Counter;
  readonly retryBackoffRateLimited: Counter;
  readonly retrySuccess: Counter;
  readonly retryOverflow: Counter;
  readonly retryLimitExceeded: Counter;
  readonly healthyPanic: Counter;
  /** Indexed by the first digit of the status. */
  readonly byClass: readonly Counter[];
}

function clusterStats(telemetry: RequestTelemetry, name: string): ClusterStats {
  const counter = (stat: string): Counter => telemetry.counter(`cluster.${name}.${stat}`);
  const gauge = (stat: string): Counter => telemetry.gauge(`cluster.${name}.${stat}`);
  return {
    connectionsTotal: counter("upstream_cx_total"),
    connectionsActive: gauge("upstream_cx_active"),
    connectionOverflow: counter("upstream_cx_overflow"),
    noneHealthy: counter("upstream_cx_none_healthy"),
    destroyed: counter("upstream_cx_destroy"),
    destroyedLocally: counter("upstream_cx_destroy_local"),
    destroyedRemotely: counter("upstream_cx_destroy_remote"),
    destroyedWithRequest: counter("upstream_cx_destroy_with_active_rq"),
    destroyedLocallyWithRequest: counter("upstream_cx_destroy_local_with_active_rq"),
    destroyedRemotelyWithRequest: counter("upstream_cx_destroy_remote_with_active_rq"),
    maxRequestsReached: counter("upstream_cx_max_requests"),
    maxDurationReached: counter("upstream_cx_max_duration_reached"),
    idleTimeout: counter("upstream_cx_idle_timeout"),
    http1Total: counter("upstream_cx_http1_total"),
    connectFail: counter("upstream_cx_connect_fail"),
    connectTimeout: counter("upstream_cx_connect_timeout"),
    protocolError: counter("upstream_cx_protocol_error"),
    http2Total: counter("upstream_cx_http2_total"),
    pendingTotal: counter("upstream_rq_pending_total"),
    pendingActive: gauge("upstream_rq_pending_active"),
    pendingOverflow: counter("upstream_rq_pending_overflow"),
    activeOverflow: counter("upstream_rq_active_overflow"),
    requestsTotal: counter("upstream_rq_total"),
    requestsActive: gauge("upstream_rq_active"),
    completed: counter("upstream_rq_completed"),
    requestTimeout: counter("upstream_rq_timeout"),
    perTryTimeout: counter("upstream_rq_per_try_timeout"),
    perTryIdleTimeout: counter("upstream_rq_per_try_idle_timeout"),
    retries: counter("upstream_rq_retry"),
    retryBackoffExponential: counter("upstream_rq_retry_backoff_exponential"),
    retryBackoffRateLimited: counter("upstream_rq_retry_backoff_ratelimited"),
    retrySuccess: counter("upstream_rq_retry_success"),
    retryOverflow: counter("upstream_rq_retry_overflow"),
    retryLimitExceeded: counter("upstream_rq_retry_limit_exceeded"),
    healthyPanic: counter("lb_healthy_panic"),
    byClass: ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].map((c) => counter(`upstream_rq_${c}`)),
  };
}

/** The priority of each try of a request so far, and how many of them to leave out at a time. */
export interface TriedPriorities {
  readonly priorities: readonly number[];
  readonly updateFrequency: number;
}

/** All that is known of a host that only a connection has named. */
const DESTINATION = {
  weight: 1,
  priority: 0,
  edsHealth: "UNKNOWN",
  locality: { key: "", weight: 0 },
  hostname: "",
  isCanary: false,
  transportSocketMatch: {},
  peer: undefined,
} as const;

/** What lives on of a cluster while its configuration changes: hosts, connections, counts. */
export class ClusterRuntime {
  readonly stats: ClusterStats;
  /** For requests of the usual priority. */
  readonly circuit: Circuit;
  #highCircuit: Circuit | undefined;
  readonly #context: ProxyContext;
  readonly #hosts = new Map<string, HostPool>();
  readonly #byStatus = new Map<number, Counter>();
  readonly #statName: string;
  #config: ClusterConfig;
  readonly #outliers: OutlierMonitor;
  #balancer: PriorityBalancer<HostPool>;
  readonly #membership: MembershipGauges;
  readonly #checks: HealthMonitor;
  /** Hosts that the control plane has taken out, and that serve while they pass their checks. */
  readonly #lingering = new Map<string, EndpointConfig>();
  #hasConnected = false;

  constructor(context: ProxyContext, config: ClusterConfig, membership: MembershipGauges) {
    this.#context = context;
    this.#membership = membership;
    this.#config = config;
    this.#statName = config.altStatName === "" ? config.name : config.altStatName;
    const stats = clusterStats(context.telemetry, this.#statName);
    const connectionsTotal: Counter = {
      add: (count) => {
        this.#hasConnected = true;
        stats.connectionsTotal.add(count);
      },
    };
    this.stats = { ...stats, connectionsTotal };
    this.circuit = new Circuit(
      config.circuitBreaker,
      circuitGauges(context.telemetry, this.#statName, "default"),
    );
    // What is left shows though nobody asks for it.
    if (config.highPriorityCircuitBreaker.tracksRemaining) this.#createHighCircuit();
    this.#outliers = new OutlierMonitor(context, this.#statName, () => {
      this.#balancer = this.#balance();
    });
    this.#checks = new HealthMonitor(context, this.#statName, {
      onChange: () => {
        this.#dropLingering();
        this.#balancer = this.#balance();
      },
      onPassed: (host) => this.#readmit(host),
      hasTraffic: () => this.#hasConnected,
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
    this.#highCircuit?.update(config.highPriorityCircuitBreaker);
    this.#balancer = this.#apply();
  }

  /**
   * The host for one request, or undefined when none is healthy. A host for which `isTried` answers
   * true is avoided for up to `maxAttempts` draws. `hash` places the request where the cluster
   * hashes; without one it goes anywhere. `tried`: priorities that a retry keeps away from.
   */
  pick(
    isTried: ((host: HostPool) => boolean) | undefined,
    maxAttempts: number,
    hash?: bigint,
    tried?: TriedPriorities,
  ): HostPool | undefined {
    const load = tried && this.#balancer.loadWithoutTried(tried.priorities, tried.updateFrequency);
    let host = this.#balancer.pick(hash, 0, load);
    if (isTried === undefined) return host;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      if (host === undefined || !isTried(host)) return host;
      host = this.#balancer.pick(hash, attempt + 1, load);
    }
    return host;
  }

  /** The host at `ip:port`, if the cluster has it and it is well enough to serve. */
  hostByAddress(key: string): HostPool | undefined {
    const host = this.#hosts.get(key);
    if (host === undefined) return undefined;
    const health = hostHealth(host.endpoint.edsHealth, {
      isEjected: this.#outliers.isEjected(key),
      failsActiveCheck: this.#checks.isFailing(key),
      isDegraded: this.#checks.isDegraded(key),
    });
    return health === "healthy" || health === "degraded" ? host : undefined;
  }

  /** The host of an ORIGINAL_DST cluster for a destination; made when it is new. */
  hostAt(destination: Destination): HostPool {
    const { address } = destination;
    const port = this.#config.originalDst?.port ?? destination.port;
    const key = formatAddress(address, port);
    let host = this.#hosts.get(key);
    if (host === undefined) {
      host = new HostPool(this.#context, this, { ...DESTINATION, key, address, port });
      this.#hosts.set(key, host);
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

  /** The limits that a request counts against. */
  circuitOf(stream: { readonly isHighPriority?: boolean }): Circuit {
    if (stream.isHighPriority !== true) return this.circuit;
    return this.#createHighCircuit();
  }

  #createHighCircuit(): Circuit {
    this.#highCircuit ??= new Circuit(
      this.#config.highPriorityCircuitBreaker,
      circuitGauges(this.#context.telemetry, this.#statName, "high"),
    );
    return this.#highCircuit;
  }

  /** A request begins to wait for a connection. False, and counted, when too many do. */
  enqueue(stream: UpstreamStream): boolean {
    const { pending } = this.circuitOf(stream);
    if (!pending.canTake) {
      this.stats.pendingOverflow.add(1);
      return false;
    }
    pending.add(1);
    this.stats.pendingActive.add(1);
    this.stats.pendingTotal.add(1);
    return true;
  }

  /** A request waits no longer. */
  dequeue(stream: UpstreamStream): void {
    this.circuitOf(stream).pending.add(-1);
    this.stats.pendingActive.add(-1);
  }

  /** Whether one more request may be on its way; counted when not. */
  canAttach(stream: UpstreamStream): boolean {
    if (this.circuitOf(stream).requests.canTake) return true;
    this.stats.activeOverflow.add(1);
    return false;
  }

  /** Whether a host that has so many connections may get another; counted when not. */
  canConnect(hostConnections: number, { connections }: Circuit): boolean {
    const isBelow = hostConnections < this.#config.maxConnectionsPerHost;
    if (isBelow && connections.canTake) return true;
    this.stats.connectionOverflow.add(1);
    // Each host may have one connection whatever the limit, or it could never be reached.
    return hostConnections === 0;
  }

  connectionOpened(circuit: Circuit): void {
    circuit.connections.add(1);
    this.stats.connectionsTotal.add(1);
    this.stats.connectionsActive.add(1);
  }

  /** Counts an end of a connection as Envoy does: whose decision it was, and whether it carried a request. */
  countDestroyed(isLocal: boolean, hasRequest: boolean): void {
    const { stats } = this;
    stats.destroyed.add(1);
    (isLocal ? stats.destroyedLocally : stats.destroyedRemotely).add(1);
    if (!hasRequest) return;
    stats.destroyedWithRequest.add(1);
    const withRequest = isLocal
      ? stats.destroyedLocallyWithRequest
      : stats.destroyedRemotelyWithRequest;
    withRequest.add(1);
  }

  connectionClosed(circuit: Circuit): void {
    circuit.connections.add(-1);
    this.stats.connectionsActive.add(-1);
  }

  /** Counts a response that the client never sees, because the request was tried again. */
  countRetriedStatus(status: number): void {
    const prefix = `cluster.${this.#statName}.retry.upstream_rq`;
    for (const suffix of ["completed", `${Math.floor(status / 100)}xx`, status]) {
      this.#context.telemetry.counter(`${prefix}_${suffix}`).add(1);
    }
  }

  closeIdle(nowMs: number): void {
    for (const [key, host] of this.#hosts) {
      host.closeIdle(nowMs);
      // Destinations are as many as clients like: those not in use are forgotten.
      const isUnused = host.activeRequests === 0 && host.connectionCount === 0;
      if (this.#config.originalDst !== undefined && isUnused) this.#hosts.delete(key);
    }
  }

  retire(): void {
    this.#outliers.stop();
    this.#checks.stop();
    for (const host of this.#hosts.values()) host.retire();
  }

  destroy(): void {
    this.#outliers.stop();
    this.#checks.stop();
    for (const host of this.#hosts.values()) host.destroy();
  }

  #apply(): PriorityBalancer<HostPool> {
    const { endpoints, outlierDetection } = this.#config;
    const kept = new Set<string>();
    for (const endpoint of endpoints) {
      kept.add(endpoint.key);
      const known = this.#hosts.get(endpoint.key);
      if (known !== undefined) known.update(endpoint);
      else this.#hosts.set(endpoint.key, new HostPool(this.#context, this, endpoint));
    }
    for (const key of kept) this.#lingering.delete(key);
    for (const [key, host] of this.#hosts) {
      if (kept.has(key)) continue;
      if (this.#config.originalDst !== undefined) {
        host.update(host.endpoint);
        continue;
      }
      if (this.#mayLinger(key)) {
        this.#lingering.set(key, host.endpoint);
        continue;
      }
      this.#lingering.delete(key);
      this.#hosts.delete(key);
      host.retire();
    }
    this.#outliers.update(outlierDetection, this.#hosts.keys());
    this.#checks.update(this.#config, this.#hosts.values());
    return this.#balance();
  }

  /** As Envoy: what passes its checks goes on serving, in case the control plane is mistaken. */
  #mayLinger(key: string): boolean {
    const { healthCheck, ignoreHealthOnHostRemoval } = this.#config;
    if (healthCheck === undefined || ignoreHealthOnHostRemoval) return false;
    return !this.#checks.isFailing(key);
  }

  #dropLingering(): void {
    for (const key of this.#lingering.keys()) {
      if (this.#mayLinger(key)) continue;
      this.#lingering.delete(key);
      const host = this.#hosts.get(key);
      this.#hosts.delete(key);
      host?.retire();
    }
    this.#outliers.update(this.#config.outlierDetection, this.#hosts.keys());
    this.#checks.update(this.#config, this.#hosts.values());
  }

  #readmit({ endpoint }: HostPool): void {
    if (this.#config.outlierDetection?.readmitsOnHealthCheck !== true) return;
    if (this.#outliers.readmit(endpoint.key)) this.#balancer = this.#balance();
  }

  #balance(): PriorityBalancer<HostPool> {
    const placed: PlacedHost<HostPool>[] = [];
    for (const endpoint of [...this.#config.endpoints, ...this.#lingering.values()]) {
      const host = this.#hosts.get(endpoint.key);
      if (host === undefined) continue;
      const health = hostHealth(endpoint.edsHealth, {
        isEjected: this.#outliers.isEjected(endpoint.key),
        failsActiveCheck: this.#checks.isFailing(endpoint.key),
        isDegraded: this.#checks.isDegraded(endpoint.key),
      });
      placed.push({
        host,
        priority: endpoint.priority,
        locality: endpoint.locality.key,
        localityWeight: endpoint.locality.weight,
        health,
      });
    }
    this.#membership.show(
      this.#statName,
      placed.map(({ health }) => health),
    );
    return createLoadBalancer(this.#context, this.#config, placed, () =>
      this.stats.healthyPanic.add(1),
    );
  }
}
