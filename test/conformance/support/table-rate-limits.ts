import type { ConfigRow, TableListener } from "./config-table.ts";

const TYPE = "type.googleapis.com/envoy.extensions.filters.http";
const always = { default_value: { numerator: 100, denominator: "HUNDRED" } };
const bucket = (max_tokens: number) => ({
  max_tokens,
  tokens_per_fill: max_tokens,
  fill_interval: "36000s",
});
const descriptor = (max_tokens: number, ...entries: readonly (readonly [string, string])[]) => ({
  entries: entries.map(([key, value]) => ({ key, value })),
  token_bucket: bucket(max_tokens),
});

const generic = (value: string, key?: string) => ({
  generic_key: { descriptor_value: value, ...(key === undefined ? {} : { descriptor_key: key }) },
});
const header = (name: string, key: string, more: object = {}) => ({
  request_headers: { header_name: name, descriptor_key: key, ...more },
});
const matching = (value: string, headers: readonly object[], more: object = {}) => ({
  header_value_match: { descriptor_value: value, headers, ...more },
});
const rule = (...actions: readonly object[]) => ({ actions });

const DESCRIPTORS = [
  descriptor(1, ["generic_key", "one"]),
  descriptor(2, ["generic_key", "two"]),
  descriptor(2, ["named", "two"]),
  descriptor(1, ["user", "jason"]),
  descriptor(2, ["user", "eve"], ["generic_key", "pair"]),
  descriptor(1, ["generic_key", "pair"]),
  descriptor(2, ["method", "GET"], ["path", "/method?a=1"]),
  descriptor(1, ["remote_address", "127.0.0.1"]),
  descriptor(1, ["destination_cluster", "a"]),
  descriptor(1, ["header_match", "beta"]),
  descriptor(1, ["group", "not-beta"]),
  descriptor(2, ["generic_key", "host"]),
  descriptor(1, ["generic_key", "later"]),
];

const beta = { name: "x-group", string_match: { prefix: "beta" } };

/** Per route: what tells its requests apart. */
const ROUTES: Readonly<Record<string, object>> = {
  one: { rate_limits: [rule(generic("one"))] },
  two: { rate_limits: [rule(generic("two"))] },
  named: { rate_limits: [rule(generic("two", "named"))] },
  unknown: { rate_limits: [rule(generic("nobody"))] },
  user: { rate_limits: [rule(header("X-User", "user"))] },
  pair: { rate_limits: [rule(header("x-user", "user"), generic("pair"))] },
  skip: {
    rate_limits: [rule(header("x-user", "user", { skip_if_absent: true }), generic("pair"))],
  },
  method: { rate_limits: [rule(header(":method", "method"), header(":path", "path"))] },
  remote: { rate_limits: [rule({ remote_address: {} })] },
  cluster: { rate_limits: [rule({ destination_cluster: {} })] },
  beta: { rate_limits: [rule(matching("beta", [beta]))] },
  "not-beta": {
    rate_limits: [
      rule(matching("not-beta", [beta], { expect_match: false, descriptor_key: "group" })),
    ],
  },
  both: { rate_limits: [rule(generic("two")), rule(generic("one"))] },
  stage: { rate_limits: [{ stage: 1, ...rule(generic("later")) }] },
  bare: {},
  included: { rate_limits: [rule(generic("unlimited"))], include_vh_rate_limits: true },
};

const limits = (stat_prefix: string, more: object = {}) => ({
  "@type": `${TYPE}.local_ratelimit.v3.LocalRateLimit`,
  stat_prefix,
  filter_enabled: always,
  filter_enforced: always,
  descriptors: DESCRIPTORS,
  ...more,
});

const listener = (
  filter: object,
  overrides: Readonly<Record<string, object>> = {},
): TableListener => ({
  manager: {
    http_filters: [
      { name: "limit", typed_config: filter },
      { name: "router", typed_config: { "@type": `${TYPE}.router.v3.Router` } },
    ],
  },
  routes: {
    name: "limits",
    virtual_hosts: [
      {
        name: "limits",
        domains: ["*"],
        rate_limits: [rule(generic("host"))],
        routes: [
          ...Object.entries(ROUTES).map(([name, route]) => ({
            name,
            match: { prefix: `/${name}` },
            route: { cluster: "a", ...route },
            ...(overrides[name] === undefined
              ? {}
              : { typed_per_filter_config: { limit: overrides[name] } }),
          })),
          {
            name: "direct",
            match: { path: "/direct" },
            direct_response: { status: 418 },
          },
        ],
      },
    ],
  },
});

const LISTENERS: Readonly<Record<string, TableListener>> = {
  plain: listener(limits("plain", { token_bucket: bucket(1000) })),
  /** The common bucket runs dry. */
  scarce: listener(limits("scarce", { token_bucket: bucket(3) })),
  /** And is spared where a descriptor has its own. */
  spared: listener(
    limits("spared", { token_bucket: bucket(1), always_consume_default_token_bucket: false }),
  ),
  included: listener(limits("included", { token_bucket: bucket(1000), vh_rate_limits: "INCLUDE" })),
  ignored: listener(limits("ignored", { token_bucket: bucket(1000), vh_rate_limits: "IGNORE" })),
  staged: listener(limits("staged", { token_bucket: bucket(1000), stage: 1 })),
  told: listener(
    limits("told", {
      token_bucket: bucket(20),
      enable_x_ratelimit_headers: "DRAFT_VERSION_03",
      response_headers_to_add: [{ header: { key: "x-limited", value: "%RESPONSE_CODE% %PATH%" } }],
    }),
  ),
  per_route: listener(limits("filter", { token_bucket: bucket(1000) }), {
    one: limits("own", { token_bucket: bucket(2), descriptors: [] }),
    bare: limits("own", { token_bucket: bucket(1000), vh_rate_limits: "IGNORE" }),
  }),
};

/** `path | fields`, three times each. */
const REQUESTS: readonly (readonly [path: string, fields: string])[] = [
  ...Object.keys(ROUTES).map((name) => [`/${name}`, ""] as const),
  ["/user", "x-user: jason\r\n"],
  ["/user", "x-user: jason\r\nx-user: eve\r\n"],
  ["/user", "x-user: nobody\r\n"],
  ["/pair", "x-user: eve\r\n"],
  ["/skip", "x-user: eve\r\n"],
  ["/method?a=1", ""],
  ["/beta", "x-group: beta-2\r\n"],
  ["/not-beta", "x-group: beta-2\r\n"],
  ["/direct", ""],
  ["/no-route", ""],
];

const ROWS: readonly Omit<ConfigRow, "status">[] = Object.keys(LISTENERS).flatMap((name) =>
  REQUESTS.flatMap(([path, fields]) =>
    [1, 2, 3].map((round) => ({
      name: `${name}: ${path} ${fields.trim().replaceAll("\r\n", " ")}, request ${round}`,
      listener: name,
      request: `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`,
    })),
  ),
);

export const RATE_LIMIT_TABLE = {
  listeners: LISTENERS,
  rows: ROWS,
  logFormat: "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %ROUTE_NAME%",
};
