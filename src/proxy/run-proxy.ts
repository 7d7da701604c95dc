import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { messageOf, SerinError } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import {
  CLUSTER_TYPE,
  LISTENER_TYPE,
  packAny,
  type ResourceTypeUrl,
  SECRET_TYPE,
  XDS_TYPES,
} from "../xds/index.ts";
import { type LocalServer, type ServerState, startAdmin, startSidecarPorts } from "./admin.ts";
import type { AdsClient } from "./ads-client.ts";
import {
  type Bootstrap,
  type BootstrapPlan,
  parseBootstrap,
  planBootstrap,
} from "./config/bootstrap.ts";
import type { ProxyServer, RuntimeConfig } from "./config/runtime-config.ts";
import { peerMetadataHeaders, peerOfNode } from "./core/peer-metadata.ts";
import type { LocalNode } from "./core/tracing/span.ts";
import { OverloadGuard, shareOverload } from "./overload-guard.ts";
import { createOverloadMonitor, type OverloadMonitor } from "./overload-monitor.ts";
import { enableLinearRegExpFallback } from "./regexp-engine.ts";
import { createProxyServer } from "./server.ts";
import type { MetricsServiceSink } from "./telemetry/metrics-service.ts";
import { createTelemetry, type Telemetry } from "./telemetry.ts";
import { WorkerPool } from "./workers.ts";
import { ConfigStore } from "./xds/config-store.ts";
import type { WantedNames, XdsResource } from "./xds/resource.ts";

export interface RunProxyOptions {
  /** Envoy v3 bootstrap as JSON or YAML; or `bootstrap` as a message. One of the two. */
  readonly bootstrapText?: string;
  readonly bootstrap?: Bootstrap;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Threads that serve the listeners together; 1 by default. */
  readonly concurrency?: number;
  /** The extra ports of an injected pod. */
  readonly sidecar?: {
    readonly readyAddress: string;
    readonly readyPort: number;
    readonly statsPort: number;
  };
}

