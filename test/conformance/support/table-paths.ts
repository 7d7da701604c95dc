import type { ConfigRow, TableListener } from "./config-table.ts";

const TYPE = "type.googleapis.com/";

const deny = {
  name: "envoy.filters.http.rbac",
  typed_config: {
    "@type": `${TYPE}envoy.extensions.filters.http.rbac.v3.RBAC`,
    rules: {
      action: "DENY",
      policies: {
        admin: {
          permissions: [{ url_path: { path: { prefix: "/admin" } } }],
          principals: [{ any: true }],
        },
        host: {
          permissions: [{ header: { name: ":authority", string_match: { exact: "secret.test" } } }],
          principals: [{ any: true }],
        },
      },
    },
  },
};
const router = {
  name: "envoy.filters.http.router",
  typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
};
const routes = {
  name: "paths",
  virtual_hosts: [
    {
      name: "named",
      domains: ["named.test"],
      routes: [{ name: "named", match: { prefix: "/" }, route: { cluster: "a" } }],
    },
    {
      name: "rest",
      domains: ["*"],
      routes: [
        { name: "private", match: { prefix: "/admin" }, route: { cluster: "a" } },
        { name: "rest", match: { prefix: "/" }, route: { cluster: "a" } },
      ],
    },
  ],
};
const listener = (manager: object): TableListener => ({
  manager: { http_filters: [deny, router], ...manager },
  routes,
});

/** The ways of taking a path; `decoded` is what Istio calls DECODE_AND_MERGE_SLASHES. */
const PATHS: Readonly<Record<string, object>> = {
  as_sent: {},
  normal: { normalize_path: true },
  merged: { normalize_path: true, merge_slashes: true },
  only_merged: { merge_slashes: true },
  kept: { normalize_path: true, path_with_escaped_slashes_action: "KEEP_UNCHANGED" },
  rejected: { normalize_path: true, path_with_escaped_slashes_action: "REJECT_REQUEST" },
  only_rejected: { path_with_escaped_slashes_action: "REJECT_REQUEST" },
  redirected: {
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: "UNESCAPE_AND_REDIRECT",
  },
  decoded: {
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: "UNESCAPE_AND_FORWARD",
  },
  only_decoded: { path_with_escaped_slashes_action: "UNESCAPE_AND_FORWARD" },
};

const STATUS: Readonly<Record<string, number>> = { f: 200, n: 200, d: 403, r: 307, x: 400 };

/**
 * Ways to write `/admin` that one server or another takes for it, and some that none does; with what
 * becomes of each under each of PATHS: forwarded, denied, redirected, or refused (x).
 */
export const TARGETS: readonly (readonly [target: string, outcomes: string])[] = [
  ["/", "ffffffffff"],
  ["/public", "ffffffffff"],
  ["/admin", "dddddddddd"],
  ["/admin/", "dddddddddd"],
  ["/admin/x?y=/../public", "dddddddddd"],
  ["/admin?x", "dddddddddd"],
  ["/admin;a=1", "dddddddddd"],
  ["/administrator", "dddddddddd"],
  ["/Admin", "ffffffffff"],
  ["/ADMIN", "ffffffffff"],
  ["/%61dmin", "fddfddfddf"],
  ["/%41dmin", "ffffffffff"],
  ["/%2561dmin", "ffffffffff"],
  ["/ad%6Din", "fddfddfddf"],
  ["//admin", "ffddfffddf"],
  ["///admin", "ffddfffddf"],
  ["//", "ffffffffff"],
  ["/public//admin", "ffffffffff"],
  ["/public/../admin", "fddfddfddf"],
  ["/public/..//admin", "ffdffffddf"],
  ["/public//../admin", "ffffffffff"],
  ["/public/%2e%2e/admin", "fddfddfddf"],
  ["/public/%2E./admin", "fddfddfddf"],
  ["/public/.%2e/admin/", "fddfddfddf"],
  ["/public/%252e%252e/admin", "ffffffffff"],
  ["/./admin", "fddfddfddf"],
  ["/%2e/admin", "fddfddfddf"],
  ["/.//admin", "ffdffffddf"],
  ["/public/../../admin", "fddfddfddf"],
  ["/admin/..", "dffdffdffd"],
  ["/admin/../public", "dffdffdffd"],
  ["/admin/.", "dddddddddd"],
  ["/public/..", "ffffffffff"],
  ["/public/...", "ffffffffff"],
  ["/public/..admin", "ffffffffff"],
  ["\\admin", "xxxxxxxxxx"],
  ["/\\admin", "ffdffffddf"],
  ["/public\\..\\admin", "fddfddfddf"],
  ["/public/..\\admin", "fddfddfddf"],
  ["/%5cadmin", "fffffxxrdf"],
  ["/%5Cadmin", "fffffxxrdf"],
  ["/public%5c..%5cadmin", "fffffxxrdf"],
  ["/%2fadmin", "fffffxxrdf"],
  ["/%2Fadmin", "fffffxxrdf"],
  ["/public%2f..%2fadmin", "fffffxxrdf"],
  ["/public%2F%2e%2e%2Fadmin", "fffffxxrdf"],
  ["/public/..%2fadmin", "fffffxxrdf"],
  ["/public%2f../admin", "fffffxxrdf"],
  ["/public/%252f../admin", "ffffffffff"],
  ["/public%2f%2fx", "fffffxxrff"],
  ["/public?x=%2fadmin", "ffffffffff"],
  ["/public?x=%5cadmin&y=//", "ffffffffff"],
  ["/public?/../admin", "ffffffffff"],
  ["/public;/../admin", "fddfddfddf"],
  ["/public/..;/admin", "fddfddfddf"],
  ["/public;x/../admin", "fddfddfddf"],
  ["/public#/../admin", "xxxxxxxxxx"],
  ["/admin#x", "xxxxxxxxxx"],
  ["/public%23/../admin", "fddfddfddf"],
  ["/public%3f/../admin", "fddfddfddf"],
  ["/public%00/../admin", "fxxfxxfxxf"],
  ["/admin%00", "dxxdxxdxxd"],
  ["/admin%20", "dddddddddd"],
  ["/%c0%ae%c0%ae/admin", "ffffffffff"],
  ["/public/%u002e%u002e/admin", "ffffffffff"],
  ["/public%", "ffffffffff"],
  ["/public%2", "ffffffffff"],
  ["/public%zz/../admin", "fddfddfddf"],
  ["/a b/admin", "xxxxxxxxxx"],
  ['/pub{li}c|^`<>"', "ffffffffff"],
  ["http://paths.test/admin", "dddddddddd"],
  ["http://paths.test//admin", "ffddfffddf"],
  ["http://paths.test/public/../admin", "fddfddfddf"],
  ["http://paths.test/public%2f..%2fadmin", "fffffxxrdf"],
  ["http://paths.test", "ffffffffff"],
  ["http://secret.test/public", "dddddddddd"],
  ["http://paths.test#/admin", "xxxxxxxxxx"],
];

