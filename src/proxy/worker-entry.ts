import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { createLogger, systemClock } from "../runtime/index.ts";
import { createScope } from "./core/compile/scope.ts";
import { compileStatsMatcher } from "./core/compile/stats-matcher.ts";
import { OverloadGuard } from "./overload-guard.ts";
import { createProxyServer } from "./server.ts";
import { plainSeries } from "./telemetry/merged-series.ts";
import { createTelemetry } from "./telemetry.ts";
import type { WorkerOrder, WorkerReport, WorkerStart } from "./workers.ts";
import { ConfigStore } from "./xds/config-store.ts";

const REPORT_INTERVAL_MS = 1000;

/** One further thread of the data plane: the data path and its configuration, nothing else. */
function main(start: WorkerStart): void {
  const logger = createLogger("proxy");
  logger.level = start.logLevel;
  const clock = systemClock;
  const { self } = start;
  const scope = createScope({ issues: [], warnings: [] });
  const keeps = compileStatsMatcher(start.statsMatcher, scope);
  const telemetry = createTelemetry({ self, clock, logger, keeps });
  const overload = start.overload && new OverloadGuard(start.overload);
  const server = createProxyServer({
    telemetry,
    clock,
    logger,
    sharesPorts: true,
    workerId: start.workerId,
    overload,
    node: start.node,
  });
  const store = new ConfigStore({
    self,
    clock,
    logger,
    context: {
      readFile: (path) => readFileSync(path),
      environment: (name) => process.env[name],
      timeOriginMs: performance.timeOrigin,
      hostname: hostname(),
    },
    onConfig: (config) => {
      void server
        .apply({ ...config, peerMetadataHeaders: start.peerMetadataHeaders })
        .then((failures) => {
          for (const { listener, error } of failures) {
            logger.error({ listener, reason: error.message }, "listener not opened");
          }
          report({ kind: "applied" });
        });
    },
    onWanted: () => {},
  });
  const report = (message: WorkerReport): void => parentPort?.postMessage(message);
  const reportStats = (): void =>
    report({
      kind: "stats",
      stats: telemetry.stats.list().map(({ kind, name, value }) => ({ kind, name, value })),
      requests: plainSeries(telemetry.requestSeries()),
    });
  const timer = setInterval(reportStats, REPORT_INTERVAL_MS);
  parentPort?.on("message", (order: WorkerOrder) => {
    switch (order.kind) {
      case "apply":
        store.apply(order.update, order.isStatic);
        return;
      case "overload":
        if (overload !== undefined) overload.state = order.state;
        return;
      case "drain":
        server.drain();
        return;
      case "reopenLogs":
        telemetry.accessLog.reopen();
        return;
      case "stop":
        clearInterval(timer);
        store.stop();
        void server.stop(order.graceMs).then(async () => {
          await telemetry.accessLog.close();
          reportStats();
          report({ kind: "stopped" });
        });
    }
  });
}

main(workerData as WorkerStart);