export interface RunningProxy {
  /** Resolves when the first configuration is in place and its listeners are open. */
  readonly ready: Promise<void>;
  /** Where the admin page listens; undefined when the bootstrap has none. */
  readonly adminPort: number | undefined;
  /** Resolves when somebody asked for the end over the admin port (/quitquitquit). */
  readonly quit: Promise<void>;
  /** Drains for at most `graceMs`, then closes everything. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Runs the data plane from a bootstrap: static resources first, then whatever the control plane
 * sends, for ever. Throws SERIN_INVALID_BOOTSTRAP, SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function runProxy(options: RunProxyOptions): Promise<RunningProxy> {
  enableLinearRegExpFallback();
  const bootstrap = options.bootstrap ?? parseBootstrap(options.bootstrapText ?? "");
  const proxy = new DataPlane(options, bootstrap, planBootstrap(bootstrap));
  try {
    await proxy.start();
  } catch (error) {
    await proxy.stop(0);
    throw error;
  }
  return proxy;
}

class DataPlane implements RunningProxy {
  readonly ready: Promise<void>;
  readonly quit: Promise<void>;
  readonly #options: RunProxyOptions;
  readonly #bootstrap: Bootstrap;
  readonly #plan: BootstrapPlan;
  readonly #startedMs: number;
  readonly #telemetry: Telemetry;
  readonly #server: ProxyServer;
  readonly #store: ConfigStore;
  readonly #locals: LocalServer[] = [];
  readonly #workers: WorkerPool | undefined;
  #overload: OverloadMonitor | undefined;
  #ads: AdsClient | undefined;
  #metrics: MetricsServiceSink | undefined;
  #wanted: WantedNames = { endpoints: new Set(), routes: new Set(), secrets: new Set() };
  /** Types that must have been answered once before the proxy counts as configured. */
  readonly #pendingTypes = new Set<string>();
  #state: ServerState = "PRE_INITIALIZING";
  #applying: Promise<void> = Promise.resolve();
  #next: RuntimeConfig | undefined;
  #resolveReady: () => void = () => {};
  #resolveQuit: () => void = () => {};
  #adminPort: number | undefined;
  readonly #onReopen = (): void => {
    this.#telemetry.accessLog.reopen();
    this.#workers?.order({ kind: "reopenLogs" });
  };

  constructor(options: RunProxyOptions, bootstrap: Bootstrap, plan: BootstrapPlan) {
    this.#options = options;
    this.#bootstrap = bootstrap;
    this.#plan = plan;
    this.#startedMs = options.clock.nowMs();
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.quit = new Promise((resolve) => {
      this.#resolveQuit = resolve;
    });
    const { clock, logger } = options;
    const self = peerOfNode(plan.node);
    const node = localNode(plan.node);
    this.#telemetry = createTelemetry({ self, clock, logger, keeps: plan.keepsStat });
    const headers = peerMetadataHeaders(plan.node);
    const more = (options.concurrency ?? 1) - 1;
    const share = shareOverload(plan.overload);
    const overload = share && new OverloadGuard(share);
    if (more > 0) {
      const start = {
        self,
        node,
        peerMetadataHeaders: headers,
        logLevel: logger.level,
        overload: share,
        statsMatcher: bootstrap.stats_config?.stats_matcher ?? undefined,
      };
      this.#workers = new WorkerPool(more, start, logger);
      this.#telemetry.join(this.#workers);
    }
    this.#server = createProxyServer({
      telemetry: this.#telemetry,
      clock,
      logger,
      sharesPorts: more > 0,
      node,
      overload,
    });
    if (plan.overload !== undefined) {
      this.#overload = createOverloadMonitor({
        config: plan.overload,
        stats: this.#telemetry.stats,
        clock,
        logger,
        onState: (state) => {
          if (overload !== undefined) overload.state = state;
          this.#workers?.order({ kind: "overload", state });
        },
      });
    }
    this.#store = new ConfigStore({
      self,
      clock,
      logger,
      context: {
        readFile: (path) => readFileSync(path),
        environment: (name) => process.env[name],
        timeOriginMs: performance.timeOrigin,
        hostname: hostname(),
      },
      onConfig: (config) => this.#apply({ ...config, peerMetadataHeaders: headers }),
      onUpdate: (update, isStatic) => this.#workers?.order({ kind: "apply", update, isStatic }),
      onWanted: (wanted) => {
        this.#wanted = wanted;
        this.#ads?.want(wanted);
      },
    });
  }

  get adminPort(): number | undefined {
    return this.#adminPort;
  }

  async start(): Promise<void> {
    this.#state = "INITIALIZING";
    process.on("SIGUSR1", this.#onReopen);
    this.#overload?.start();
    await this.#startLocalServers();
    this.#applyStatics();
    // A static listener whose port is taken ends the start, as Envoy's does.
    await this.#applying;
    await this.#startStreams();
    this.#checkReady();
  }

  async stop(graceMs: number): Promise<void> {
    this.#state = "DRAINING";
    process.off("SIGUSR1", this.#onReopen);
    this.#ads?.stop();
    this.#overload?.stop();
    this.#store.stop();
    await Promise.all([this.#server.stop(graceMs), this.#workers?.stop(graceMs)]);
    this.#metrics?.stop();
    for (const server of this.#locals.splice(0)) await server.stop();
    await this.#telemetry.accessLog.close();
  }

  async #startLocalServers(): Promise<void> {
    const { logger, clock, sidecar } = this.#options;
    const state = (): ServerState => this.#state;
    if (this.#plan.admin !== undefined) {
      const admin = await startAdmin(
        {
          bootstrap: this.#bootstrap,
          startedMs: this.#startedMs,
          nowMs: () => clock.nowMs(),
          store: this.#store,
          telemetry: this.#telemetry,
          logger,
          state,
          drain: () => {
            this.#state = "DRAINING";
            this.#server.drain();
            this.#workers?.order({ kind: "drain" });
          },
          quit: () => this.#resolveQuit(),
        },
        this.#plan.admin.address,
        this.#plan.admin.port,
      );
      this.#adminPort = admin.port;
      this.#locals.push(admin);
    }
    if (sidecar === undefined) return;
    for (const port of [sidecar.readyPort, sidecar.statsPort]) {
      this.#locals.push(
        await startSidecarPorts(this.#telemetry, state, logger, sidecar.readyAddress, port),
      );
    }
  }

  /** Static secrets first, so that static clusters and listeners are warm at once. */
  #applyStatics(): void {
    const statics = this.#bootstrap.static_resources ?? {};
    const secrets = (statics.secrets ?? []).map((secret) =>
      resource(secret.name, packAny("envoy.extensions.transport_sockets.tls.v3.Secret", secret)),
    );
    const clusters = (statics.clusters ?? []).map((cluster) =>
      resource(cluster.name, packAny("envoy.config.cluster.v3.Cluster", cluster)),
    );
    const listeners = (statics.listeners ?? []).map((listener, i) =>
      resource(
        listener.name || `static-${i}`,
        packAny("envoy.config.listener.v3.Listener", listener),
      ),
    );
    this.#applyStatic(SECRET_TYPE, secrets);
    this.#applyStatic(CLUSTER_TYPE, clusters);
    this.#applyStatic(LISTENER_TYPE, listeners);
  }

  #applyStatic(typeUrl: ResourceTypeUrl, upserts: readonly XdsResource[]): void {
    const rejected = this.#store.apply({ typeUrl, upserts, removals: [] }, true);
    if (rejected.length === 0) return;
    const list = rejected.map((r) => r.message).join("; ");
    throw new SerinError("SERIN_INVALID_BOOTSTRAP", `bootstrap: static_resources: ${list}`, {
      source: "caller",
    });
  }

  /** gRPC is loaded only by those who have a server to talk to. */
  async #startStreams(): Promise<void> {
    const { ads, metricsService } = this.#plan;
    if (ads === undefined && metricsService === undefined) return;
    const { createGrpcClient } = await import("./xds/grpc-channel.ts");
    const { clock, logger } = this.#options;
    const clientTo = (clusterName: string, target: NonNullable<typeof metricsService>) => {
      const spec = this.#store.clusters.get(clusterName)?.active?.spec;
      if (spec === undefined) {
        throw new SerinError("SERIN_INVALID_BOOTSTRAP", `bootstrap: no cluster ${clusterName}`);
      }
      return createGrpcClient(target, spec, (name) => this.#store.secrets.get(name)?.spec);
    };
    const common = { node: this.#plan.node, clock, logger, random: Math.random };
    if (metricsService !== undefined) {
      const { createMetricsServiceSink } = await import("./telemetry/metrics-service.ts");
      this.#metrics = createMetricsServiceSink({
        ...common,
        client: clientTo(metricsService.clusterName, metricsService),
        target: metricsService,
        flushIntervalMs: this.#plan.statsFlushIntervalMs,
        collect: () => this.#telemetry.series(),
      });
      this.#metrics.start();
    }
    if (ads === undefined) return;
    if (this.#plan.usesCds) this.#pendingTypes.add(CLUSTER_TYPE);
    if (this.#plan.usesLds) this.#pendingTypes.add(LISTENER_TYPE);
    const { createAdsClient } = await import("./ads-client.ts");
    this.#ads = createAdsClient({
      ...common,
      client: clientTo(ads.target.clusterName, ads.target),
      target: ads.target,
      protocol: ads.protocol,
      usesCds: this.#plan.usesCds,
      usesLds: this.#plan.usesLds,
      store: this.#store,
      onState: ({ isConnected }) => {
        const stat = this.#telemetry.stats.gauge("control_plane.connected_state");
        stat.value = isConnected ? 1 : 0;
      },
      onAnswer: (typeUrl, message) => this.#answered(typeUrl, message),
    });
    this.#telemetry.stats.gauge("control_plane.connected_state");
    this.#ads.want(this.#wanted);
    this.#ads.start();
  }

  #answered(typeUrl: ResourceTypeUrl, message: string | undefined): void {
    const { stats } = this.#telemetry;
    const scope = STAT_SCOPES[XDS_TYPES.indexOf(typeUrl)] ?? "xds";
    stats.counter(`${scope}.update_attempt`).add(1);
    if (message === undefined) stats.counter(`${scope}.update_success`).add(1);
    else {
      stats.counter(`${scope}.update_rejected`).add(1);
      this.#options.logger.warn({ typeUrl, reason: message }, "xds update refused");
    }
    this.#pendingTypes.delete(typeUrl);
    this.#checkReady();
  }

  /** One application at a time; of several configurations that wait, only the newest counts. */
  #apply(config: RuntimeConfig): void {
    const isIdle = this.#next === undefined;
    this.#next = config;
    this.#updateGauges(config);
    if (!isIdle) return;
    this.#applying = this.#applying.then(() => this.#applyNext());
    // `start` awaits the same promise; later failures were already logged.
    this.#applying.catch(() => {});
  }

  async #applyNext(): Promise<void> {
    const config = this.#next;
    this.#next = undefined;
    if (config === undefined) return;
    const failures = await this.#server.apply(config);
    for (const { listener, error } of failures) {
      this.#telemetry.stats.counter("listener_manager.listener_create_failure").add(1);
      this.#options.logger.error({ listener, reason: messageOf(error) }, "listener not opened");
    }
    const first = failures[0];
    const isStatic = first && this.#store.listeners.get(first.listener)?.active?.isStatic === true;
    if (first !== undefined && isStatic && this.#state === "INITIALIZING") throw first.error;
    this.#checkReady();
  }

  /** LIVE once every first answer is in and nothing waits for its parts; then it stays. */
  #checkReady(): void {
    if (this.#state !== "INITIALIZING" || this.#pendingTypes.size > 0) return;
    if (this.#plan.ads !== undefined && this.#ads === undefined) return;
    if (!this.#store.isWarm() || this.#next !== undefined) return;
    void Promise.all([this.#applying, this.#workers?.configured()]).then(
      () => {
        if (this.#state !== "INITIALIZING") return;
        this.#state = "LIVE";
        this.#telemetry.stats.gauge("server.live").value = 1;
        this.#resolveReady();
      },
      // A failed first application ends `start` itself.
      () => {},
    );
  }

  #updateGauges(config: RuntimeConfig): void {
    const { stats } = this.#telemetry;
    stats.gauge("listener_manager.total_listeners_active").value = config.listeners.size;
    let active = 0;
    for (const name of this.#store.clusters.keys()) {
      if (config.cluster(name) !== undefined) active += 1;
    }
    stats.gauge("cluster_manager.active_clusters").value = active;
  }
}

function localNode({ id, cluster, locality }: BootstrapPlan["node"]): LocalNode {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const own = addresses.find(({ family, internal }) => family === "IPv4" && !internal);
  return {
    id: id ?? "",
    cluster: cluster ?? "",
    zone: locality?.zone ?? "",
    address: own?.address ?? "127.0.0.1",
  };
}

/** Envoy's stat scopes in the order of XDS_TYPES. */
const STAT_SCOPES = [
  "cluster_manager.cds",
  "cluster_manager.eds",
  "listener_manager.lds",
  "http.rds",
  "sds",
] as const;

function resource(name: string | null | undefined, any: XdsResource["any"]): XdsResource {
  return { name: name ?? "", version: "", any };
}
