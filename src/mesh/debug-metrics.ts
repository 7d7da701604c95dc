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
import type { AdsEvent } from "./ads-server.ts";

/** Short names of the types, as Istio's metrics and syncz have them. */
export const SHORT_TYPE: Readonly<Record<string, string>> = {
  [CLUSTER_TYPE]: "cds",
  [ENDPOINT_TYPE]: "eds",
  [LISTENER_TYPE]: "lds",
  [ROUTE_TYPE]: "rds",
  [SECRET_TYPE]: "sds",
};
const CONVERGENCE_BUCKETS_S = [0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 20, 30];
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
  /** Prometheus text. */
  text(): Promise<string>;
}

export function createControlPlaneMetrics(
  clock: Clock,
  /** The roots in use, PEM. */
  rootsPem: () => string = () => "",
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
  new Gauge({
    name: "citadel_server_root_cert_expiry_timestamp",
    help: "When the first of the trusted root certificates ends, seconds since the epoch.",
    registers,
    collect() {
      const pems = rootsPem().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
      const ends = (pems ?? []).map((pem) => new X509Certificate(pem).validToDate.getTime());
      if (ends.length > 0) this.set(Math.min(...ends) / 1000);
    },
  });
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
  const convergence = new Histogram({
    name: "pilot_proxy_convergence_time",
    help: "Delay in seconds between a config change and a proxy having acknowledged all of it.",
    buckets: CONVERGENCE_BUCKETS_S,
    registers,
  });
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
        if (startMs !== undefined) pushTime.observe({ type }, (clock.nowMs() - startMs) / 1000);
      } else if (event.kind === "rejected") {
        rejects.inc({ type: SHORT_TYPE[event.typeUrl] ?? "other" });
      } else {
        const push = session.ackedPush();
        const startMs = publishedMs.get(push);
        if (push === ackedPush.get(id)) return;
        ackedPush.set(id, push);
        if (startMs !== undefined) convergence.observe((clock.nowMs() - startMs) / 1000);
      }
    },
    onPublish(push) {
      publishedMs.set(push, clock.nowMs());
      publishedMs.delete(push - MAX_PUSHES);
    },
    onCertificate(outcome) {
      if (outcome === "asked") asked.inc();
      else if (outcome === "issued") issued.inc();
      else failed.inc();
    },
    onUnauthenticated: () => unauthenticated.inc(),
    text: () => registry.metrics(),
  };
}
