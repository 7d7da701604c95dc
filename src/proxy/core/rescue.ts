/** Every way in which a request fails inside the proxy. */
export type Failure =
  | { readonly kind: "badRequest"; readonly status: number; readonly details: string }
  | { readonly kind: "pathRefused" }
  | { readonly kind: "upgradeRefused" }
  | { readonly kind: "routeNotFound" }
  | { readonly kind: "routeConfigurationNotFound" }
  | { readonly kind: "clusterNotFound"; readonly status: number }
  | { readonly kind: "noHealthyUpstream" }
  | { readonly kind: "proxyOverloaded" }
  | { readonly kind: "requestTimeout" }
  | { readonly kind: "idleTimeout"; readonly isRequestComplete?: boolean }
  | { readonly kind: "requestOverallTimeout" }
  | { readonly kind: "streamDurationTimeout"; readonly isRequestComplete: boolean }
  | { readonly kind: "perTryIdleTimeout" }
  | { readonly kind: "responseTimeout" }
  | { readonly kind: "perTryTimeout" }
  | { readonly kind: "accessDenied"; readonly policy: string }
  | {
      readonly kind: "rateLimited";
      readonly status: number;
      readonly grpcStatus: number | undefined;
    }
  | {
      readonly kind: "faultAbort";
      readonly status: number;
      readonly grpcStatus: number | undefined;
    }
  | UpstreamReset;

/** An attempt that ended before its response began, in Envoy's words. */
export interface UpstreamReset {
  readonly kind: "reset";
  readonly reason:
    | "overflow"
    | "remote connection failure"
    | "connection timeout"
    | "connection termination"
    | "remote reset"
    | "remote refused stream reset"
    | "protocol error";
  /** What the transport said, e.g. `delayed connect error: Connection refused`; "" = nothing. */
  readonly transportFailure: string;
  /** Whether this was a retry: the body says so. */
  readonly isRetry?: boolean;
}

/** What the client gets and what the access log says about it. */
export interface LocalReply {
  readonly status: number;
  readonly body: string;
  /** Envoy's response flag, "" = none. */
  readonly flag: string;
  readonly details: string;
  readonly isOverloaded: boolean;
  /** For a gRPC client; undefined = what the HTTP status maps to. */
  readonly grpcStatus?: number | undefined;
}

function reply(status: number, body: string, flag: string, details: string): LocalReply {
  return { status, body, flag, details, isOverloaded: false };
}

/** The one place that turns failures into answers; bodies and flags as real Envoy gives them. */
export function rescue(failure: Failure): LocalReply {
  switch (failure.kind) {
    case "badRequest":
      return reply(failure.status, badRequestBody(failure.status), "DPE", failure.details);
    case "pathRefused":
      return reply(400, "", "", "path_normalization_failed");
    case "upgradeRefused":
      return reply(403, "", "", "upgrade_failed");
    case "routeNotFound":
      return reply(404, "", "NR", "route_not_found");
    case "routeConfigurationNotFound":
      return reply(404, "", "NR", "route_configuration_not_found");
    case "clusterNotFound":
      return reply(failure.status, "", "NC", "cluster_not_found");
    case "proxyOverloaded":
      return reply(503, "envoy overloaded", "", "overload");
    case "noHealthyUpstream":
      return reply(503, "no healthy upstream", "UH", "no_healthy_upstream");
    case "requestTimeout":
      return reply(408, "request header timeout", "DT", "request_header_timeout");
    case "idleTimeout":
      return reply(
        failure.isRequestComplete === false ? 408 : 504,
        "stream timeout",
        "SI",
        "stream_idle_timeout",
      );
    case "requestOverallTimeout":
      return reply(408, "request timeout", "", "request_overall_timeout");
    case "streamDurationTimeout":
      return {
        ...reply(
          failure.isRequestComplete ? 504 : 408,
          "downstream duration timeout",
          "",
          "max_duration_timeout",
        ),
        grpcStatus: 4,
      };
    case "perTryIdleTimeout":
      return reply(504, "upstream request timeout", "UT", "upstream_per_try_idle_timeout");
    case "responseTimeout":
      return reply(504, "upstream request timeout", "UT", "response_timeout");
    case "perTryTimeout":
      return reply(504, "upstream request timeout", "UT", "upstream_per_try_timeout");
    case "accessDenied":
      return reply(
        403,
        "RBAC: access denied",
        "",
        `rbac_access_denied_matched_policy[${failure.policy}]`,
      );
    case "rateLimited":
      return {
        ...reply(failure.status, "local_rate_limited", "RL", "local_rate_limited"),
        grpcStatus: failure.grpcStatus,
      };
    case "faultAbort":
      return {
        ...reply(failure.status, "fault filter abort", "FI", "fault_filter_abort"),
        grpcStatus: failure.grpcStatus,
      };
    case "reset":
      return rescueReset(failure);
  }
}

function badRequestBody(status: number): string {
  if (status === 426) return "Upgrade Required";
  return status === 431 ? "Request Header Fields Too Large" : "Bad Request";
}

/** Envoy's response flag for an upstream that failed. */
export const RESET_FLAGS: Readonly<Record<UpstreamReset["reason"], string>> = {
  overflow: "UO",
  "remote connection failure": "UF",
  "connection timeout": "UF",
  "connection termination": "UC",
  "remote reset": "UR",
  "remote refused stream reset": "UR",
  "protocol error": "UPE",
};

function rescueReset(failure: UpstreamReset): LocalReply {
  const { reason, transportFailure } = failure;
  const details = transportFailure === "" ? reason : `${reason}|${transportFailure}`;
  const prefix = failure.isRetry === true ? "retried and the latest reset reason" : "reset reason";
  return {
    status: reason === "protocol error" ? 502 : 503,
    body: `upstream connect error or disconnect/reset before headers. ${prefix}: ${reason}`,
    flag: RESET_FLAGS[reason],
    details:
      reason === "overflow"
        ? "upstream_reset_before_response_started{overflow}"
        : `upstream_reset_before_response_started{${details.replaceAll(" ", "_")}}`,
    isOverloaded: reason === "overflow",
  };
}
