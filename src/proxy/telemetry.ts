import type { Clock, Logger } from "../runtime/index.ts";
import type { PeerInfo, RequestTelemetry } from "./config/runtime-config.ts";
import { type AccessLogWriter, createAccessLogWriter } from "./telemetry/access-log-writer.ts";
import { prometheusText } from "./telemetry/prometheus-text.ts";
import { RequestMetrics } from "./telemetry/request-metrics.ts";
import type { Series } from "./telemetry/series.ts";
import { StatRegistry } from "./telemetry/stat-registry.ts";

/** Everything the proxy measures and logs about its traffic. */
export interface Telemetry extends RequestTelemetry {
  readonly stats: StatRegistry;
  readonly accessLog: AccessLogWriter;
  /** All series: Istio's request metrics, then Envoy's stats. */
  series(): readonly Series[];
  /** The body of /stats/prometheus. */
  prometheus(): string;
}

export function createTelemetry(options: {
  readonly self: PeerInfo;
  readonly clock: Clock;
  readonly logger: Logger;
}): Telemetry {
  const stats = new StatRegistry();
  const requests = new RequestMetrics(options.self);
  const accessLog = createAccessLogWriter(options);
  const write: RequestTelemetry["log"] = (record, accessLogs) => {
    for (const log of accessLogs) accessLog.write(log.path, log.format(record));
  };
  const series = (): readonly Series[] => [...requests.series(), ...stats.series()];
  return {
    stats,
    accessLog,
    series,
    prometheus: () => prometheusText(series()),
    counter: (name) => stats.counter(name),
    gauge: (name) => stats.gauge(name),
    requestFinished(record, accessLogs) {
      requests.record(record);
      write(record, accessLogs);
    },
    tcpConnectionOpened: (record) => requests.tcpConnectionOpened(record),
    log: write,
  };
}
