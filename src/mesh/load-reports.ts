import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { messageOf } from "../base/index.ts";
import type { Logger } from "../runtime/index.ts";
import {
  decode,
  durationFromMs,
  encode,
  type envoy_config_endpoint_v3_ClusterStats,
} from "../xds/index.ts";
import type { GrpcMethod } from "./grpc-server.ts";

/** How often clients report. */
const INTERVAL_MS = 2000;

/** What one client sent to one cluster since its last report: numbers of requests. */
export interface LoadReport {
  readonly nodeId: string;
  readonly cluster: string;
  /** Begun. */
  readonly issued: number;
  /** Ended well. */
  readonly succeeded: number;
  /** Ended badly: 5xx, or a gRPC status other than OK. */
  readonly failed: number;
  /** Never sent, because a limit or a drop policy said so. */
  readonly dropped: number;
}

export interface LoadReportOptions {
  readonly logger: Logger;
  readonly onReport: (report: LoadReport) => void;
}

/**
 * envoy.service.load_stats.v3.LoadReportingService: asks every client, gRPC's or Envoy, for the loads
 * of all its clusters, and hands on what they report.
 */
export function loadReportingService({ logger, onReport }: LoadReportOptions): GrpcMethod {
  return {
    path: "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
    kind: "bidi",
    handle(stream: ServerDuplexStream<Buffer, Buffer>) {
      let nodeId: string | undefined;
      let isClosed = false;
      const close = (): void => {
        isClosed = true;
      };
      const fail = (details: string): void => {
        logger.warn({ node: nodeId, details }, "load report refused");
        close();
        stream.emit("error", { code: status.INVALID_ARGUMENT, details });
      };
      stream.on("data", (bytes: Buffer) => {
        if (isClosed) return;
        try {
          const message = decode("envoy.service.load_stats.v3.LoadStatsRequest", bytes);
          if (nodeId === undefined) {
            nodeId = message.node?.id || undefined;
            if (nodeId === undefined) {
              fail("node.id: must be set in the first message");
              return;
            }
            stream.write(Buffer.from(whatToReport()));
          }
          for (const cluster of message.cluster_stats ?? []) onReport(reportOf(nodeId, cluster));
        } catch (error) {
          fail(`the message does not decode: ${messageOf(error)}`);
        }
      });
      stream.on("error", close);
      stream.on("cancelled", close);
      stream.on("close", close);
      stream.on("end", () => {
        close();
        stream.end();
      });
    },
  };
}

function whatToReport(): Uint8Array {
  return encode("envoy.service.load_stats.v3.LoadStatsResponse", {
    send_all_clusters: true,
    load_reporting_interval: durationFromMs(INTERVAL_MS),
  });
}

function reportOf(nodeId: string, stats: envoy_config_endpoint_v3_ClusterStats): LoadReport {
  const localities = stats.upstream_locality_stats ?? [];
  type Field = "total_issued_requests" | "total_successful_requests" | "total_error_requests";
  const sum = (field: Field): number =>
    localities.reduce((total, each) => total + Number(each[field] ?? 0), 0);
  return {
    nodeId,
    cluster: stats.cluster_name ?? "",
    issued: sum("total_issued_requests"),
    succeeded: sum("total_successful_requests"),
    failed: sum("total_error_requests"),
    dropped: Number(stats.total_dropped_requests ?? 0),
  };
}
