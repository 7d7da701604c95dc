import {
  type Answer,
  get,
  type LoggedRequest,
  type LogTable,
  type LogUnderTest,
} from "./log-table.ts";

const compare = (op: string, value: number) => ({
  comparison: { op, value: { default_value: value, runtime_key: "no.such.key" } },
});
const status = (op: string, value: number) => ({ status_code_filter: compare(op, value) });
const duration = (op: string, value: number) => ({ duration_filter: compare(op, value) });
const sampled = (numerator: number, denominator: string, more: object = {}) => ({
  runtime_filter: {
    runtime_key: "no.such.key",
    percent_sampled: { numerator, denominator },
    ...more,
  },
});
const header = (matcher: object) => ({ header_filter: { header: matcher } });
const flags = (...list: readonly string[]) => ({ response_flag_filter: { flags: list } });
const grpc = (more: object) => ({ grpc_status_filter: more });
const types = (more: object) => ({ log_type_filter: more });
const metadata = (value: object, more: object = {}, key = "shadow_effective_policy_id") => ({
  metadata_filter: {
    matcher: { filter: "envoy.filters.http.rbac", path: [{ key }], value, ...more },
  },
});
const both = (a: object, b: object) => ({ and_filter: { filters: [a, b] } });
const either = (a: object, b: object) => ({ or_filter: { filters: [a, b] } });

const FILTERS: readonly (readonly [name: string, filter: object])[] = [
  ["status 404", status("EQ", 404)],
  ["status from 400", status("GE", 400)],
  ["status up to 200", status("LE", 200)],
  ["status 0", status("EQ", 0)],
  ["duration from 80 ms", duration("GE", 80)],
  ["duration up to 79 ms", duration("LE", 79)],
  ["duration up to a minute", duration("LE", 60_000)],
  ["no health check", { not_health_check_filter: {} }],
  ["traceable", { traceable_filter: {} }],
  ["none sampled", sampled(0, "HUNDRED")],
  ["all sampled", sampled(100, "HUNDRED")],
  ["half sampled", sampled(50, "HUNDRED")],
  ["a part of ten thousand", sampled(4_000, "TEN_THOUSAND")],
  ["a part of a million", sampled(250_000, "MILLION")],
  ["more than all", sampled(300, "HUNDRED", { use_independent_randomness: true })],
  ["none, independently", sampled(0, "MILLION", { use_independent_randomness: true })],
  ["header exact", header({ name: "x-user", string_match: { exact: "jason" } })],
  ["header of both values", header({ name: "x-twice", string_match: { exact: "a,b" } })],
  ["header of one value", header({ name: "x-twice", string_match: { exact: "a" } })],
  ["header of the other value", header({ name: "x-twice", string_match: { exact: "b" } })],
  [
    "header of both values, with a space",
    header({ name: "x-twice", string_match: { exact: "a, b" } }),
  ],
  ["header containing one", header({ name: "x-twice", string_match: { contains: "b" } })],
  [
    "header not of one value",
    header({ name: "x-twice", string_match: { exact: "a" }, invert_match: true }),
  ],
  ["header absent", header({ name: "x-user", present_match: true, invert_match: true })],
  [
    "header inverted",
    header({ name: "x-user", string_match: { prefix: "j" }, invert_match: true }),
  ],
  ["header range", header({ name: "x-n", range_match: { start: 3, end: 7 } })],
  ["header method", header({ name: ":method", string_match: { exact: "POST" } })],
  ["header path", header({ name: ":path", string_match: { prefix: "/rewritten" } })],
  ["any flag", flags()],
  ["flag UF", flags("UF")],
  ["flags NR or UF", flags("NR", "UF")],
  ["flag UT", flags("UT")],
  ["flag URX", flags("URX")],
  ["flag DI", flags("DI")],
  ["gRPC OK", grpc({ statuses: ["OK"] })],
  ["gRPC unavailable", grpc({ statuses: ["UNAVAILABLE"] })],
  ["gRPC not found or internal", grpc({ statuses: ["NOT_FOUND", "INTERNAL"] })],
  ["gRPC unknown", grpc({ statuses: ["UNKNOWN"] })],
  ["all but gRPC unknown", grpc({ statuses: ["UNKNOWN"], exclude: true })],
  ["gRPC none", grpc({})],
  ["metadata gold", metadata({ string_match: { exact: "gold" } })],
  [
    "metadata gold, else not",
    {
      metadata_filter: {
        ...metadata({ string_match: { exact: "gold" } }).metadata_filter,
        match_if_key_not_found: false,
      },
    },
  ],
  ["metadata gold, inverted", metadata({ string_match: { exact: "gold" } }, { invert: true })],
  ["metadata of another key", metadata({ present_match: true }, {}, "no")],
  ["metadata nothing", { metadata_filter: {} }],
  ["metadata nothing, else not", { metadata_filter: { match_if_key_not_found: false } }],
  ["log type end", types({ types: ["DownstreamEnd"] })],
  ["log type TCP", types({ types: ["TcpConnectionEnd"] })],
  ["log type but end", types({ types: ["DownstreamEnd"], exclude: true })],
  ["log types none", types({})],
  ["500s of jason", both(status("GE", 500), header({ name: "x-user", present_match: true }))],
  ["500s or jason's", either(status("GE", 500), header({ name: "x-user", present_match: true }))],
  ["or of and", either(both(status("GE", 500), flags("UF")), status("EQ", 404))],
];

