import type { HttpConnectionManagerConfig, RequestTelemetry } from "../config/runtime-config.ts";

type Counter = ReturnType<RequestTelemetry["counter"]>;

/** Envoy's stats of an HTTP connection manager, looked up once. */
export interface ConnectionManagerStats {
  readonly connectionsTotal: Counter;
  readonly connectionsActive: Counter;
  readonly requestsTotal: Counter;
  readonly requestsActive: Counter;
  readonly protocolError: Counter;
  readonly upgradesTotal: Counter;
  readonly upgradesActive: Counter;
  /** Indexed by the first digit of the status. */
  readonly byClass: readonly Counter[];
}

const known = new WeakMap<
  RequestTelemetry,
  WeakMap<HttpConnectionManagerConfig, ConnectionManagerStats>
>();

/** The stats `http.<stat_prefix>.…` of a connection manager. */
export function connectionManagerStats(
  telemetry: RequestTelemetry,
  manager: HttpConnectionManagerConfig,
): ConnectionManagerStats {
  let managers = known.get(telemetry);
  if (managers === undefined) {
    managers = new WeakMap();
    known.set(telemetry, managers);
  }
  let stats = managers.get(manager);
  if (stats === undefined) {
    const prefix = `http.${manager.statPrefix}`;
    const counter = (name: string): Counter => telemetry.counter(`${prefix}.${name}`);
    // Seen from the beginning, as Envoy's; who counts finds them by name.
    counter("downstream_rq_overload_close");
    counter("downstream_cx_overload_disable_keepalive");
    stats = {
      connectionsTotal: counter("downstream_cx_total"),
      connectionsActive: telemetry.gauge(`${prefix}.downstream_cx_active`),
      requestsTotal: counter("downstream_rq_total"),
      requestsActive: telemetry.gauge(`${prefix}.downstream_rq_active`),
      protocolError: counter("downstream_cx_protocol_error"),
      upgradesTotal: counter("downstream_cx_upgrades_total"),
      upgradesActive: telemetry.gauge(`${prefix}.downstream_cx_upgrades_active`),
      byClass: ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"].map((digit) =>
        counter(`downstream_rq_${digit}`),
      ),
    };
    managers.set(manager, stats);
  }
  return stats;
}
