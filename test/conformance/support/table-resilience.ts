import type { Row } from "./table.ts";

const TYPE = "type.googleapis.com/";

/** In front of every request that may be a retry: so many failures, each with its own key. */
const get = (path: string, headers = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: table.test\r\n${headers}\r\n`;

const to = (match: object, more: object = {}) => ({ match, route: { cluster: "a", ...more } });
const retries = (path: string, retryOn: string, more: object = {}) =>
  to(
    { prefix: path },
    {
      retry_policy: {
        retry_on: retryOn,
        num_retries: 2,
        retry_back_off: { base_interval: "0.005s", max_interval: "0.010s" },
        ...more,
      },
    },
  );

/** Each `retry_on` with the statuses that a response has before it is well. */
const RETRY_ON: readonly (readonly [retryOn: string, status: number, isRetried: boolean])[] = [
  ["5xx", 500, true],
  ["5xx", 504, true],
  ["5xx", 499, false],
  ["gateway-error", 500, false],
  ["gateway-error", 502, true],
  ["gateway-error", 504, true],
  ["retriable-4xx", 409, true],
  ["retriable-4xx", 408, false],
  ["reset", 503, false],
  ["connect-failure", 503, false],
  ["refused-stream", 503, false],
  ["envoy-ratelimited", 429, false],
  ["cancelled,unavailable", 503, false],
  ["nonsense,5xx", 503, true],
  ["nonsense", 503, false],
];

const RETRY_ON_ROUTES = [...new Set(RETRY_ON.map(([retryOn]) => retryOn))].map((retryOn) =>
  retries(`/retry-on/${retryOn}`, retryOn),
);

let key = 100;
const flaky = (path: string, status: number, fail = 1): string => {
  key += 1;
  return `${path}?fail=${fail}&status=${status}&key=KEY${key}`;
};

const RETRY_ON_ROWS: readonly Row[] = RETRY_ON.map(([retryOn, status, isRetried]) => ({
  name: `retry on ${retryOn}: ${status}`,
  request: get(flaky(`/retry-on/${retryOn}`, status)),
  status: isRetried ? 200 : status,
  upstream: "a",
}));

/** By whom the request is told to come: with x-forwarded-for it is no longer internal. */
const EXTERNAL = "x-forwarded-for: 8.8.8.8\r\n";

const HEADER_ROWS: readonly (readonly [name: string, headers: string, status: number])[] = [
  ["retry on by header", "x-envoy-retry-on: 5xx\r\n", 200],
  ["retry on by header of a stranger", `x-envoy-retry-on: 5xx\r\n${EXTERNAL}`, 503],
  ["retry on of no sense by header", "x-envoy-retry-on: nonsense\r\n", 503],
  ["max retries by header alone", "x-envoy-max-retries: 3\r\n", 503],
  ["no retries by header", "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 0\r\n", 503],
  [
    "retriable status codes by header",
    "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 418,503\r\n",
    200,
  ],
  [
    "other retriable status codes by header",
    "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 418\r\n",
    503,
  ],
  [
    "retriable headers by header",
    "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: x-Upstream-Secret\r\n",
    200,
  ],
  ["gRPC conditions by header", "x-envoy-retry-grpc-on: unavailable\r\n", 503],
];

const TIMEOUT_ROWS: readonly (readonly [
  name: string,
  path: string,
  headers: string,
  status: number,
])[] = [
  ["timeout by header", "/slow-forever", "x-envoy-upstream-rq-timeout-ms: 60\r\n", 504],
  [
    "timeout per try by header",
    "/slow-forever",
    "x-envoy-upstream-rq-per-try-timeout-ms: 60\r\n",
    504,
  ],
  [
    "timeout per try by header, with retries",
    "/slow-forever",
    "x-envoy-upstream-rq-per-try-timeout-ms: 60\r\nx-envoy-retry-on: 5xx\r\n",
    504,
  ],
  ["stream duration", "/slow-duration", "", 504],
  ["stream duration and a timeout that no longer counts", "/slow-both", "", 504],
  [
    "grpc-timeout as stream duration",
    "/slow-grpc-duration",
    "content-type: application/grpc\r\ngrpc-timeout: 60m\r\n",
    200,
  ],
  [
    "grpc-timeout as timeout",
    "/slow-grpc",
    "content-type: application/grpc\r\ngrpc-timeout: 60m\r\n",
    200,
  ],
  [
    "grpc-timeout above the maximum",
    "/slow-grpc",
    "content-type: application/grpc\r\ngrpc-timeout: 60S\r\n",
    200,
  ],
  ["idle within a try", "/slow-try-idle", "", 504],
  ["idle within a try, with retries", "/slow-try-idle-retry", "", 504],
];

export const RESILIENCE_ROUTES: readonly object[] = [
  ...RETRY_ON_ROUTES,
  retries("/no-retries", "5xx", { num_retries: 0 }),
  retries("/retry-header", "retriable-headers", {
    retriable_headers: [{ name: "x-upstream-secret", string_match: { exact: "1" } }],
  }),
  retries("/retry-status-header", "retriable-headers", {
    retriable_headers: [{ name: ":status", string_match: { exact: "418" } }],
  }),
  retries("/retry-request-header", "5xx", {
    retriable_request_headers: [
      { name: "x-retry", string_match: { exact: "yes" } },
      { name: ":method", string_match: { exact: "DELETE" } },
    ],
  }),
  retries("/retry-after", "5xx", {
    rate_limited_retry_back_off: { reset_headers: [{ name: "retry-after", format: "SECONDS" }] },
  }),
  retries("/retry-hosts", "5xx", {
    host_selection_retry_max_attempts: 5,
    retry_host_predicate: [
      {
        name: "envoy.retry_host_predicates.previous_hosts",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate`,
        },
      },
      {
        name: "envoy.retry_host_predicates.omit_canary_hosts",
        typed_config: {
          "@type": `${TYPE}envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate`,
        },
      },
    ],
    retry_priority: {
      name: "envoy.retry_priorities.previous_priorities",
      typed_config: {
        "@type": `${TYPE}envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig`,
        update_frequency: 1,
      },
    },
  }),
  to({ prefix: "/by-header" }),
  to({ path: "/expected" }, { timeout: "7s" }),
  to({ path: "/expected-none" }, { timeout: "0s" }),
  to(
    { path: "/expected-try" },
    { timeout: "7s", retry_policy: { retry_on: "5xx", per_try_timeout: "2s" } },
  ),
  to(
    { path: "/expected-try-long" },
    { timeout: "7s", retry_policy: { retry_on: "5xx", per_try_timeout: "9s" } },
  ),
  to({ path: "/expected-grpc" }, { timeout: "7s", max_grpc_timeout: "3s" }),
  to({ path: "/slow-forever" }, { timeout: "0s" }),
  to(
    { path: "/slow-duration" },
    { timeout: "0s", max_stream_duration: { max_stream_duration: "0.06s" } },
  ),
  to(
    { path: "/slow-both" },
    { timeout: "0.03s", max_stream_duration: { max_stream_duration: "0.15s" } },
  ),
  to(
    { path: "/slow-grpc-duration" },
    { timeout: "0s", max_stream_duration: { grpc_timeout_header_max: "1s" } },
  ),
  to({ path: "/slow-grpc" }, { max_grpc_timeout: "0.1s" }),
  to({ path: "/slow-try-idle" }, { retry_policy: { per_try_idle_timeout: "0.06s" } }),
  retries("/slow-try-idle-retry", "5xx", { per_try_idle_timeout: "0.06s" }),
];

