import { openTelemetry, type TracingListener, type TracingRow, zipkin } from "./tracing-run.ts";

const ALL: object = {};
const NONE = { random_sampling: { value: 0 } };
const INTERNAL = {
  internal_address_config: { cidr_ranges: [{ address_prefix: "127.0.0.0", prefix_len: 8 }] },
};
const UUID = (config: object) => ({
  request_id_extension: {
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
      ...config,
    },
  },
});
const OUTBOUND = { traffic_direction: "OUTBOUND" };
const SPAWN = { spawn_upstream_span: true };
const OTLP_HTTP = {
  http_service: {
    http_uri: { uri: "http://otlp.test/v1/traces", cluster: "collector", timeout: "1s" },
    request_headers_to_add: [{ header: { key: "x-token", value: "secret" } }],
  },
};

/** The ways to trace. */
export const TRACING_LISTENERS: Readonly<Record<string, TracingListener>> = {
  off: { tracing: undefined },
  zipkin: { tracing: ALL, provider: zipkin() },
  "zipkin-none": { tracing: NONE, provider: zipkin() },
  "zipkin-spawn": { tracing: SPAWN, provider: zipkin() },
  "zipkin-split": {
    tracing: ALL,
    provider: zipkin({ split_spans_for_request: true }),
    router: { start_child_span: true },
  },
  "zipkin-128": {
    tracing: ALL,
    provider: zipkin({ trace_id_128bit: true, shared_span_context: false }),
  },
  "zipkin-w3c": {
    tracing: ALL,
    provider: zipkin({ trace_context_option: "USE_B3_WITH_W3C_PROPAGATION" }),
  },
  "zipkin-out": { tracing: ALL, provider: zipkin(), listener: OUTBOUND },
  "zipkin-out-spawn": { tracing: SPAWN, provider: zipkin(), listener: OUTBOUND },
  "zipkin-child": { tracing: ALL, provider: zipkin(), router: { start_child_span: true } },
  "zipkin-out-child": {
    tracing: ALL,
    provider: zipkin(),
    router: { start_child_span: true },
    listener: OUTBOUND,
  },
  "zipkin-out-split": {
    tracing: ALL,
    provider: zipkin({ split_spans_for_request: true }),
    listener: OUTBOUND,
  },
  "zipkin-inner": { tracing: NONE, provider: zipkin(), manager: { use_remote_address: false } },
  "zipkin-hops": { tracing: ALL, provider: zipkin(), manager: { xff_num_trusted_hops: 1 } },
  "zipkin-verbose-spawn": { tracing: { verbose: true, ...SPAWN }, provider: zipkin() },
  "zipkin-verbose": { tracing: { verbose: true }, provider: zipkin() },
  "zipkin-tags": {
    tracing: {
      max_path_tag_length: 12,
      custom_tags: [
        { tag: "literal", literal: { value: "L" } },
        { tag: "home", environment: { name: "SERIN_NOT_THERE", default_value: "none" } },
        { tag: "unset", environment: { name: "SERIN_NOT_THERE" } },
        { tag: "header", request_header: { name: "x-team", default_value: "no team" } },
        { tag: "header2", request_header: { name: "x-team" } },
        { tag: "component", literal: { value: "mine" } },
        {
          tag: "route",
          metadata: {
            kind: { route: {} },
            metadata_key: { key: "shop", path: [{ key: "owner" }] },
            default_value: "nobody",
          },
        },
      ],
    },
    provider: zipkin(),
  },
  "zipkin-force": { tracing: NONE, provider: zipkin(), manager: INTERNAL },
  "zipkin-operation": {
    tracing: {
      operation: "%REQ(:METHOD)% %REQ(:PATH)% %REQ(X-NOT-THERE)%",
      upstream_operation: "to %UPSTREAM_CLUSTER% %REQ(:PATH)%",
      ...SPAWN,
      custom_tags: [
        { tag: "text", value: "%REQ(:METHOD)% answered %RESPONSE_CODE%" },
        { tag: "nothing", value: "%REQ(X-NOT-THERE)%" },
        { tag: "number", value: "%RESPONSE_CODE%" },
        { tag: "plain", value: "plain" },
      ],
    },
    provider: zipkin(),
  },
  "otel-operation": {
    tracing: { operation: "%REQ(:METHOD)% at %REQ(:AUTHORITY)%" },
    provider: openTelemetry(),
    listener: OUTBOUND,
  },
  "zipkin-internal": {
    tracing: NONE,
    provider: zipkin(),
    manager: { ...INTERNAL, always_set_request_id_in_response: true },
  },
  "zipkin-preserve": {
    tracing: { client_sampling: { value: 0 }, random_sampling: { value: 50 } },
    provider: zipkin(),
    manager: { preserve_external_request_id: true },
  },
  "zipkin-overall": {
    tracing: { overall_sampling: { value: 50 } },
    provider: zipkin(),
    manager: { preserve_external_request_id: true },
  },
  "zipkin-no-id": { tracing: ALL, provider: zipkin(), manager: { generate_request_id: false } },
  "zipkin-unpacked": {
    tracing: ALL,
    provider: zipkin(),
    manager: { ...UUID({ pack_trace_reason: false }), always_set_request_id_in_response: true },
  },
  "zipkin-own-sampling": {
    tracing: NONE,
    provider: zipkin(),
    manager: UUID({ use_request_id_for_trace_sampling: false }),
  },
  "zipkin-silent": { tracing: { no_context_propagation: true }, provider: zipkin() },
  "zipkin-service": {
    tracing: ALL,
    provider: zipkin({
      collector_cluster: undefined,
      collector_endpoint: undefined,
      collector_service: {
        http_uri: { uri: "http://zipkin.test/spans", cluster: "collector", timeout: "1s" },
      },
    }),
  },
  otel: { tracing: ALL, provider: openTelemetry() },
  "otel-none": { tracing: NONE, provider: openTelemetry() },
  "otel-spawn": { tracing: SPAWN, provider: openTelemetry() },
  "otel-out": { tracing: ALL, provider: openTelemetry(), listener: OUTBOUND },
  "otel-out-spawn": { tracing: SPAWN, provider: openTelemetry(), listener: OUTBOUND },
  "otel-verbose": { tracing: { verbose: true }, provider: openTelemetry() },
  "otel-http": { tracing: ALL, provider: openTelemetry(OTLP_HTTP) },
  "otel-bare": {
    tracing: ALL,
    provider: openTelemetry({
      ...OTLP_HTTP,
      service_name: "",
      set_telemetry_sdk_resource_attributes: false,
      set_instrumentation_scope: false,
    }),
  },
};

