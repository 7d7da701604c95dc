import { X509Certificate } from "node:crypto";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "../runtime/index.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../xds/index.ts";
import type { AdsEvent, Connection } from "./ads-server.ts";
import type { MeshModel } from "./core/model.ts";
import { statisticsOf } from "./core/model-statistics.ts";
import { createLateHistogram } from "./late-histogram.ts";
import type { LoadReport } from "./load-reports.ts";

/** Short names of the types, as Istio's metrics and syncz have them. */
export const SHORT_TYPE: Readonly<Record<string, string>> = {
  [CLUSTER_TYPE]: "cds",
  [ENDPOINT_TYPE]: "eds",
  [LISTENER_TYPE]: "lds",
  [ROUTE_TYPE]: "rds",
  [SECRET_TYPE]: "sds",
};
const CONVERGENCE_BUCKETS_S = [0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 20, 30];
const MAX_LOAD_CLUSTERS = 10_000;
/** Pushes whose time is remembered. */
const MAX_PUSHES = 1000;

/** The control plane's metrics, under Istio's names. */
export interface ControlPlaneMetrics {
  onEvent(event: AdsEvent): void;
  onPublish(push: number): void;
  /** A certificate was asked for, and how that ended. */
  onCertificate(outcome: "asked" | "issued" | "failed"): void;
  /** A token proved nobody. */
  onUnauthenticated(): void;
  /** A client said what it sent to a cluster. */
  onLoadReport(report: LoadReport): void;
  /** Prometheus text. */
  text(): Promise<string>;
}

/** What is looked at whenever somebody reads the metrics. */
export interface MetricSources {
  /** The roots in use, PEM. */
  rootsPem(): string;
  /** The chain that issues certificates, PEM. */
  chainPem(): string;
  connections(): readonly Connection[];
  model(): MeshModel | undefined;
  /** Of Serin. */
  readonly version: string;
}

export function createControlPlaneMetrics(
  clock: Clock,
  sources: MetricSources,
): ControlPlaneMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
  const asked = counter("citadel_server_csr_count", "Certificates asked for by proxies.");
  const issued = counter(
    "citadel_server_success_cert_issuance_count",
    "Certificates issued to proxies.",
  );
  const failed = counter(
    "citadel_server_csr_sign_err_count",
    "Certificates that could not be signed.",
  );
  const unauthenticated = counter(
    "citadel_server_authentication_failure_count",
    "Streams whose token proved nobody.",
  );
  const expiry = (name: string, help: string, pemOf: () => string): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const endMs = firstEndMs(pemOf());
        if (endMs !== undefined) this.set(endMs / 1000);
      },
    });
  };
  expiry(
    "citadel_server_root_cert_expiry_timestamp",
    "When the first of the trusted root certificates ends, seconds since the epoch.",
    sources.rootsPem,
  );
  expiry(
    "citadel_server_cert_chain_expiry_timestamp",
    "When the first certificate of the issuing chain ends, seconds since the epoch.",
    sources.chainPem,
  );
  addModelMetrics(registry, sources);
  addRefusalMetrics(registry, sources);
  const loads = new Counter({
    name: "serin_lrs_requests_total",
    help: "Requests that clients reported by the load reporting service, by cluster and outcome.",
    labelNames: ["cluster", "outcome"],
    registers,
  });
  const loadClusters = new Set<string>();
  const internalErrors = counter(
    "pilot_total_xds_internal_errors",
    "Total number of internal XDS errors in this control plane.",
  );
  const queueTime = new Histogram({
    name: "pilot_proxy_queue_time",
    help: "Time in seconds a proxy waits for its turn between a config change and being sent it.",
    buckets: CONVERGENCE_BUCKETS_S,
    registers,
  });
  const triggers = counter("pilot_push_triggers", "Total number of times a push was triggered.");
  const pushTime = new Histogram({
    name: "pilot_xds_push_time",
    help: "Seconds between a config change and the response of that type being sent to a proxy.",
    labelNames: ["type"],
    buckets: CONVERGENCE_BUCKETS_S,
    registers,
  });
  const connected = new Gauge({
    name: "pilot_xds",
    help: "Number of endpoints connected to this control plane using xDS.",
    registers,
  });
  const pushes = new Counter({
    name: "pilot_xds_pushes",
    help: "Responses sent for lds, rds, cds, eds and sds.",
    labelNames: ["type"],
    registers,
  });
  const rejects = new Counter({
    name: "pilot_total_xds_rejects",
    help: "Total number of xDS responses rejected by proxies.",
    labelNames: ["type"],
    registers,
  });
  // From zero on, so that the first of them is an increase.
  for (const type of Object.values(SHORT_TYPE)) {
    pushes.inc({ type }, 0);
    rejects.inc({ type }, 0);
  }
  const convergence = new Histogram({
    name: "pilot_proxy_convergence_time",
    help: "Delay in seconds between a config change and a proxy having acknowledged all of it.",
    buckets: CONVERGENCE_BUCKETS_S,
    registers,
  });
  const late = {
    queueTime: createLateHistogram(queueTime, clock),
    pushTime: createLateHistogram(pushTime, clock, "type"),
    convergence: createLateHistogram(convergence, clock),
  };
  const publishedMs = new Map<number, number>();
  const ackedPush = new Map<string, number>();
  return {
    onEvent(event) {
      const { id, session } = event.connection;
      if (event.kind === "connected") connected.inc();
      else if (event.kind === "disconnected") {
        connected.dec();
        ackedPush.delete(id);
      } else if (event.kind === "sent") {
        const type = SHORT_TYPE[event.response.typeUrl] ?? "other";
        pushes.inc({ type });
        const startMs = publishedMs.get(Number(event.response.version));
        if (startMs !== undefined) late.pushTime.observe(type, (clock.nowMs() - startMs) / 1000);
      } else if (event.kind === "dequeued") {
        const startMs = publishedMs.get(event.push);
        if (startMs !== undefined) late.queueTime.observe("", (clock.nowMs() - startMs) / 1000);
      } else if (event.kind === "failed") internalErrors.inc();
      else if (event.kind === "rejected") {
        rejects.inc({ type: SHORT_TYPE[event.typeUrl] ?? "other" });
      } else {
        const push = session.ackedPush();
        const startMs = publishedMs.get(push);
        if (push === ackedPush.get(id)) return;
        ackedPush.set(id, push);
        if (startMs !== undefined) late.convergence.observe("", (clock.nowMs() - startMs) / 1000);
      }
    },
    onPublish(push) {
      triggers.inc();
      publishedMs.set(push, clock.nowMs());
      publishedMs.delete(push - MAX_PUSHES);
    },
    onCertificate(outcome) {
      if (outcome === "asked") asked.inc();
      else if (outcome === "issued") issued.inc();
      else failed.inc();
    },
    onUnauthenticated: () => unauthenticated.inc(),
    onLoadReport({ cluster: name, issued, succeeded, failed: errors, dropped }) {
      // Clients name them: a bound keeps one of them from filling the memory.
      const isKnown = loadClusters.has(name) || loadClusters.size < MAX_LOAD_CLUSTERS;
      if (isKnown) loadClusters.add(name);
      const cluster = isKnown ? name : "overflow";
      const counts = { issued, success: succeeded, error: errors, dropped };
      for (const [outcome, count] of Object.entries(counts)) loads.inc({ cluster, outcome }, count);
    },
    text: () => {
      for (const each of Object.values(late)) each.flush();
      return registry.metrics();
    },
  };
}