const PATH_ROWS: readonly ConfigRow[] = Object.keys(PATHS).flatMap((name, column) =>
  TARGETS.map(([target, outcomes]) => ({
    name: `${name}: ${target}`,
    listener: name,
    request: `GET ${target} HTTP/1.1\r\nHost: paths.test\r\n\r\n`,
    status: STATUS[outcomes[column] ?? ""] ?? 0,
    // Refused before it is a request.
    ...(/^x+$/.test(outcomes) ? { refusal: true as const } : {}),
  })),
);

const HOSTS: Readonly<Record<string, object>> = {
  host_as_sent: {},
  host_matching: { strip_matching_host_port: true },
  host_any: { strip_any_host_port: true },
  host_dot: { strip_trailing_host_dot: true },
  host_dot_any: { strip_trailing_host_dot: true, strip_any_host_port: true },
  host_dot_matching: { strip_trailing_host_dot: true, strip_matching_host_port: true },
};
/**
 * As TARGETS, for HOSTS; n: taken for `named.test`. Malformed authorities (`a:x`, `a:080`, `a:1:2`) are
 * not here: ours refuses them, Envoy does not.
 */
const AUTHORITIES: readonly (readonly [authority: string, outcomes: string])[] = [
  ["named.test", "nnnnnn"],
  ["NAMED.test", "nnnnnn"],
  ["named.test.", "fffnnn"],
  ["named.test..", "ffffff"],
  ["named.test:80", "ffnfnf"],
  ["named.test:PORT", "fnnfnn"],
  ["named.test.:80", "ffffnf"],
  ["named.test.:PORT", "ffffnn"],
  ["named.test:", "ffffff"],
  ["secret.test", "dddddd"],
  ["Secret.test", "ffffff"],
  ["secret.test.", "fffddd"],
  ["secret.test:80", "ffdfdf"],
  ["secret.test:PORT", "fddfdd"],
  ["secret.test.:80", "ffffdf"],
  ["secret.test..", "ffffff"],
  ["127.0.0.1:80", "ffffff"],
  ["[::1]", "ffffff"],
  ["[::1]:80", "ffffff"],
  ["[::1]:PORT", "ffffff"],
];
const ABSOLUTE: readonly (readonly [authority: string, host: string, outcomes: string])[] = [
  ["secret.test", "other.test", "dddddd"],
  ["secret.test:80", "other.test", "ffdfdf"],
  ["secret.test.", "other.test", "fffddd"],
  ["named.test:PORT", "secret.test", "fnnfnn"],
  ["other.test", "secret.test", "ffffff"],
  ["other.test", "named.test:80", "ffffff"],
];
const HOST_ROWS: readonly ConfigRow[] = Object.keys(HOSTS).flatMap((name, column) => [
  ...AUTHORITIES.map(([authority, outcomes]) => ({
    name: `${name}: ${authority}`,
    listener: name,
    request: `GET /x HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
    status: STATUS[outcomes[column] ?? ""] ?? 0,
    ...(outcomes[column] === "n" ? { route: "named" } : {}),
  })),
  ...ABSOLUTE.map(([authority, host, outcomes]) => ({
    name: `${name}: ${authority} in absolute form, Host ${host}`,
    listener: name,
    request: `GET http://${authority}/x HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    status: STATUS[outcomes[column] ?? ""] ?? 0,
    ...(outcomes[column] === "n" ? { route: "named" } : {}),
  })),
]);

export const PATH_TABLE = {
  listeners: Object.fromEntries(
    Object.entries({ ...PATHS, ...HOSTS }).map(([name, manager]) => [name, listener(manager)]),
  ),
  rows: [...PATH_ROWS, ...HOST_ROWS],
  logFormat:
    "route=%ROUTE_NAME% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% " +
    "%REQ(:PATH)% %REQ(X-ENVOY-ORIGINAL-PATH)% %REQ(:AUTHORITY)%",
};