const fraction = (numerator: number) => ({ numerator, denominator: "HUNDRED" });

export const TRACING_ROUTES = {
  validate_clusters: false,
  virtual_hosts: [
    {
      name: "all",
      domains: ["*"],
      routes: [
        {
          match: { prefix: "/direct" },
          direct_response: { status: 200, body: { inline_string: "here" } },
        },
        { match: { prefix: "/redirect" }, redirect: { path_redirect: "/" } },
        { match: { prefix: "/dead" }, route: { cluster: "dead" } },
        { match: { prefix: "/nowhere" }, route: { cluster: "nowhere" } },
        {
          match: { prefix: "/decorated" },
          route: { cluster: "a" },
          decorator: { operation: "checkout" },
        },
        {
          match: { prefix: "/kept" },
          route: { cluster: "a" },
          decorator: { operation: "checkout", propagate: false },
        },
        {
          match: { prefix: "/route-none" },
          route: { cluster: "a" },
          tracing: {
            client_sampling: fraction(100),
            random_sampling: fraction(0),
            overall_sampling: fraction(100),
          },
        },
        {
          match: { prefix: "/route-tags" },
          route: { cluster: "a" },
          metadata: { filter_metadata: { shop: { owner: "carts" } } },
          tracing: {
            client_sampling: fraction(100),
            random_sampling: fraction(100),
            overall_sampling: fraction(100),
            custom_tags: [
              { tag: "literal", literal: { value: "of the route" } },
              { tag: "extra", literal: { value: "E" } },
            ],
          },
        },
        {
          match: { prefix: "/named" },
          route: { cluster: "a" },
          tracing: {
            operation: "named %REQ(:PATH)%",
            upstream_operation: "named upstream %UPSTREAM_CLUSTER%",
          },
        },
        {
          match: { prefix: "/rewritten" },
          route: { cluster: "a", prefix_rewrite: "/new", host_rewrite_literal: "new.test" },
        },
        {
          match: { prefix: "/retried" },
          route: { cluster: "a", retry_policy: { retry_on: "5xx", num_retries: 2 } },
        },
        {
          match: { prefix: "/slow-tries" },
          route: {
            cluster: "a",
            timeout: "5s",
            retry_policy: { retry_on: "5xx", num_retries: 1, per_try_timeout: "0.3s" },
          },
        },
        { match: { prefix: "/slow" }, route: { cluster: "a", timeout: "0.3s" } },
        {
          match: { prefix: "/edited" },
          route: { cluster: "a" },
          request_headers_to_add: [
            { header: { key: "x-b3-sampled", value: "of the route" } },
            { header: { key: "traceparent", value: "of the route" } },
          ],
        },
        { match: { prefix: "/" }, route: { cluster: "a" } },
      ],
    },
  ],
};

