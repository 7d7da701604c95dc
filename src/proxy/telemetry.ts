import type { Clock, Logger } from "../runtime/index.ts";
import type { PeerInfo, RequestTelemetry } from "./config/runtime-config.ts";
import { KEEPS_ALL, type StatsMatcher } from "./core/compile/stats-matcher.ts";
import { type AccessLogWriter, createAccessLogWriter } from "./telemetry/access-log-writer.ts";
import { mergedSeries, type PlainSeries, type PlainStat } from "./telemetry/merged-series.ts";
import { prometheusText } from "./telemetry/prometheus-text.ts";
import { REQUEST_METRICS, RequestMetrics } from "./telemetry/request-metrics.ts";
import type { Series } from "./telemetry/series.ts";
import { StatRegistry } from "./telemetry/stat-registry.ts";

/** Everything the proxy measures and logs about its traffic. */
export interface Telemetry extends RequestTelemetry {
  readonly stats: StatRegistry;
  readonly accessLog: AccessLogWriter;
  /** All series: Istio's request metrics, then Envoy's stats. */
  series(): readonly Series[];
  /** Istio's request metrics of this thread. */
  requestSeries(): readonly Series[];
  /** Other threads whose counts are to be added, as last heard. */
  join(others: { stats(): readonly PlainStat[]; requests(): readonly PlainSeries[] }): void;
  /** The body of /stats/prometheus. */
  prometheus(): string;
}

export function createTelemetry(options: {
  readonly self: PeerInfo;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Which stats are made at all; all by default. */
  readonly keeps?: StatsMatcher;
  /** Numbers in [0, 1); Math.random by default. */
  readonly random?: () => number;
}): Telemetry {
  const { random = Math.random, keeps = KEEPS_ALL } = options;
  const stats = new StatRegistry(keeps);
  const requests = new RequestMetrics(options.self);
  const countsRequests = REQUEST_METRICS.some(keeps);
  const accessLog = createAccessLogWriter(options);
  const write: RequestTelemetry["log"] = (record, accessLogs) => {
    for (const log of accessLogs) {
      if (log.filter !== undefined && !log.filter(record, random)) continue;
      accessLog.write(log.path, log.format(record));
    }
  };
  let otherRequests = (): readonly PlainSeries[] => [];
  const series = (): readonly Series[] => [
    ...mergedSeries(requests.series(), otherRequests()).filter(({ name }) => keeps(name)),
    ...stats.series(),
  ];
  return {
    stats,
    accessLog,
    series,
    requestSeries: () => requests.series(),
    join(others) {
      stats.others = () => others.stats();
      otherRequests = () => others.requests();
    },
    prometheus: () => prometheusText(series()),
    counter: (name) => stats.counter(name),
    gauge: (name) => stats.gauge(name),
    requestFinished(record, accessLogs) {
      if (countsRequests) requests.record(record);
      write(record, accessLogs);
    },
    tcpConnectionOpened: (record) => requests.tcpConnectionOpened(record),
    log: write,
  };
}
