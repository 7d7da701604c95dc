import { RESILIENCE_ROUTES } from "./table-resilience.ts";
import { ROUTING_ROUTES } from "./table-routing.ts";
import { SECURITY_FILTERS, SECURITY_ROUTES } from "./table-security.ts";

const TYPE = "type.googleapis.com/";

export interface TablePorts {
  readonly listener: number;
  readonly admin: number;
  readonly a: number;
  readonly b: number;
  readonly dead: number;
  /** The file of the access log. */
  readonly log: string;
}

/** The bootstrap of the table, as Envoy's JSON. */
export function tableBootstrap(ports: TablePorts, isHttp2: boolean): string {
  const cluster = (name: string, ports: readonly number[]) => ({
    ...plainCluster(name, ports),
    ...(isHttp2 ? { typed_extension_protocol_options: HTTP2_OPTIONS } : {}),
  });
  return JSON.stringify({
    node: { id: "table", cluster: "table" },
    admin: { address: address(ports.admin) },
    static_resources: {
      listeners: [listener(ports.listener, ports.log)],
      clusters: [
        cluster("a", [ports.a]),
        cluster("b", [ports.b]),
        withHostname(cluster("named", [ports.a]), "endpoint.test"),
        { ...cluster("ring", [ports.a, ports.b]), lb_policy: "RING_HASH" },
        { ...cluster("maglev", [ports.a, ports.b]), lb_policy: "MAGLEV" },
        cluster("dead", [ports.dead]),
        cluster("empty", []),
      ],
    },
  });
}

function address(port: number) {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

const HTTP2_OPTIONS = {
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  },
};

function plainCluster(name: string, ports: readonly number[]) {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: ports.map((p) => ({ endpoint: { address: address(p) } })) }],
    },
  };
}

/** Gives the cluster's endpoints a name. */
function withHostname(cluster: ReturnType<typeof plainCluster>, hostname: string) {
  const endpoints = cluster.load_assignment.endpoints.map(({ lb_endpoints: list }) => ({
    lb_endpoints: list.map(({ endpoint }) => ({ endpoint: { ...endpoint, hostname } })),
  }));
  return { ...cluster, load_assignment: { ...cluster.load_assignment, endpoints } };
}

/** One line per request that says which row it is. */
const LOG_FORMAT =
  "%REQ(X-ROW)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %PROTOCOL% " +
  "%BYTES_RECEIVED% %BYTES_SENT% %ROUTE_NAME% %UPSTREAM_CLUSTER% " +
  "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:AUTHORITY)%\n";

function listener(port: number, log: string) {
  const manager = {
    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "table",
    access_log: [
      {
        name: "envoy.access_loggers.file",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog`,
          path: log,
          log_format: { text_format_source: { inline_string: LOG_FORMAT } },
        },
      },
    ],
    use_remote_address: true,
    internal_address_config: {
      cidr_ranges: [{ address_prefix: "127.0.0.0", prefix_len: 8 }],
    },
    http_filters: [
      {
        name: "envoy.filters.http.cors",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.cors.v3.Cors` },
      },
      {
        name: "envoy.filters.http.fault",
        typed_config: {
          "@type": HTTP_FAULT,
          abort: { http_status: 451, percentage: { numerator: 100 } },
          headers: [{ name: "x-fault-all", present_match: true }],
        },
      },
      ...SECURITY_FILTERS,
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
      },
    ],
    route_config: routeConfig,
  };
  const filters = [
    { name: "envoy.filters.network.http_connection_manager", typed_config: manager },
  ];
  return { name: "table", address: address(port), filter_chains: [{ filters }] };
}

const HTTP_FAULT = `${TYPE}envoy.extensions.filters.http.fault.v3.HTTPFault`;
const to = (match: object, name: string, more: object = {}) => ({
  match,
  route: { cluster: name, ...more },
});
const byUser = { header: { header_name: "x-user" } };
const header = (prefix: string, name: string, matcher: object) =>
  to({ prefix, headers: [{ name, ...matcher }] }, "b");
const query = (prefix: string, name: string, matcher: object) =>
  to({ prefix, query_parameters: [{ name, ...matcher }] }, "b");