export const RESILIENCE_ROWS: readonly Row[] = [
  ...RETRY_ON_ROWS,
  {
    name: "a policy without retries",
    request: get(flaky("/no-retries", 503)),
    status: 503,
    upstream: "a",
  },
  {
    name: "retriable headers",
    request: get(flaky("/retry-header", 200)),
    status: 200,
    upstream: "a",
  },
  {
    name: "retriable headers on the status",
    request: get(flaky("/retry-status-header", 418)),
    status: 200,
    upstream: "a",
  },
  {
    name: "retriable request headers, none",
    request: get(flaky("/retry-request-header", 503)),
    status: 503,
    upstream: "a",
  },
  {
    name: "retriable request headers, the first",
    request: get(flaky("/retry-request-header", 503), "x-retry: yes\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "retriable request headers, the second of two values",
    request: get(flaky("/retry-request-header", 503), "x-retry: no\r\nx-retry: yes\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "retriable request headers, the method",
    request: get(flaky("/retry-request-header", 503)).replace("GET", "DELETE"),
    status: 200,
    upstream: "a",
  },
  {
    name: "a response that asks for no wait",
    request: get(flaky("/retry-after", 503)),
    status: 200,
    upstream: "a",
  },
  {
    name: "retry predicates with one host",
    request: get(flaky("/retry-hosts", 503)),
    status: 200,
    upstream: "a",
  },
  ...HEADER_ROWS.map(([name, headers, status]) => ({
    name,
    request: get(flaky("/by-header", 503), headers),
    status,
    upstream: "a",
  })),
  ...TIMEOUT_ROWS.map(([name, path, headers, status]) => ({
    name,
    request: get(path, headers),
    status,
  })),
  ...["/expected", "/expected-none", "/expected-try", "/expected-try-long"].flatMap((path) => [
    { name: `expected timeout: ${path}`, request: get(path), status: 200, upstream: "a" },
    {
      name: `expected timeout by header: ${path}`,
      request: get(path, "x-envoy-upstream-rq-timeout-ms: 4000\r\n"),
      status: 200,
      upstream: "a",
    },
    {
      name: `expected timeout by header of a stranger: ${path}`,
      request: get(path, `x-envoy-upstream-rq-timeout-ms: 4000\r\n${EXTERNAL}`),
      status: 200,
      upstream: "a",
    },
  ]),
  {
    name: "expected timeout of gRPC",
    request: get("/expected-grpc", "content-type: application/grpc\r\ngrpc-timeout: 1S\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "expected timeout of gRPC, none asked",
    request: get("/expected-grpc", "content-type: application/grpc\r\n"),
    status: 200,
    upstream: "a",
  },
];