const get = (fields = "", path = "/"): string =>
  `GET ${path} HTTP/1.1\r\nHost: shop.test\r\n${fields}\r\n`;
const row = (
  name: string,
  listener: string,
  spans: number,
  fields = "",
  path = "/",
): TracingRow => ({ name: `${listener}: ${name}`, listener, spans, request: get(fields, path) });

const T16 = "463ac35c9f6ROW1";
const T32 = "70f198ee56343ba864fe8b2a570ROW1";
const S = "a2fb4a1d1a96d312";
const P = "0020000000000001";
const multi = (trace: string, more = "") =>
  `x-b3-traceid: ${trace}\r\nx-b3-spanid: ${S}\r\n${more}`;
const sampled = "x-b3-sampled: 1\r\n";
const dropped = "x-b3-sampled: 0\r\n";
const parent = `x-b3-parentspanid: ${P}\r\n`;
const single = (value: string) => `b3: ${value}\r\n`;
const w3c = (value: string) => `traceparent: ${value}\r\n`;
const state = "tracestate: a=1,b=2\r\n";
const requestId = (reason: string, first = "00000001") =>
  `x-request-id: ${first}-1111-${reason}111-8111-1111111ROW1\r\n`;

const B3_ROWS = (listener: string): readonly TracingRow[] => [
  row("nothing comes in", listener, 1),
  row("b3 of 64 bits", listener, 1, multi(T16, sampled)),
  row("b3 of 128 bits with a parent", listener, 1, multi(T32, sampled + parent)),
  row("b3 that is not sampled", listener, 0, multi(T16, dropped)),
  row("b3 without a decision", listener, 1, multi(T16)),
  row("b3 in one field", listener, 1, single(`${T32}-${S}-1`)),
  row("b3 in one field with a parent", listener, 1, single(`${T16}-${S}-1-${P}`)),
  row("b3 in one field, not sampled", listener, 0, single(`${T16}-${S}-0`)),
];

