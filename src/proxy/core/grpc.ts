/** Whether a content type means gRPC (gRPC over HTTP/2, "Content-Type"). */
export function isGrpcContentType(contentType: string | undefined): boolean {
  if (contentType === undefined || !contentType.startsWith("application/grpc")) return false;
  return contentType.length === 16 || contentType.charCodeAt(16) === 43;
}

const FROM_HTTP: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
};

/** The gRPC status that stands for an HTTP status a proxy answers with (gRPC, http-grpc-status-mapping). */
export function grpcStatusOf(httpStatus: number): number {
  return FROM_HTTP[httpStatus] ?? 2;
}

/** Not a status: what was sent as one is no number, or none that gRPC knows. */
const INVALID_STATUS = -1;

/**
 * The status of an answer as Envoy's access logs see it, whether or not the request was gRPC: from the
 * trailers, else the head, else what the HTTP status maps to.
 */
export function grpcStatusFromAnswer(answer: {
  readonly responseCode: number;
  responseHeader(name: string): string | undefined;
  responseTrailer(name: string): string | undefined;
}): number {
  const sent = answer.responseTrailer("grpc-status") || answer.responseHeader("grpc-status");
  if (!sent) return grpcStatusOf(answer.responseCode);
  return /^\d{1,2}$/.test(sent) && Number(sent) < NAMES.length ? Number(sent) : INVALID_STATUS;
}

const NAMES = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
] as const;

/** Envoy's name of a gRPC status as access logs write it; the number itself when there is none. */
export function grpcStatusName(status: string): string {
  return /^\d{1,2}$/.test(status) ? (NAMES[Number(status)] ?? status) : status;
}

const PLAIN = /^[\x20-\x24\x26-\x7e]*$/;

/** Percent-encodes a `grpc-message` (gRPC over HTTP/2, "Status-Message"): printable ASCII but `%` stays. */
export function encodeGrpcMessage(message: string): string {
  if (PLAIN.test(message)) return message;
  let out = "";
  for (const byte of new TextEncoder().encode(message)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    out += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}
