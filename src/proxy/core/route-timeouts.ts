/** What a route and its connection manager say about time; milliseconds, 0 = none. */
export interface RouteTimeouts {
  /** From the whole request to the end of the response. */
  readonly timeoutMs: number;
  /** Of the whole stream; set = `timeoutMs` does not count (Envoy's "new timeouts"). */
  readonly maxStreamDuration:
    | {
        /** Undefined = the connection manager's. */
        readonly limitMs: number | undefined;
        /** Takes `grpc-timeout` up to this (0 = any); undefined = does not. */
        readonly grpcHeaderMaxMs: number | undefined;
        /** Taken off a `grpc-timeout`, so that the client's own deadline comes later. */
        readonly grpcHeaderOffsetMs: number;
      }
    | undefined;
  /** The older way to take `grpc-timeout`: as the route's timeout, up to this (0 = any). */
  readonly maxGrpcTimeoutMs: number | undefined;
  readonly grpcTimeoutOffsetMs: number;
}

/** The deadline of a response. `grpcTimeoutMs`: of the request's field, where it is gRPC. */
export function responseTimeoutMs(
  timeouts: RouteTimeouts,
  isGrpc: boolean,
  grpcTimeoutMs: number | undefined,
): number {
  if (timeouts.maxStreamDuration !== undefined) return 0;
  const { maxGrpcTimeoutMs, grpcTimeoutOffsetMs, timeoutMs } = timeouts;
  if (!isGrpc || maxGrpcTimeoutMs === undefined) return timeoutMs;
  let asked = grpcTimeoutMs ?? 0;
  if (grpcTimeoutOffsetMs > 0 && asked > grpcTimeoutOffsetMs) asked -= grpcTimeoutOffsetMs;
  // A deadline of 0 is none, and none is more than any maximum.
  const isTooLong = maxGrpcTimeoutMs > 0 && (asked > maxGrpcTimeoutMs || asked === 0);
  return isTooLong ? maxGrpcTimeoutMs : asked;
}

/** The deadline of the whole stream; 0 = none. `managerLimitMs`: the connection manager's own. */
export function streamDurationMs(
  { maxStreamDuration }: RouteTimeouts,
  managerLimitMs: number,
  grpcTimeoutMs: number | undefined,
): number {
  if (maxStreamDuration === undefined) return managerLimitMs;
  const { limitMs, grpcHeaderMaxMs, grpcHeaderOffsetMs } = maxStreamDuration;
  if (grpcHeaderMaxMs !== undefined && grpcTimeoutMs !== undefined) {
    const asked = grpcHeaderMaxMs > 0 ? Math.min(grpcTimeoutMs, grpcHeaderMaxMs) : grpcTimeoutMs;
    return grpcHeaderOffsetMs > 0 && asked > grpcHeaderOffsetMs
      ? asked - grpcHeaderOffsetMs
      : asked;
  }
  return limitMs ?? managerLimitMs;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * A `grpc-timeout` in milliseconds, rounded up: at most eight digits and a unit (gRPC over HTTP/2,
 * "Timeout"). Undefined for anything else.
 */
export function parseGrpcTimeout(text: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text ?? "");
  if (match === null) return undefined;
  return Math.ceil(Number(match[1]) * (UNIT_MS[match[2] ?? ""] ?? 0));
}

/** Milliseconds as a `grpc-timeout`, in the finest unit that eight digits hold. */
export function formatGrpcTimeout(milliseconds: number): string {
  const units = [
    ["m", 1],
    ["S", 1000],
    ["M", 60_000],
    ["H", 3_600_000],
  ] as const;
  for (const [unit, sizeMs] of units) {
    const count = Math.floor(milliseconds / sizeMs);
    if (count <= 99_999_999) return `${count}${unit}`;
  }
  return "99999999H";
}
