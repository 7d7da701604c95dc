import type { ConfigRow, TableListener } from "./config-table.ts";

type Action =
  | "APPEND_IF_EXISTS_OR_ADD"
  | "ADD_IF_ABSENT"
  | "OVERWRITE_IF_EXISTS_OR_ADD"
  | "OVERWRITE_IF_EXISTS";
const ACTIONS: readonly Action[] = [
  "APPEND_IF_EXISTS_OR_ADD",
  "ADD_IF_ABSENT",
  "OVERWRITE_IF_EXISTS_OR_ADD",
  "OVERWRITE_IF_EXISTS",
];
const option = (key: string, value: string, more: object = {}) => ({
  header: { key, value },
  ...more,
});
const both = (options: readonly object[], removed: readonly string[] = []) => ({
  request_headers_to_add: options,
  response_headers_to_add: options,
  request_headers_to_remove: removed,
  response_headers_to_remove: removed,
});

/** What headers are made of; every one is asked for in requests and in responses. */
const OPERATORS: readonly string[] = [
  ..."PROTOCOL|REQ(:METHOD)|REQ(:PATH)|REQ(:AUTHORITY)|REQ(X-A?X-B)|REQ(X-NO?X-B)".split("|"),
  ..."REQ(X-A):3|REQ(X-NO)|REQ(X-EMPTY)|REQ(X-EMPTY?X-B)|REQ(X-TWICE)".split("|"),
  ..."RESP(X-SECRET)|RESP(:STATUS)|RESP(X-NO?X-SECRET)|RESPONSE_CODE|RESPONSE_FLAGS".split("|"),
  ..."RESPONSE_CODE_DETAILS|DOWNSTREAM_REMOTE_ADDRESS|DOWNSTREAM_LOCAL_ADDRESS".split("|"),
  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
  "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
  ..."UPSTREAM_HOST|UPSTREAM_CLUSTER|UPSTREAM_CLUSTER_RAW|UPSTREAM_LOCAL_ADDRESS".split("|"),
  "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
  ..."UPSTREAM_REMOTE_ADDRESS|UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT".split("|"),
  ..."UPSTREAM_REQUEST_ATTEMPT_COUNT|ROUTE_NAME|START_TIME|START_TIME(%Y)".split("|"),
  "START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)",
  "START_TIME(%a %A %b %B %d %e %j %y %p %Z %z %F %D %u %w %C %h day)",
  ..."BYTES_RECEIVED|BYTES_SENT|REQUESTED_SERVER_NAME|DOWNSTREAM_PEER_URI_SAN".split("|"),
  ..."DOWNSTREAM_PEER_SUBJECT|DOWNSTREAM_PEER_FINGERPRINT_256|PATH|PATH(NQ)|PATH(WQ:PATH)".split(
    "|",
  ),
  ..."PATH(NQ:ORIG)|PATH(NQ:ORIG_OR_PATH)|QUERY_PARAM(a)|QUERY_PARAM(b)|QUERY_PARAM(no)".split("|"),
  ..."QUERY_PARAM(a):2|ENVIRONMENT(SERIN_NO_SUCH)|GRPC_STATUS|GRPC_STATUS_NUMBER".split("|"),
  ..."TRAILER(X-NO)|DYNAMIC_METADATA(no:such)|CONNECTION_TERMINATION_DETAILS".split("|"),
  "UPSTREAM_TRANSPORT_FAILURE_REASON",
  ..."UPSTREAM_PROTOCOL|QUERY_PARAMS|HOSTNAME|VIRTUAL_CLUSTER_NAME".split("|"),
  "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
];
const operated = both(
  OPERATORS.flatMap((text, index) => [
    option(`x-op-${index}`, `<%${text}%>`),
    option(`x-only-${index}`, `%${text}%`),
  ]),
);

const forward = (path: string, edits: object, more: object = {}) => ({
  name: path.slice(1),
  match: { path },
  route: { cluster: "a", ...more },
  ...edits,
});

