import type { Row } from "./table.ts";

const get = (path: string, headers = "", host = "table.test"): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
const to = (match: object, more: object = {}) => ({ match, route: { cluster: "a", ...more } });
const redirect = (match: object, action: object) => ({ match, redirect: action });
const toB = (path: string, matcher: object) => ({
  match: { path, headers: [{ name: "x-v", ...matcher }] },
  route: { cluster: "b" },
});
const rewrite = (regex: string, substitution: string) => ({ pattern: { regex }, substitution });

/** Header matchers with the values that are tried on them; "-" = no such header. */
const MATCHERS: readonly (readonly [name: string, matcher: object, values: readonly string[]])[] = [
  ["range", { range_match: { start: -5, end: 10 } }, ["-5", "9", "10", "-6", "x", "", "-", "+3"]],
  ["range-not", { range_match: { start: 0, end: 10 }, invert_match: true }, ["5", "10", "x", "-"]],
  ["suffix", { string_match: { suffix: "end" } }, ["the end", "ending", "-"]],
  ["contains", { string_match: { contains: "id" } }, ["amid all", "none", "MID"]],
  ["fold", { string_match: { exact: "YES", ignore_case: true } }, ["yes", "Yes", "no"]],
  ["prefix-fold", { string_match: { prefix: "Ab", ignore_case: true } }, ["aBc", "ba"]],
  [
    "as-empty",
    { string_match: { exact: "" }, treat_missing_header_as_empty: true },
    ["-", "", "x"],
  ],
  [
    "as-empty-not",
    { string_match: { exact: "x" }, treat_missing_header_as_empty: true, invert_match: true },
    ["-", "x", "y"],
  ],
  ["not-present", { present_match: false }, ["-", "x"]],
  ["present-as-empty", { present_match: true, treat_missing_header_as_empty: true }, ["-", "x"]],
  ["prefix-not", { string_match: { prefix: "a" }, invert_match: true }, ["abc", "b", "-"]],
];

const MATCHER_ROWS: readonly Row[] = MATCHERS.flatMap(([name, , values]) =>
  values.map((value) => ({
    name: `header ${name}: ${JSON.stringify(value)}`,
    request: get(`/m/${name}`, value === "-" ? "" : `x-v: ${value}\r\n`),
    status: 200,
    upstream: "either",
  })),
);

const REDIRECTS: readonly (readonly [name: string, action: object])[] = [
  ["scheme", { scheme_redirect: "ftp" }],
  ["https", { https_redirect: true }],
  ["https-port", { https_redirect: true, port_redirect: 8443 }],
  ["port", { port_redirect: 81 }],
  ["host-port", { host_redirect: "other.test", port_redirect: 81 }],
  ["path", { path_redirect: "/new" }],
  ["path-query", { path_redirect: "/new?z=1" }],
  ["path-strip", { path_redirect: "/new", strip_query: true }],
  ["path-query-strip", { path_redirect: "/new?z=1", strip_query: true }],
  ["strip", { host_redirect: "other.test", strip_query: true }],
  ["prefix", { prefix_rewrite: "/fresh" }],
  ["prefix-strip", { prefix_rewrite: "/fresh", strip_query: true }],
  ["regex", { regex_rewrite: rewrite("^/go/[a-z-]+/(.*)$", "/\\1/moved") }],
  ["regex-strip", { regex_rewrite: rewrite("[xyz]", "<\\0>"), strip_query: true }],
  ["308", { response_code: "PERMANENT_REDIRECT", host_redirect: "other.test" }],
  ["303", { response_code: "SEE_OTHER", host_redirect: "other.test" }],
];

const REDIRECT_ROWS: readonly Row[] = REDIRECTS.flatMap(([name, action]) =>
  ["table.test", "table.test:80", "table.test:443"].map((host) => ({
    name: `redirect ${name} of ${host}`,
    request: get(`/go/${name}/xyz?q=1`, "", host),
    status: "response_code" in action ? (action.response_code === "SEE_OTHER" ? 303 : 308) : 301,
  })),
);