const ask = (name: string, path: string, fields = "", answer?: Answer): LoggedRequest => ({
  name,
  // Without an id each proxy would make one, and sample by it.
  request: get(path, fields.includes("x-request-id") ? fields : fields + id("00000033"), answer),
});
const id = (first: string) => `x-request-id: ${first}-0000-4000-8000-000000000000\r\n`;
const GRPC = "content-type: application/grpc\r\n";

const REQUESTS: readonly LoggedRequest[] = [
  ask("plain", "/"),
  ask("not found there", "/", "", { status: 404 }),
  ask("unavailable there", "/", "x-user: jason\r\n", { status: 503 }),
  ask("400", "/", "", { status: 400 }),
  ask("204", "/", "", { status: 204 }),
  ask("slow", "/", "", { delayMs: 120 }),
  ask("too slow", "/too-slow", "", { delayMs: 1_000 }),
  ask("no route", "/none"),
  ask("refused", "/dead"),
  ask("refused twice", "/dead-retry"),
  ask("of jason", "/", "x-user: jason\r\n"),
  ask("of ann", "/", "x-user: ann\r\n"),
  ask("of two values", "/", "x-twice: a\r\nx-twice: b\r\nx-n: 5\r\n"),
  ask("of range end", "/", "x-n: 7\r\n"),
  ask("rewritten", "/old"),
  ask("forced to be traced", "/", "x-envoy-force-trace: true\r\n"),
  ask("gold", "/", "x-tier: gold\r\n"),
  ask("silver", "/", "x-tier: silver\r\n"),
  {
    name: "posted",
    request:
      "POST / HTTP/1.1\r\nhost: logs.test\r\nx-request-id: 00000055-0000\r\ncontent-length: 2\r\n\r\nab",
  },
  ...["00000000", "00000031", "00000032", "0000104f", "7fffffff", "ffffffff", "ABCDEF12"].map(
    (first) => ask(`id ${first}`, "/", id(first)),
  ),
  ask("gRPC ok", "/", GRPC, { headers: { "grpc-status": "0" } }),
  ask("gRPC 5 behind", "/h2", GRPC, {
    trailers: { "grpc-status": "5" },
  }),
  ask("gRPC 13 without asking", "/", "", { headers: { "grpc-status": "13" } }),
  ask("gRPC no number", "/", GRPC, { headers: { "grpc-status": "x" } }),
  ask("gRPC 99", "/", GRPC, { headers: { "grpc-status": "99" } }),
  ask("gRPC refused", "/dead", GRPC),
];

const route = (path: string, cluster: string, more: object = {}) => ({
  match: { path },
  route: { cluster, ...more },
});
const RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/** Every kind of access log filter. */
export const FILTER_TABLE: LogTable = {
  logs: FILTERS.map(([name, filter]): LogUnderTest => ({ name, filter })),
  requests: REQUESTS,
  routes: [
    route("/", "a"),
    route("/h2", "h2"),
    route("/old", "a", { prefix_rewrite: "/rewritten" }),
    route("/dead", "dead"),
    route("/dead-retry", "dead", {
      retry_policy: { retry_on: "connect-failure", num_retries: 1 },
    }),
    route("/too-slow", "a", { timeout: "0.1s" }),
  ],
  manager: {
    preserve_external_request_id: true,
    http_filters: [
      {
        name: "rbac",
        typed_config: {
          "@type": RBAC,
          shadow_rules: {
            action: "ALLOW",
            policies: Object.fromEntries(
              ["gold", "silver"].map((tier) => [
                tier,
                {
                  permissions: [{ any: true }],
                  principals: [{ header: { name: "x-tier", string_match: { exact: tier } } }],
                },
              ]),
            ),
          },
        },
      },
      {
        name: "router",
        typed_config: {
          "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
      },
    ],
  },
};
