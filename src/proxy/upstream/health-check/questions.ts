import {
  containsInOrder,
  type GrpcProbeConfig,
  type HttpProbeConfig,
  type ProbeResult,
} from "../../core/health-check.ts";
import type { Http2Question } from "./http2-probe.ts";
import type { ProbeTarget } from "./probe.ts";

const USER_AGENT = "Envoy/HC";
/** grpc.health.v1.HealthCheckResponse.ServingStatus */
const SERVING = 1;

/** Names a host to itself: as configured, else by its own name, else by its cluster's. */
export function authorityFor({ cluster, endpoint }: ProbeTarget, configured: string): string {
  return configured || endpoint.healthCheck?.hostname || endpoint.hostname || cluster.name;
}

/** What an answer to an HTTP check means. */
export function judgeHttp(
  probe: HttpProbeConfig,
  answer: {
    readonly status: number;
    readonly body: Buffer;
    readonly isDegraded: boolean;
    /** `x-envoy-upstream-healthchecked-cluster`. */
    readonly serviceName: string;
  },
): ProbeResult {
  const { receive, bodyLimitBytes } = probe;
  const { status, body, isDegraded, serviceName } = answer;
  if (!probe.isExpected(status)) {
    return { kind: "failed", isRetriable: probe.isRetriable(status) };
  }
  const seen = bodyLimitBytes === 0 ? body : body.subarray(0, bodyLimitBytes);
  if (!containsInOrder(seen, receive)) return { kind: "failed", isRetriable: false };
  if (probe.isService !== undefined && !probe.isService(serviceName)) {
    return { kind: "failed", isRetriable: false };
  }
  return { kind: "passed", isDegraded };
}

/** The request of an HTTP check over HTTP/2. */
export function httpQuestion(target: ProbeTarget, probe: HttpProbeConfig): Http2Question {
  const { method, path, removedHeaders } = probe;
  const headers: Record<string, string | string[]> = {
    ":method": method,
    ":path": path,
    ":authority": authorityFor(target, probe.host),
  };
  for (const [name, value] of [["user-agent", USER_AGENT] as const, ...probe.headers]) {
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  for (const name of removedHeaders) if (!name.startsWith(":")) delete headers[name];
  return {
    headers,
    body: undefined,
    judge: ({ status, headers: fields, body }) =>
      judgeHttp(probe, {
        status,
        body,
        isDegraded: fields["x-envoy-degraded"] !== undefined,
        serviceName: String(fields["x-envoy-upstream-healthchecked-cluster"] ?? ""),
      }),
  };
}

/** The request of a gRPC check. Source: grpc.health.v1.Health/Check. */
export function grpcQuestion(target: ProbeTarget, probe: GrpcProbeConfig): Http2Question {
  const name = Buffer.from(probe.serviceName, "utf8");
  const message =
    name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a]), varint(name.length), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const headers: Record<string, string | string[]> = {
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    ":authority": authorityFor(target, probe.authority),
    "content-type": "application/grpc",
    te: "trailers",
    "user-agent": USER_AGENT,
  };
  for (const [key, value] of probe.headers) headers[key] = value;
  return {
    headers,
    body: Buffer.concat([prefix, message]),
    judge: ({ status, trailers, body }) => {
      const isServing =
        status === 200 && trailers["grpc-status"] === "0" && statusOf(body) === SERVING;
      if (!isServing) return { kind: "failed", isRetriable: false };
      return { kind: "passed", isDegraded: trailers["x-envoy-degraded"] !== undefined };
    },
  };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

/** Field 1 of the one message of a gRPC body, a small enum; undefined when it is something else. */
function statusOf(body: Buffer): number | undefined {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5)
    return undefined;
  const message = body.subarray(5);
  if (message.length === 0) return 0;
  return message.length === 2 && message[0] === 0x08 ? message[1] : undefined;
}