export const ROUTING_ROUTES: readonly object[] = [
  ...MATCHERS.map(([name, matcher]) => toB(`/m/${name}`, matcher)),
  ...REDIRECTS.map(([name, action]) => redirect({ prefix: `/go/${name}/` }, action)),
  { match: { path: "/by-cluster-header" }, route: { cluster_header: "x-cluster" } },
  {
    match: { path: "/by-weighted-header" },
    route: { weighted_clusters: { clusters: [{ cluster_header: "x-cluster", weight: 3 }] } },
  },
  {
    match: { path: "/odd-weights" },
    route: {
      weighted_clusters: {
        clusters: [
          { name: "b", weight: 7 },
          { name: "a", weight: 0 },
        ],
      },
    },
  },
  to({ path: "/fraction", runtime_fraction: { default_value: { numerator: 0 } } }),
  {
    match: { path: "/fraction", runtime_fraction: { default_value: { numerator: 100 } } },
    route: { cluster: "b" },
  },
  { match: { prefix: "/only-grpc", grpc: {} }, route: { cluster: "b" } },
  to({ path: "/host-header" }, { host_rewrite_header: "x-new-host" }),
  to(
    { prefix: "/host-path/" },
    { host_rewrite_path_regex: rewrite("^/host-path/(.+)$", "\\1.test") },
  ),
  to(
    { prefix: "/host-path-too/" },
    {
      host_rewrite_path_regex: rewrite("^/host-path-too/(.+)$", "\\1.test"),
      prefix_rewrite: "/short/",
    },
  ),
  to({ path: "/host-auto" }, { auto_host_rewrite: true }),
  { match: { path: "/host-auto-named" }, route: { cluster: "named", auto_host_rewrite: true } },
  {
    match: { path: "/host-auto-kept" },
    route: { cluster: "named", auto_host_rewrite: true, append_x_forwarded_host: true },
  },
  to({ path: "/host-kept" }, { host_rewrite_literal: "new.test", append_x_forwarded_host: true }),
  to({ path: "/host-only-kept" }, { append_x_forwarded_host: true }),
  {
    match: { path: "/direct-headers" },
    direct_response: { status: 203, body: { inline_string: "hello" } },
    response_headers_to_add: [{ header: { key: "x-extra", value: "direct" } }],
  },
];

const LONG = "0123456789".repeat(3);

export const ROUTING_ROWS: readonly Row[] = [
  ...MATCHER_ROWS,
  ...REDIRECT_ROWS,
  ...["/by-cluster-header", "/by-weighted-header"].flatMap((path) => [
    { name: `${path}: a`, request: get(path, "x-cluster: a\r\n"), status: 200, upstream: "a" },
    { name: `${path}: b`, request: get(path, "x-cluster: b\r\n"), status: 200, upstream: "b" },
    { name: `${path}: nobody`, request: get(path, `x-cluster: ${LONG}\r\n`), status: 503 },
    { name: `${path}: none`, request: get(path), status: 503 },
  ]),
  { name: "weights of another sum", request: get("/odd-weights"), status: 200, upstream: "b" },
  {
    name: "a fraction of nothing, then of all",
    request: get("/fraction"),
    status: 200,
    upstream: "b",
  },
  {
    name: "a route for gRPC only, not gRPC",
    request: get("/only-grpc"),
    status: 200,
    upstream: "a",
  },
  {
    name: "a route for gRPC only",
    request: get("/only-grpc", "content-type: application/grpc+proto\r\n"),
    status: 200,
    upstream: "b",
  },
  {
    name: "host by header",
    request: get("/host-header", "x-new-host: new.test\r\n"),
    status: 200,
    upstream: "a",
  },
  { name: "host by header, none", request: get("/host-header"), status: 200, upstream: "a" },
  {
    name: "host by header, empty",
    request: get("/host-header", "x-new-host: \r\n"),
    status: 200,
    upstream: "a",
  },
  { name: "host by path", request: get("/host-path/x?q=1"), status: 200, upstream: "a" },
  {
    name: "host by path, which is rewritten too",
    request: get("/host-path-too/x?q=1"),
    status: 200,
    upstream: "a",
  },
  {
    name: "host of an endpoint without name",
    request: get("/host-auto"),
    status: 200,
    upstream: "a",
  },
  { name: "host of an endpoint", request: get("/host-auto-named"), status: 200, upstream: "a" },
  {
    name: "host of an endpoint, the former kept",
    request: get("/host-auto-kept"),
    status: 200,
    upstream: "a",
  },
  { name: "the former host kept", request: get("/host-kept"), status: 200, upstream: "a" },
  {
    name: "the former host kept after others",
    request: get("/host-kept", "x-forwarded-host: first.test\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "the former host kept, known already",
    request: get("/host-kept", "x-forwarded-host: table.test\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "a host that stays is not kept",
    request: get("/host-only-kept"),
    status: 200,
    upstream: "a",
  },
  { name: "direct response with headers", request: get("/direct-headers"), status: 203 },
];
