import { get, type LogTable } from "./log-table.ts";

/** Operators whose values both proxies must agree on. */
const STEADY: readonly string[] = [
  ..."STREAM_ID|RESPONSE_FLAGS_LONG|RESPONSE_CODE_DETAILS|RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)".split(
    "|",
  ),
  ..."REQUESTED_SERVER_NAME|REQUESTED_SERVER_NAME(SNI_ONLY)|REQUESTED_SERVER_NAME(SNI_FIRST)".split(
    "|",
  ),
  ..."REQUESTED_SERVER_NAME(HOST_FIRST)|REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)".split("|"),
  ..."REQUESTED_SERVER_NAME(SNI_FIRST:HOST)|REQUESTED_SERVER_NAME(HOST_FIRST:ORIG_OR_HOST)".split(
    "|",
  ),
  ..."UPSTREAM_HOST_NAME|UPSTREAM_HOST_NAME_WITHOUT_PORT|UPSTREAM_CLUSTER_RAW".split("|"),
  ..."DOWNSTREAM_DIRECT_LOCAL_ADDRESS|DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT".split("|"),
  ..."FILTER_STATE(x)|FILTER_STATE(x:PLAIN):9|UPSTREAM_FILTER_STATE(x)".split("|"),
  ..."METADATA(ROUTE:ns:key)|METADATA(ROUTE:ns)|METADATA(ROUTE:ns:obj:in)|METADATA(ROUTE:no)".split(
    "|",
  ),
  ..."METADATA(ROUTE:ns:num)|METADATA(ROUTE:ns:bool)|METADATA(ROUTE:ns:list)|METADATA(ROUTE:ns:nul)".split(
    "|",
  ),
  ..."METADATA(ROUTE:ns:obj):5|METADATA(ROUTE:ns:key):2|METADATA(ROUTE:ns:key:more)".split("|"),
  ..."METADATA(CLUSTER:ns:key)|METADATA(UPSTREAM_HOST:ns:key)|METADATA(DYNAMIC:ns:key)".split("|"),
  ..."METADATA(VIRTUAL_HOST:ns:key)|CLUSTER_METADATA(ns:key)|UPSTREAM_METADATA(ns:key)".split("|"),
  "METADATA(DYNAMIC:envoy.filters.http.rbac)",
  "DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)",
  ..."GRPC_STATUS|GRPC_STATUS(CAMEL_STRING)|GRPC_STATUS(SNAKE_STRING)|GRPC_STATUS(NUMBER)".split(
    "|",
  ),
  ..."GRPC_STATUS_NUMBER|REQUEST_HEADER(:PATH)|RESPONSE_HEADER(X-THERE)|RESPONSE_TRAILER(GRPC-STATUS)".split(
    "|",
  ),
  ..."DOWNSTREAM_TLS_VERSION|DOWNSTREAM_TLS_CIPHER|DOWNSTREAM_PEER_ISSUER|DOWNSTREAM_PEER_SERIAL".split(
    "|",
  ),
  ..."DOWNSTREAM_PEER_FINGERPRINT_1|DOWNSTREAM_PEER_CERT|DOWNSTREAM_PEER_CERT_V_START".split("|"),
  ..."DOWNSTREAM_PEER_CERT_V_END(%b %d %H:%M:%S %Y %Z)|DOWNSTREAM_PEER_IP_SAN".split("|"),
  ..."DOWNSTREAM_PEER_EMAIL_SAN|DOWNSTREAM_LOCAL_SUBJECT|DOWNSTREAM_LOCAL_URI_SAN".split("|"),
  ..."DOWNSTREAM_LOCAL_DNS_SAN|DOWNSTREAM_LOCAL_IP_SAN|DOWNSTREAM_LOCAL_EMAIL_SAN".split("|"),
  ..."DOWNSTREAM_TRANSPORT_FAILURE_REASON|CONNECTION_TERMINATION_DETAILS|VIRTUAL_CLUSTER_NAME".split(
    "|",
  ),
  ..."ENVIRONMENT(SERIN_NO_SUCH)|ENVIRONMENT(HOME):3|ACCESS_LOG_TYPE".split("|"),
  'COALESCE({"operators":["REQUESTED_SERVER_NAME","PROTOCOL"]})',
  'COALESCE({"operators":["REQUESTED_SERVER_NAME",{"command":"REQ","param":":authority"}]})',
  'COALESCE({"operators":[{"command":"REQ","param":"x-no"},{"command":"REQ","param":":authority","max_length":3}]}):2',
  'COALESCE({"operators":["REQUESTED_SERVER_NAME"]})',
];