function firstEndMs(pem: string): number | undefined {
  const pems = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const ends = pems.map((each) => new X509Certificate(each).validToDate.getTime());
  return ends.length === 0 ? undefined : Math.min(...ends);
}

const MODEL_METRICS = [
  ["pilot_services", "Total services known to the control plane.", "services"],
  ["pilot_virt_services", "Total virtual services known to the control plane.", "virtualServices"],
  ["pilot_no_ip", "Pods that have no address, possibly invalid.", "withoutAddress"],
  [
    "pilot_eds_no_instances",
    "Number of service ports without a ready instance.",
    "withoutInstances",
  ],
  [
    "pilot_endpoint_not_ready",
    "Endpoints found in an unready state that get no traffic.",
    "endpointsNotReady",
  ],
  [
    "pilot_vservice_dup_domain",
    "Virtual services with duplicate domains in the mesh.",
    "duplicateDomains",
  ],
  [
    "pilot_conflict_inbound_listener",
    "Number of conflicting inbound listeners.",
    "inboundConflicts",
  ],
  [
    "pilot_conflict_outbound_listener_tcp_over_current_tcp",
    "Number of conflicting tcp listeners with current tcp listener.",
    "outboundTcpConflicts",
  ],
  [
    "pilot_conflict_outbound_listener_http_over_current_tcp",
    "Number of conflicting wildcard http listeners with current wildcard tcp listener.",
    "outboundHttpConflicts",
  ],
  [
    "pilot_total_rejected_configs",
    "Number of configurations that are left out or do nothing.",
    "rejectedConfigs",
  ],
] as const;

function addModelMetrics(registry: Registry, { model, version }: MetricSources): void {
  const registers = [registry];
  let known: { model: MeshModel; statistics: ReturnType<typeof statisticsOf> } | undefined;
  for (const [name, help, field] of MODEL_METRICS) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const current = model();
        if (current === undefined) return;
        if (known?.model !== current) {
          known = { model: current, statistics: statisticsOf(current) };
        }
        this.set(known.statistics[field]);
      },
    });
  }
  const info = new Gauge({
    name: "pilot_info",
    help: "Version and build information of the control plane.",
    labelNames: ["version"],
    registers,
  });
  info.set({ version }, 1);
}

/** How many connected proxies refuse something of a type that they are still meant to have. */
function addRefusalMetrics(registry: Registry, { connections }: MetricSources): void {
  for (const [typeUrl, type] of Object.entries(SHORT_TYPE)) {
    new Gauge({
      name: `pilot_xds_${type}_reject`,
      help: `Proxies that refuse ${type.toUpperCase()} configuration now.`,
      registers: [registry],
      collect() {
        const refusing = connections().filter(({ session }) =>
          session.progress().some((each) => each.typeUrl === typeUrl && each.rejected.length > 0),
        );
        this.set(refusing.length);
      },
    });
  }
}