const cors = (path: string, policy: object) => ({
  ...to({ path }, "a"),
  typed_per_filter_config: {
    "envoy.filters.http.cors": {
      "@type": `${TYPE}envoy.extensions.filters.http.cors.v3.CorsPolicy`,
      ...policy,
    },
  },
});
const rewrite = (regex: string, substitution: string) => ({
  regex_rewrite: { pattern: { regex }, substitution },
});
const fault = (path: string, config: object) => ({
  ...to({ path }, "a"),
  response_headers_to_add: [option("x-extra", "1", "OVERWRITE_IF_EXISTS_OR_ADD")],
  typed_per_filter_config: { "envoy.filters.http.fault": { "@type": HTTP_FAULT, ...config } },
});
const retries = (retryOn: string, more: object = {}) => ({
  retry_policy: {
    retry_on: retryOn,
    num_retries: 2,
    retry_back_off: { base_interval: "0.005s", max_interval: "0.010s" },
    ...more,
  },
});
const option = (key: string, value: string, action: string) => ({
  header: { key, value },
  append_action: action,
});

const routeConfig = {
  name: "table",
  validate_clusters: false,
  virtual_hosts: [
    { name: "b", domains: ["b.test"], routes: [to({ path: "/" }, "b"), to({ path: "/x" }, "b")] },
    { name: "wild", domains: ["*.wild.test"], routes: [to({ prefix: "/" }, "b")] },
    { name: "wilder", domains: ["*.x.wild.test"], routes: [to({ prefix: "/" }, "a")] },
    { name: "pre", domains: ["pre.*"], routes: [to({ prefix: "/" }, "b")] },
    {
      name: "table",
      domains: ["table.test", "table.test:80", "table.test:443"],
      include_request_attempt_count: true,
      routes: [
        ...SECURITY_ROUTES,
        ...RESILIENCE_ROUTES,
        ...ROUTING_ROUTES,
        to({ prefix: "/api/v2" }, "b"),
        to({ path: "/exact" }, "b"),
        to({ path: "/caseless", case_sensitive: false }, "b"),
        to({ path_separated_prefix: "/sep" }, "b"),
        to({ safe_regex: { regex: "/rx/[a-z]+" } }, "b"),
        header("/htwo", "x-two", { string_match: { exact: "a" } }),
        header("/hnottwo", "x-two", { string_match: { exact: "a" }, invert_match: true }),
        header("/hjoined", "x-two", { string_match: { exact: "a,b" } }),
        header("/hpresent", "x-any", { present_match: true }),
        header("/hp", "x-user", { string_match: { prefix: "jason" } }),
        header("/hr", "x-n", { string_match: { safe_regex: { regex: "\\d+" } } }),
        header("/habsent", "x-any", { present_match: true, invert_match: true }),
        header("/hnot", "x-user", { string_match: { exact: "jason" }, invert_match: true }),
        header("/h", "x-user", { string_match: { exact: "jason" } }),
        ...["ring", "maglev"].flatMap((name) => [
          to({ prefix: `/${name}/query` }, name, {
            hash_policy: [{ query_parameter: { name: "id" } }, byUser],
          }),
          to({ prefix: `/${name}/cookie` }, name, {
            hash_policy: [{ cookie: { name: "session" }, terminal: true }, byUser],
          }),
          to({ prefix: `/${name}` }, name, { hash_policy: [byUser] }),
        ]),
        query("/q", "user", { string_match: { exact: "jason" } }),
        query("/qp", "user", { present_match: true }),
        query("/qr", "n", { string_match: { safe_regex: { regex: "\\d+" } } }),
        query("/qany", "n", {}),
        cors("/cors", {
          allow_origin_string_match: [
            { exact: "https://a.test" },
            { safe_regex: { regex: "https://.*\\.b\\.test" } },
          ],
          allow_methods: "GET,POST",
          allow_headers: "x-token",
          expose_headers: "x-seen",
          max_age: "600",
          allow_credentials: true,
        }),
        cors("/cors-strict", {
          allow_origin_string_match: [{ prefix: "https://" }],
          forward_not_matching_preflights: false,
        }),
        cors("/cors-off", {
          allow_origin_string_match: [{ prefix: "https://" }],
          filter_enabled: { default_value: { numerator: 0 } },
        }),
        fault("/fault/abort", { abort: { http_status: 418, percentage: { numerator: 100 } } }),
        fault("/fault/grpc", { abort: { grpc_status: 14, percentage: { numerator: 100 } } }),
        fault("/fault/never", { abort: { http_status: 418 } }),
        fault("/fault/delay", {
          delay: { fixed_delay: "0.05s", percentage: { numerator: 100 } },
        }),
        fault("/fault/both", {
          delay: { fixed_delay: "0.02s", percentage: { numerator: 100 } },
          abort: {
            http_status: 503,
            percentage: { numerator: 10_000, denominator: "TEN_THOUSAND" },
          },
        }),
        fault("/fault/user", {
          abort: { http_status: 418, percentage: { numerator: 100 } },
          headers: [{ name: "x-user", string_match: { exact: "jason" } }],
        }),
        fault("/fault/elsewhere", {
          abort: { http_status: 418, percentage: { numerator: 100 } },
          upstream_cluster: "b",
        }),
        fault("/fault/empty", {}),
        header("/method", ":method", { string_match: { exact: "PUT" } }),
        {
          match: { path: "/direct" },
          direct_response: { status: 418, body: { inline_string: "short and stout" } },
        },
        { match: { path: "/redir/host" }, redirect: { host_redirect: "other.test" } },
        {
          match: { path: "/redir/path" },
          redirect: { path_redirect: "/new", response_code: "FOUND" },
        },
        {
          match: { prefix: "/redir/prefix" },
          redirect: { prefix_rewrite: "/moved", response_code: "TEMPORARY_REDIRECT" },
        },
        { match: { path: "/redir/https" }, redirect: { https_redirect: true } },
        to({ path: "/missing" }, "nosuch"),
        to({ path: "/missing404" }, "nosuch", { cluster_not_found_response_code: "NOT_FOUND" }),
        to({ path: "/empty" }, "empty"),
        to({ path: "/dead" }, "dead"),
        to({ path: "/dead-retry" }, "dead", retries("connect-failure")),
        to({ path: "/slow" }, "a", { timeout: "0.2s" }),
        to({ path: "/slow-retry" }, "a", {
          timeout: "5s",
          ...retries("5xx", { per_try_timeout: "0.1s" }),
        }),
        to({ prefix: "/flaky-connect" }, "a", retries("connect-failure")),
        to({ prefix: "/flaky-429" }, "a", {
          ...retries("retriable-status-codes", { retriable_status_codes: [429] }),
        }),
        to({ prefix: "/flaky" }, "a", retries("5xx")),
        to({ prefix: "/old/" }, "a", { prefix_rewrite: "/fresh/" }),
        to({ safe_regex: { regex: "/rxold/.*" } }, "a", { prefix_rewrite: "/whole" }),
        to({ prefix: "/rx1/" }, "a", rewrite("^/rx1/([^/]+)/(.*)$", "/\\2/\\1")),
        to({ prefix: "/rx2/" }, "a", rewrite("a", "[\\0$1&]")),
        to({ prefix: "/rx3/" }, "a", rewrite("(?i)ABC", "x\\\\y")),
        {
          match: { path: "/rehost-one" },
          route: {
            host_rewrite_literal: "route.test",
            weighted_clusters: {
              clusters: [{ name: "a", weight: 100, host_rewrite_literal: "one.test" }],
            },
          },
        },
        to({ path: "/rehost" }, "a", { host_rewrite_literal: "inner.test" }),
        {
          ...to({ path: "/mutate" }, "a"),
          request_headers_to_remove: ["x-gone"],
          request_headers_to_add: [
            option("x-set", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
            option("x-add", "two", "APPEND_IF_EXISTS_OR_ADD"),
          ],
        },
        {
          ...to({ path: "/mutate-response" }, "a"),
          response_headers_to_remove: ["x-upstream-secret"],
          response_headers_to_add: [option("x-extra", "50%%", "OVERWRITE_IF_EXISTS_OR_ADD")],
        },
        to({ prefix: "/" }, "a"),
      ],
    },
  ],
};