export const TRACING_ROWS: readonly TracingRow[] = [
  row(
    "headers of all kinds pass",
    "off",
    0,
    multi(T16, sampled) +
      single(`${T32}-${S}-1`) +
      w3c(`00-${T32}-${S}-01`) +
      state +
      "x-ot-span-context: a;b\r\nx-client-trace-id: c\r\n",
  ),
  row("a decorator says nothing", "off", 0, "", "/decorated"),
  ...B3_ROWS("zipkin"),
  row("true is sampled", "zipkin", 1, multi(T16, "x-b3-sampled: true\r\n")),
  row("nonsense is not sampled", "zipkin", 0, multi(T16, "x-b3-sampled: yes\r\n")),
  row("flags for debugging", "zipkin", 1, multi(T16, "x-b3-flags: 1\r\n")),
  row("only a decision against", "zipkin", 0, dropped),
  row("only a decision for", "zipkin", 1, sampled),
  row("a single field says no and nothing else", "zipkin", 0, single("0")),
  row("a single field says yes and nothing else", "zipkin", 1, single("1")),
  row("a single field for debugging", "zipkin", 1, single("d")),
  row("debug in one field", "zipkin", 1, single(`${T16}-${S}-d`)),
  row("one field without a decision", "zipkin", 1, single(`${T16}-${S}`)),
  row("both kinds of b3", "zipkin", 1, single(`${T32}-${S}-1`) + multi(T16, dropped)),
  row("one field with a bad flag", "zipkin", 0, single(`${T16}-${S}-x`)),
  row("one field that is cut", "zipkin", 0, single(`${T16}-${S}-`)),
  row("one field that is no b3", "zipkin", 0, single("garbage")),
  row("one field that is too long", "zipkin", 0, single(`${T32}-${S}-1-${P}00`)),
  row("one field that is empty", "zipkin", 0, single("")),
  row("a trace id that is no number", "zipkin", 0, multi("nonsense", sampled)),
  row("a span id that is no number", "zipkin", 0, `x-b3-traceid: ${T16}\r\nx-b3-spanid: zzz\r\n`),
  row("a short trace id", "zipkin", 1, multi("aROW", sampled)),
  row("a trace id of odd length", "zipkin", 0, multi(`${T16}00`, sampled)),
  row("a parent that is no number", "zipkin", 0, multi(T16, "x-b3-parentspanid: zzz\r\n")),
  row("a trace id without a span id", "zipkin", 1, `x-b3-traceid: ${T16}\r\n`),
  row("a trace id of zeros", "zipkin", 1, multi("0000000000000000", sampled)),
  row("w3c is not for it", "zipkin", 1, w3c(`00-${T32}-${S}-00`) + state),
  row("other headers pass", "zipkin", 1, "x-ot-span-context: a;b\r\ngrpc-trace-bin: AAAA\r\n"),
  row("a client's trace", "zipkin", 1, "x-client-trace-id: abc\r\n"),
  row(
    "a user agent and a service",
    "zipkin",
    1,
    "user-agent: curl/8\r\nx-envoy-downstream-service-cluster: front\r\n",
  ),
  row("a direct response", "zipkin", 1, "", "/direct"),
  row("a redirect", "zipkin", 1, "", "/redirect"),
  row("a dead upstream", "zipkin", 1, "", "/dead"),
  row("no such cluster", "zipkin", 1, "", "/nowhere"),
  row("an error of the upstream", "zipkin", 1, "x-answer: 500\r\n"),
  row("not found is no error", "zipkin", 1, "x-answer: 404\r\n"),
  row("a retry", "zipkin", 1, "x-answer: 503,200\r\n", "/retried?x=1"),
  row("rewritten", "zipkin", 1, "", "/rewritten/a?b=c"),
  row("headers of the route", "zipkin", 1, "", "/edited"),
  row("a decorator", "zipkin", 1, "", "/decorated"),
  row("a decorator that is not told", "zipkin", 1, "", "/kept"),
  row("a caller's operation", "zipkin", 1, "x-envoy-decorator-operation: pay\r\n", "/decorated"),
  row("a route without sampling", "zipkin", 0, "", "/route-none"),
  row(
    "a route's sampling and a client's trace",
    "zipkin",
    1,
    "x-client-trace-id: abc\r\n",
    "/route-none",
  ),
  {
    name: "zipkin: a body both ways",
    listener: "zipkin",
    spans: 1,
    request: `POST / HTTP/1.1\r\nHost: shop.test\r\ncontent-length: 5\r\n\r\nhello`,
  },
  row(
    "gRPC",
    "zipkin",
    1,
    "content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: 1S\r\nx-answer-field: grpc-status=7\r\n",
    "/shop.Cart/Get",
  ),
  row("a parent and nothing else", "zipkin", 1, parent),
  row("upper case", "zipkin", 1, multi(T16.replace("c", "C"), sampled)),
  row("one field in upper case", "zipkin", 1, single(`${T16.replace("c", "C")}-${S}-1`)),
  row("a parent of zeros", "zipkin", 1, multi(T16, "x-b3-parentspanid: 0000000000000000\r\n")),
  row("an empty parent", "zipkin", 1, multi(T16, "x-b3-parentspanid: \r\n")),
  row("an empty decision", "zipkin", 0, multi(T16, "x-b3-sampled: \r\n")),
  row("a trace id of zeros and an odd length", "zipkin", 1, multi(`00${T16}`)),
  row("no route for gRPC-Web", "zipkin", 1, "content-type: application/grpc-web\r\n"),
  row("a status of gRPC without gRPC", "zipkin", 1, "x-answer-field: grpc-status=13\r\n"),
  row(
    "gRPC that fails here",
    "zipkin",
    1,
    "content-type: application/grpc\r\nte: trailers\r\n",
    "/dead/Get",
  ),
  row("an x-request-id from outside", "zipkin", 1, requestId("4")),
  ...["nothing comes in", "b3"].map((name, i) =>
    row(name, "zipkin-none", i, i === 1 ? multi(T16, sampled) : ""),
  ),
  row("b3 that is not sampled", "zipkin-none", 0, multi(T16, dropped)),
  row("a client's trace", "zipkin-none", 1, "x-client-trace-id: abc\r\n"),
  row("force from outside", "zipkin-none", 0, "x-envoy-force-trace: 1\r\n"),
  row("b3 without a decision", "zipkin-none", 0, multi(T16)),
  row("flags for debugging", "zipkin-none", 0, multi(T16, "x-b3-flags: 1\r\n")),
  row("nothing comes in", "zipkin-child", 2),
  row("b3", "zipkin-out-child", 2, multi(T16, sampled)),
  row("b3", "zipkin-out-split", 1, multi(T16, sampled)),
  row(
    "a caller's operation",
    "zipkin-inner",
    1,
    `x-envoy-decorator-operation: pay\r\nx-envoy-downstream-service-cluster: front\r\n${sampled}`,
    "/decorated",
  ),
  row("force is not believed", "zipkin-inner", 0, "x-envoy-force-trace: 1\r\n"),
  row("a scheme that was forwarded", "zipkin-inner", 1, `x-forwarded-proto: https\r\n${sampled}`),
  row("an id from outside", "zipkin-inner", 1, requestId("9")),
  row("a client behind a proxy", "zipkin-hops", 1, "x-forwarded-for: 10.1.1.1, 10.2.2.2\r\n"),
  row("nothing comes in", "zipkin-verbose-spawn", 2),
  row("forced, and the id comes back", "zipkin-force", 1, "x-envoy-force-trace: 1\r\n"),
  ...B3_ROWS("zipkin-spawn").map((r) => ({ ...r, spans: r.spans * 2 })),
  row("a retry", "zipkin-spawn", 3, "x-answer: 503,200\r\n", "/retried"),
  row("a direct response", "zipkin-spawn", 1, "", "/direct"),
  row("a dead upstream", "zipkin-spawn", 2, "", "/dead"),
  row("an error of the upstream", "zipkin-spawn", 2, "x-answer: 500\r\n"),
  row(
    "gRPC",
    "zipkin-spawn",
    2,
    "content-type: application/grpc\r\nte: trailers\r\nx-answer-field: grpc-status=7\r\n",
    "/shop.Cart/Get",
  ),
  row("a decorator", "zipkin-spawn", 2, "", "/decorated"),
  row("nothing comes in", "zipkin-split", 2),
  row("b3", "zipkin-split", 2, multi(T16, sampled)),
  ...B3_ROWS("zipkin-128"),
  row("nothing comes in", "zipkin-w3c", 1),
  row("w3c", "zipkin-w3c", 1, w3c(`00-${T32}-${S}-01`) + state),
  row("w3c that is not sampled", "zipkin-w3c", 0, w3c(`00-${T32}-${S}-00`)),
  row("w3c that is wrong", "zipkin-w3c", 1, w3c("00-garbage")),
  row("b3 before w3c", "zipkin-w3c", 1, multi(T16, sampled) + w3c(`00-${T32}-${S}-00`)),
  ...B3_ROWS("zipkin-out"),
  row("a decorator", "zipkin-out", 1, "", "/decorated"),
  row("a decorator that is not told", "zipkin-out", 1, "", "/kept"),
  row(
    "an operation in the answer",
    "zipkin-out",
    1,
    "x-answer-field: x-envoy-decorator-operation=paid\r\n",
    "/decorated",
  ),
  row("a caller's operation", "zipkin-out", 1, "x-envoy-decorator-operation: pay\r\n"),
  row("nothing comes in", "zipkin-out-spawn", 2),
  row("b3", "zipkin-out-spawn", 2, multi(T16, sampled)),
  row("nothing comes in", "zipkin-verbose", 1),
  row("a direct response", "zipkin-verbose", 1, "", "/direct"),
  row("an operation", "zipkin-operation", 2, "", "/rewritten/a?b=c"),
  row("an operation of the route", "zipkin-operation", 2, "", "/named"),
  row("an operation and a decorator", "zipkin-operation", 2, "", "/decorated"),
  row("an operation and a direct response", "zipkin-operation", 1, "", "/direct"),
  row("an operation and a retry", "zipkin-operation", 3, "x-answer: 503,200\r\n", "/retried"),
  row("an operation", "otel-operation", 1),
  row("an operation of the route", "otel-operation", 1, "", "/named"),
  row("an operation and a decorator", "otel-operation", 1, "", "/decorated"),
  row(
    "an operation and one in the answer",
    "otel-operation",
    1,
    "x-answer-field: x-envoy-decorator-operation=paid\r\n",
  ),
  row("an operation of the route alone", "zipkin-spawn", 2, "", "/named"),
  row("tags", "zipkin-tags", 1, "", "/a/rather/long/path?with=query"),
  row("tags of a header", "zipkin-tags", 1, "x-team: cart\r\n"),
  row("tags of a route", "zipkin-tags", 1, "x-team: cart\r\n", "/route-tags"),
  row("not forced", "zipkin-internal", 0),
  row("forced", "zipkin-internal", 1, "x-envoy-force-trace: true\r\n"),
  row("an id that says forced", "zipkin-internal", 1, requestId("a")),
  row("an id that says sampled", "zipkin-internal", 1, requestId("9")),
  row("an id that says client", "zipkin-internal", 1, requestId("b")),
  row("an id that says nothing", "zipkin-internal", 0, requestId("4")),
  row("an id that is no uuid", "zipkin-internal", 0, "x-request-id: abc\r\n"),
  row(
    "a caller's operation",
    "zipkin-internal",
    1,
    "x-envoy-force-trace: true\r\nx-envoy-decorator-operation: pay\r\n",
    "/decorated",
  ),
  row("an id below the limit", "zipkin-preserve", 1, requestId("4", "00001387")),
  row("an id above the limit", "zipkin-preserve", 0, requestId("4", "00001388")),
  row("an id that is no number", "zipkin-preserve", 0, requestId("4", "zzzzzzzz")),
  row("an id of another kind", "zipkin-preserve", 1, "x-request-id: 00000001ab\r\n"),
  row("a short id", "zipkin-preserve", 0, "x-request-id: 0001\r\n"),
  row(
    "a client's trace",
    "zipkin-preserve",
    0,
    `x-client-trace-id: c\r\n${requestId("4", "00001388")}`,
  ),
  row("an id below the limit", "zipkin-overall", 1, requestId("4", "00001387")),
  row("an id above the limit", "zipkin-overall", 0, requestId("4", "00001388")),
  row("an id above the limit that says sampled", "zipkin-overall", 0, requestId("9", "00001388")),
  row("without an id", "zipkin-no-id", 0),
  row("with an id", "zipkin-no-id", 1, requestId("4")),
  row("the id stays", "zipkin-unpacked", 1),
  row("sampled by nobody", "zipkin-own-sampling", 1),
  row("nothing is passed on", "zipkin-silent", 1),
  row("nothing is passed on but what came", "zipkin-silent", 1, multi(T16, sampled)),
  row("by collector_service", "zipkin-service", 1),
  row("nothing comes in", "otel", 1),
  row("w3c", "otel", 1, w3c(`00-${T32}-${S}-01`) + state),
  row("w3c without state", "otel", 1, w3c(`00-${T32}-${S}-01`)),
  row("w3c that is not sampled", "otel", 0, w3c(`00-${T32}-${S}-00`) + state),
  row("w3c of a later version", "otel", 1, w3c(`cc-${T32}-${S}-01`)),
  row("w3c with more flags", "otel", 1, w3c(`00-${T32}-${S}-03`)),
  row("w3c in upper case", "otel", 1, w3c(`00-${T32.toUpperCase().replace("ROW", "ROW")}-${S}-01`)),
  row("w3c too short", "otel", 0, w3c(`00-${T32}-${S}-1`)),
  row("w3c with zeros", "otel", 0, w3c(`00-${"0".repeat(32)}-${S}-01`)),
  row("w3c with a parent of zeros", "otel", 0, w3c(`00-${T32}-${"0".repeat(16)}-01`)),
  row("w3c with other letters", "otel", 0, w3c(`00-${T32}-${S.replace("a", "z")}-01`)),
  row("w3c of version ff", "otel", 1, w3c(`ff-${T32}-${S}-01`)),
  row(
    "w3c twice",
    "otel",
    1,
    w3c(`00-${T32}-${S}-01`) + w3c(`00-${T32.replace("70", "71")}-${S}-01`),
  ),
  row("only state", "otel", 1, state),
  row(
    "state twice",
    "otel",
    1,
    `${w3c(`00-${T32}-${S}-01`)}tracestate: a=1\r\ntracestate: b=2\r\n`,
  ),
  row("b3 passes", "otel", 1, multi(T16, dropped) + single(`${T32}-${S}-1`)),
  row("an error of the upstream", "otel", 1, "x-answer: 503\r\n"),
  row("not found", "otel", 1, "x-answer: 404\r\n"),
  row("a dead upstream", "otel", 1, "", "/dead"),
  row("a decorator", "otel", 1, "", "/decorated"),
  row("a direct response", "otel", 1, "", "/direct"),
  row(
    "gRPC",
    "otel",
    1,
    "content-type: application/grpc\r\nte: trailers\r\nx-answer-field: grpc-status=7\r\n",
    "/shop.Cart/Get",
  ),
  row("headers of the route", "otel", 1, "", "/edited"),
  row("a route's tags", "otel", 1, "", "/route-tags"),
  row("nothing comes in", "otel-none", 0),
  row("w3c", "otel-none", 0, w3c(`00-${T32}-${S}-01`)),
  row("nothing comes in", "otel-spawn", 2),
  row("w3c", "otel-spawn", 2, w3c(`00-${T32}-${S}-01`) + state),
  row("a retry", "otel-spawn", 3, "x-answer: 503,200\r\n", "/retried"),
  row("an error of the upstream", "otel-spawn", 2, "x-answer: 500\r\n"),
  row("a dead upstream", "otel-spawn", 2, "", "/dead"),
  row(
    "gRPC",
    "otel-spawn",
    2,
    "content-type: application/grpc\r\nte: trailers\r\nx-answer-field: grpc-status=14\r\n",
    "/shop.Cart/Get",
  ),
  row("not found", "otel-spawn", 2, "x-answer: 404\r\n"),
  row("not found", "otel-out", 1, "x-answer: 404\r\n"),
  row(
    "gRPC that is refused",
    "otel-spawn",
    2,
    "content-type: application/grpc\r\nte: trailers\r\nx-answer-field: grpc-status=7\r\n",
    "/shop.Cart/Get",
  ),
  row(
    "gRPC that is well",
    "otel-out",
    1,
    "content-type: application/grpc\r\nte: trailers\r\nx-answer-field: grpc-status=0\r\n",
    "/shop.Cart/Get",
  ),
  row("no cluster", "otel-spawn", 1, "", "/nowhere"),
  row("no try in time", "otel-spawn", 2, "x-wait: 1\r\n", "/slow"),
  row("no try in time and no more tries", "otel-spawn", 3, "x-wait: 1\r\n", "/slow-tries"),
  row("nothing comes in", "otel-out", 1),
  row("w3c", "otel-out", 1, w3c(`00-${T32}-${S}-01`)),
  row("a decorator", "otel-out", 1, "", "/decorated"),
  row("nothing comes in", "otel-out-spawn", 2),
  row("verbose", "otel-verbose", 1),
  row("by HTTP", "otel-http", 1),
  row("without extras", "otel-bare", 1),
];
