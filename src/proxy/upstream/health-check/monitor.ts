import type { ClusterConfig, RequestTelemetry } from "../../config/runtime-config.ts";
import type { ProxyContext } from "../../context.ts";
import {
  afterCheck,
  type HealthCheckConfig,
  type HostCheckState,
  nextCheckMs,
  type ProbeResult,
  UNCHECKED,
} from "../../core/health-check.ts";
import type { HostPool } from "../host-pool.ts";
import { HttpProbe } from "./http-probe.ts";
import { Http2Probe } from "./http2-probe.ts";
import type { Probe, ProbeTarget } from "./probe.ts";
import { grpcQuestion, httpQuestion } from "./questions.ts";
import { TcpProbe } from "./tcp-probe.ts";

interface Session {
  readonly host: HostPool;
  /** What the probe was made for. */
  readonly target: ProbeTarget;
  readonly probe: Probe;
  state: HostCheckState;
  cancelNext: (() => void) | undefined;
  cancelTimeout: (() => void) | undefined;
}

/** What the monitor tells its cluster. */
export interface HealthCheckListener {
  /** A host became healthy or unhealthy, or degraded or not. */
  onChange(): void;
  /** A host that is healthy has passed a check. */
  onPassed(host: HostPool): void;
  /** Whether anybody has connected to the cluster yet. */
  hasTraffic(): boolean;
}

/** Checks the hosts of one cluster: time, chance, sockets and stats around `core/health-check.ts`. */
export class HealthMonitor {
  readonly #context: ProxyContext;
  readonly #statPrefix: string;
  readonly #listener: HealthCheckListener;
  readonly #sessions = new Map<string, Session>();
  #config: HealthCheckConfig | undefined;
  #healthy = 0;
  #degraded = 0;

  constructor(context: ProxyContext, statName: string, listener: HealthCheckListener) {
    this.#context = context;
    this.#statPrefix = `cluster.${statName}.health_check`;
    this.#listener = listener;
  }

  /** Whether a host fails its checks, or has not passed one yet. False where none is configured. */
  isFailing(key: string): boolean {
    const session = this.#sessions.get(key);
    return session !== undefined && !session.state.isHealthy;
  }

  isDegraded(key: string): boolean {
    return this.#sessions.get(key)?.state.isDegraded === true;
  }

  /** The configuration and hosts from now on; what is known of hosts that stay is kept. */
  update(cluster: ClusterConfig, hosts: Iterable<HostPool>): void {
    const config = cluster.healthCheck;
    this.#config = config;
    const kept = new Set<string>();
    for (const host of config === undefined ? [] : hosts) {
      const { endpoint } = host;
      if (endpoint.healthCheck?.isDisabled === true) continue;
      kept.add(endpoint.key);
      this.#follow(host, cluster, config);
    }
    for (const [key, session] of this.#sessions) {
      if (kept.has(key)) continue;
      stop(session);
      this.#sessions.delete(key);
    }
    this.#countHealthy();
  }

  stop(): void {
    for (const session of this.#sessions.values()) stop(session);
    this.#sessions.clear();
    this.#countHealthy();
  }

  #follow(host: HostPool, cluster: ClusterConfig, config: HealthCheckConfig | undefined): void {
    if (config === undefined) return;
    const { endpoint } = host;
    const known = this.#sessions.get(endpoint.key);
    if (known !== undefined && isSameTarget(known.target, cluster, endpoint, config)) return;
    if (known !== undefined) stop(known);
    const target: ProbeTarget = { context: this.#context, cluster, endpoint, config };
    const session: Session = {
      host,
      target,
      probe: createProbe(target),
      state: known?.state ?? UNCHECKED,
      cancelNext: undefined,
      cancelTimeout: undefined,
    };
    this.#sessions.set(endpoint.key, session);
    const jitterMs = config.initialJitterMs;
    if (jitterMs > 0) this.#schedule(session, this.#context.random() * jitterMs);
    else this.#check(session);
  }

  #schedule(session: Session, delayMs: number): void {
    session.cancelNext = this.#context.clock.schedule(delayMs, () => this.#check(session));
  }

  #check(session: Session): void {
    this.#count("attempt");
    session.cancelTimeout = this.#context.clock.schedule(session.target.config.timeoutMs, () => {
      session.probe.abandon();
      this.#finished(session, { kind: "unreachable" });
    });
    session.probe.check((result) => this.#finished(session, result));
  }

  #finished(session: Session, result: ProbeResult): void {
    session.cancelTimeout?.();
    session.cancelTimeout = undefined;
    const config = this.#config ?? session.target.config;
    const before = session.state;
    const state = afterCheck(before, result, config);
    session.state = state;
    this.#count(result.kind === "passed" ? "success" : "failure");
    if (result.kind === "unreachable") this.#count("network_failure");
    const hasTraffic = this.#listener.hasTraffic();
    const { random } = this.#context;
    const delayMs = nextCheckMs(state, result.kind === "passed", hasTraffic, config, random);
    this.#schedule(session, delayMs);
    if (!before.isHealthy && state.isHealthy) session.host.healthySinceMs = performance.now();
    if (state.isHealthy && result.kind === "passed") this.#listener.onPassed(session.host);
    if (before.isHealthy === state.isHealthy && before.isDegraded === state.isDegraded) return;
    this.#countHealthy();
    this.#listener.onChange();
  }

  #countHealthy(): void {
    let [healthy, degraded] = [0, 0];
    for (const { state } of this.#sessions.values()) {
      if (state.isHealthy) healthy += 1;
      if (state.isDegraded) degraded += 1;
    }
    if (healthy === this.#healthy && degraded === this.#degraded) return;
    const { telemetry } = this.#context;
    telemetry.gauge(`${this.#statPrefix}.healthy`).add(healthy - this.#healthy);
    telemetry.gauge(`${this.#statPrefix}.degraded`).add(degraded - this.#degraded);
    this.#healthy = healthy;
    this.#degraded = degraded;
  }

  /** Rare enough to look the counter up. */
  #count(stat: "attempt" | "success" | "failure" | "network_failure"): void {
    const counter: ReturnType<RequestTelemetry["counter"]> = this.#context.telemetry.counter(
      `${this.#statPrefix}.${stat}`,
    );
    counter.add(1);
  }
}

function createProbe(target: ProbeTarget): Probe {
  const { probe } = target.config;
  switch (probe.kind) {
    case "http":
      return probe.isHttp2
        ? new Http2Probe(target, httpQuestion(target, probe))
        : new HttpProbe(target, probe);
    case "grpc":
      return new Http2Probe(target, grpcQuestion(target, probe));
    case "tcp":
      return new TcpProbe(target, probe);
  }
}

function stop(session: Session): void {
  session.cancelNext?.();
  session.cancelTimeout?.();
  session.probe.close();
}

function isSameTarget(
  target: ProbeTarget,
  cluster: ClusterConfig,
  endpoint: ProbeTarget["endpoint"],
  config: HealthCheckConfig,
): boolean {
  const { healthCheck: ours, hostname } = target.endpoint;
  const { healthCheck: theirs } = endpoint;
  return (
    target.config === config &&
    target.cluster.tlsFor(endpoint)?.version === cluster.tlsFor(endpoint)?.version &&
    ours?.port === theirs?.port &&
    ours?.hostname === theirs?.hostname &&
    hostname === endpoint.hostname
  );
}