/** Operators whose values have a shape: digits and letters of theirs are not compared. */
const SHAPED: readonly string[] = [
  ..."CONNECTION_ID|UNIQUE_ID|EMIT_TIME|EMIT_TIME(%Y)|REQUEST_DURATION|REQUEST_TX_DURATION".split(
    "|",
  ),
  ..."RESPONSE_DURATION|RESPONSE_TX_DURATION|COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)".split("|"),
  ..."COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)|COMMON_DURATION(DS_RX_END:US_RX_END:ns)".split("|"),
  ..."COMMON_DURATION(DS_TX_BEG:DS_RX_BEG:ms)".split("|"),
];

/** Whether a logger's values are compared by their shape. */
export function isShaped(log: string): boolean {
  return SHAPED.some((operator) => log === operator || log === `json ${operator}`);
}

const METADATA = {
  filter_metadata: {
    ns: {
      key: "text",
      num: 3.5,
      bool: true,
      nul: null,
      list: [1, "a"],
      obj: { in: "deep", b: 1, a: { z: 1, y: [] } },
    },
  },
};
const RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const GRPC = "content-type: application/grpc\r\n";

/** Command operators, each in a text and as a JSON value, and JSON formats with values within values. */
export const OPERATOR_TABLE: LogTable = {
  logs: [
    ...[...STEADY, ...SHAPED].flatMap((operator) => [
      { name: operator, format: `<%${operator}%>` },
      // A struct keeps its whole value there.
      ...(operator.endsWith("obj):5")
        ? []
        : [{ name: `json ${operator}`, format: { v: `%${operator}%` } }]),
    ]),
    ...[undefined, true, false].map((omitEmpty) => ({
      name: `nested, omitting ${omitEmpty}`,
      format: {
        deep: {
          none: "%REQ(X-NO)%",
          more: { list: ["%REQ(X-NO)%", "a%REQ(X-NO)%b", 7, true, null] },
        },
        empty: { none: "%REQ(X-NO)%" },
        lists: ["%REQ(X-NO)%", ["%REQ(X-NO)%"], { a: "%REQ(X-NO)%" }],
        emptyList: [],
        emptyObject: {},
        flags: "%RESPONSE_FLAGS%",
        blank: "",
        environment: "%ENVIRONMENT(SERIN_NO_SUCH)%",
        mixed: "%PROTOCOL%-%REQ(X-NO)%",
        number: "%RESPONSE_CODE%",
        meta: "%METADATA(ROUTE:ns)%",
      },
      ...(omitEmpty === undefined ? {} : { omitEmpty }),
    })),
    { name: "text, omitting", format: "a%REQ(X-NO)%b", omitEmpty: true },
  ],
  requests: [
    {
      name: "plain",
      request: get("/?a=1", "x-request-id: 00000000-1\r\n", { headers: { "x-there": "1" } }),
    },
    { name: "no route", request: get("/none", "x-request-id: 00000000-2\r\n") },
    { name: "refused", request: get("/dead", "x-request-id: 00000000-3\r\n") },
    { name: "refused for ever", request: get("/dead-retry", "x-request-id: 00000000-3\r\n") },
    { name: "rewritten host", request: get("/rehost", "x-request-id: 00000000-4\r\n") },
    {
      name: "gRPC",
      request: get("/", `${GRPC}x-request-id: 5\r\n`, { headers: { "grpc-status": "3" } }),
    },
    {
      name: "gRPC behind",
      request: get("/h2", `${GRPC}x-request-id: 5\r\n`, { trailers: { "grpc-status": "16" } }),
    },
    {
      name: "gRPC of no name",
      request: get("/", `${GRPC}x-request-id: 6\r\n`, { headers: { "grpc-status": "77" } }),
    },
    {
      name: "gRPC no number",
      request: get("/", `${GRPC}x-request-id: 6\r\n`, { headers: { "grpc-status": "x" } }),
    },
    {
      name: "gRPC without status",
      request: get("/", `${GRPC}x-request-id: 7\r\n`, { status: 429 }),
    },
    { name: "gRPC refused", request: get("/dead", `${GRPC}x-request-id: 8\r\n`) },
  ],
  routes: [
    { match: { path: "/" }, route: { cluster: "a" }, metadata: METADATA },
    { match: { path: "/h2" }, route: { cluster: "h2" } },
    { match: { path: "/dead" }, route: { cluster: "dead" } },
    {
      match: { path: "/dead-retry" },
      route: { cluster: "dead", retry_policy: { retry_on: "connect-failure", num_retries: 1 } },
    },
    {
      match: { path: "/rehost" },
      route: { cluster: "a", host_rewrite_literal: "other.test", append_x_forwarded_host: true },
    },
  ],
  cluster: { metadata: METADATA },
  manager: {
    preserve_external_request_id: true,
    http_filters: [
      {
        name: "rbac",
        typed_config: {
          "@type": RBAC,
          shadow_rules: {
            action: "ALLOW",
            policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } },
          },
        },
      },
      { name: "router", typed_config: { "@type": ROUTER } },
    ],
  },
};