/** Each level says its name in headers of all kinds, and removes what another one adds. */
const level = (name: string, removed: readonly string[] = []) =>
  both(
    [
      ...ACTIONS.map((append_action) =>
        option(`x-${append_action.toLowerCase().replaceAll("_", "-")}`, name, { append_action }),
      ),
      ...ACTIONS.map((append_action) => option("x-there", name, { append_action })).slice(0, 1),
      option(`x-of-${name}`, name),
      option("x-seen", `${name}:%REQ(X-SEEN)%:%RESP(X-SEEN)%`, {
        append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
      }),
    ],
    removed,
  );

const routesOf = (name: string, more: object) => ({
  name,
  validate_clusters: false,
  ...level("table", ["x-of-route"]),
  ...more,
  virtual_hosts: [
    {
      name: "levels",
      domains: ["levels.test"],
      ...level("host", ["x-of-table", "x-gone"]),
      routes: [
        forward("/levels", level("route", ["x-of-host"])),
        {
          name: "weighted",
          match: { path: "/weighted" },
          route: {
            weighted_clusters: {
              clusters: [{ name: "a", weight: 1, ...level("cluster", ["x-of-route", "x-secret"]) }],
            },
          },
          ...level("route", ["x-of-host"]),
        },
        {
          name: "direct",
          match: { path: "/direct" },
          direct_response: { status: 418, body: { inline_string: "tea" } },
          ...level("route", ["x-of-host"]),
        },
        {
          name: "redirect",
          match: { path: "/redirect" },
          redirect: { path_redirect: "/levels" },
          ...level("route", ["x-of-host", "location"]),
        },
        {
          name: "nowhere",
          match: { path: "/nowhere" },
          route: { cluster: "nowhere" },
          ...level("route", ["x-of-host"]),
        },
      ],
    },
  ],
});

const ACTION_ROUTES = ACTIONS.flatMap((append_action) =>
  [false, true].map((keep_empty_value) =>
    forward(
      `/${append_action}${keep_empty_value ? "/keep" : ""}`,
      both([
        option("x-there", "new", { append_action, keep_empty_value }),
        option("x-absent", "new", { append_action, keep_empty_value }),
        option("x-absent", "again", { append_action, keep_empty_value }),
        option("x-blank", "", { append_action, keep_empty_value }),
        option("x-secret", "%REQ(X-NO)%", { append_action, keep_empty_value }),
        option("x-nothing", "%REQ(X-NO)%", { append_action, keep_empty_value }),
        option("x-upper", "A\tb é", { append_action, keep_empty_value }),
      ]),
    ),
  ),
);

const local = (path: string, action: object) => ({
  name: path.slice(1),
  match: { path },
  ...action,
  ...operated,
});

const values = {
  name: "values",
  validate_clusters: false,
  virtual_hosts: [
    {
      name: "values",
      domains: ["*"],
      routes: [
        forward("/operators", operated),
        forward("/rewritten", operated, { prefix_rewrite: "/fresh" }),
        local("/direct", {
          direct_response: { status: 418, body: { inline_string: "tea" } },
        }),
        local("/redirect", { redirect: { path_redirect: "/other" } }),
        local("/nowhere", { route: { cluster: "nowhere" } }),
        local("/dead", { route: { cluster: "dead" } }),
        local("/empty", { route: { cluster: "empty" } }),
        ...ACTION_ROUTES,
        forward("/append-false", {
          request_headers_to_add: [option("x-there", "new", { append: false })],
          response_headers_to_add: [option("x-there", "new", { append: true })],
        }),
        forward(
          "/removed",
          both(
            [option("x-there", "new"), option("x-secret", "%RESP(X-SECRET)%!")],
            ["x-there", "X-SECRET"],
          ),
        ),
        forward(
          "/mixed",
          both([
            option("x-m", "1"),
            option("x-m", "2", { append_action: "OVERWRITE_IF_EXISTS_OR_ADD" }),
            option("x-m", "3"),
            option("x-m", "4", { append_action: "ADD_IF_ABSENT" }),
            option("x-m", "5", { append_action: "OVERWRITE_IF_EXISTS" }),
            option("x-there", "100%% of %REQ(X-A)%%%"),
          ]),
        ),
      ],
    },
  ],
};

const LISTENERS: Readonly<Record<string, TableListener>> = {
  values: { manager: {}, routes: values },
  forwarded: { manager: { use_remote_address: false }, routes: values },
  hops: { manager: { use_remote_address: true, xff_num_trusted_hops: 1 }, routes: values },
  least: { manager: {}, routes: routesOf("least", {}) },
  most: {
    manager: {},
    routes: routesOf("most", { most_specific_header_mutations_wins: true }),
  },
};

const FIELDS =
  "x-a: abcdef\r\nx-b: bb\r\nx-empty:\r\nx-there: old\r\nx-there: older\r\nx-twice: 1\r\n" +
  "x-twice: 2\r\nx-secret: s\r\nx-gone: 1\r\n";
const get = (host: string, path: string, more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${FIELDS}${more}\r\n`;
const FORWARDED: readonly string[] = [
  "",
  "x-forwarded-for: 9.9.9.9\r\n",
  "x-forwarded-for: 8.8.8.8, 9.9.9.9\r\n",
  "x-forwarded-for: 2001:db8::1\r\n",
  "x-forwarded-for: nonsense\r\n",
  "x-forwarded-for: 9.9.9.9:1234\r\n",
  "x-forwarded-for: 2001:DB8:0:0::1\r\n",
  "x-forwarded-for: [2001:db8::1]\r\n",
  "x-forwarded-for: ::ffff:9.9.9.9\r\n",
  "x-forwarded-for: 9.9.9.9,\r\n",
  "x-forwarded-for: 8.8.8.8,  9.9.9.9 \r\n",
  "x-forwarded-for: 8.8.8.8\r\nx-forwarded-for: 9.9.9.9\r\n",
  "x-forwarded-for: 9.9.9\r\n",
  "x-forwarded-for: 09.9.9.9\r\n",
  "x-forwarded-for: 2001:0db8:0000:0000:00a0:0:0:0\r\n",
  "x-forwarded-for: 1:0:2:0:0:3:0:0\r\n",
  "x-forwarded-for: 1:0:2:3:4:5:6:7\r\n",
  "x-forwarded-for: ::\r\n",
  "x-forwarded-for: \r\n",
  "x-envoy-external-address: 7.7.7.7\r\n",
];

const PATHS: readonly (readonly [path: string, status: number])[] = [
  ["/operators?a=1%20x&b=&a=2", 200],
  ["/operators", 200],
  ["/rewritten?a=1", 200],
  ["/direct", 418],
  ["/redirect", 301],
  ["/nowhere", 503],
  ["/dead", 503],
  ["/empty", 503],
  ["/append-false", 200],
  ["/removed", 200],
  ["/mixed", 200],
  ...ACTION_ROUTES.map(({ match }) => [match.path, 200] as const),
];

export const HEADER_TABLE = {
  listeners: LISTENERS,
  rows: [
    ...PATHS.map(([path, status]) => ({
      name: `values of ${path}`,
      listener: "values",
      status,
      request: get("a.test", path),
    })),
    ...ACTION_ROUTES.map(({ match }) => ({
      name: `values of ${match.path}, nothing there before`,
      listener: "values",
      status: 200,
      request: `GET ${match.path} HTTP/1.1\r\nHost: a.test\r\n\r\n`,
    })),
    ...["values", "forwarded", "hops"].flatMap((listener) =>
      FORWARDED.map((fields) => ({
        name: `${listener}: ${fields.trim()}`,
        listener,
        status: 200,
        request: get("a.test", "/operators", fields),
      })),
    ),
    ...["least", "most"].flatMap((listener) =>
      ["/levels", "/weighted", "/direct", "/redirect", "/nowhere", "/no-route"].flatMap((path) =>
        ["", "x-overwrite-if-exists: old\r\nx-add-if-absent: old\r\n"].map((fields) => ({
          name: `${listener}: ${path} ${fields.trim().slice(0, 10)}`,
          listener,
          status:
            { "/direct": 418, "/redirect": 301, "/nowhere": 503, "/no-route": 404 }[path] ?? 200,
          request: get("levels.test", path, fields),
        })),
      ),
    ),
  ] as readonly ConfigRow[],
  logFormat: OPERATORS.map((text) => `[%${text}%]`).join(" "),
};
