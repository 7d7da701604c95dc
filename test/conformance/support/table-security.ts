import { createSign, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Row } from "./table.ts";

const TYPE = "type.googleapis.com/";
const get = (path: string, headers = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: table.test\r\n${headers}\r\n`;

// ── tokens ───────────────────────────────────────────────────────────────────

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");
const JWKS = {
  keys: [
    { ...rsa.publicKey.export({ format: "jwk" }), kid: "rsa", alg: "RS256", use: "sig" },
    { ...ec.publicKey.export({ format: "jwk" }), kid: "ec", alg: "ES256", use: "sig" },
    { ...ed.publicKey.export({ format: "jwk" }), kid: "ed", alg: "EdDSA", use: "sig" },
  ],
};

const base64url = (value: object): string =>
  Buffer.from(JSON.stringify(value)).toString("base64url");

function token(
  payload: object,
  header: object = { alg: "RS256", kid: "rsa", typ: "JWT" },
  key: KeyObject = rsa.privateKey,
): string {
  const text = `${base64url(header)}.${base64url({ iss: "https://issuer.test", sub: "alice", exp: 4_102_444_800, ...payload })}`;
  const signature =
    key.asymmetricKeyType === "rsa"
      ? createSign("RSA-SHA256").update(text).sign(key)
      : key.asymmetricKeyType === "ed25519"
        ? sign(null, Buffer.from(text), key)
        : createSign("SHA256").update(text).sign({ key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}

const GOOD = token({ groups: ["admin", "dev"], name: "Alice", age: 30, nested: { a: "b" } });
const bearer = (text: string): string => `authorization: Bearer ${text}\r\n`;

const JWT_TOKENS: readonly (readonly [name: string, headers: string, status: number])[] = [
  ["no token", "", 401],
  ["a good token", bearer(GOOD), 200],
  ["a good token, lower-case scheme", `authorization: bearer ${GOOD}\r\n`, 401],
  ["another scheme", "authorization: Basic YTpi\r\n", 401],
  ["a bare token", `authorization: ${GOOD}\r\n`, 401],
  ["expired", bearer(token({ exp: 1_000_000_000 })), 401],
  ["not yet valid", bearer(token({ nbf: 4_000_000_000 })), 401],
  ["another issuer", bearer(token({ iss: "https://other.test" })), 401],
  [
    "signed with another key",
    bearer(token({}, { alg: "RS256", kid: "rsa" }, other.privateKey)),
    401,
  ],
  ["an unknown key id", bearer(token({}, { alg: "RS256", kid: "nobody" })), 401],
  ["no key id", bearer(token({}, { alg: "RS256" })), 200],
  ["ES256", bearer(token({}, { alg: "ES256", kid: "ec" }, ec.privateKey)), 200],
  ["EdDSA", bearer(token({}, { alg: "EdDSA", kid: "ed" }, ed.privateKey)), 200],
  ["RS256 with an EC key id", bearer(token({}, { alg: "RS256", kid: "ec" })), 401],
  [
    "alg none",
    bearer(`${base64url({ alg: "none" })}.${base64url({ iss: "https://issuer.test" })}.`),
    401,
  ],
  [
    "alg HS256 with the public key",
    bearer(
      `${base64url({ alg: "HS256", kid: "rsa" })}.${base64url({ iss: "https://issuer.test" })}.AAAA`,
    ),
    401,
  ],
  ["two parts", bearer("a.b"), 401],
  ["bad base64 in the header", bearer("a!.b.c"), 401],
  ["bad JSON in the header", bearer("YWJj.e30.c2ln"), 401],
  ["bad JSON in the payload", bearer(`${base64url({ alg: "RS256" })}.YWJj.c2ln`), 401],
  [
    "a changed payload",
    bearer(
      GOOD.replace(
        /\.[^.]+\./,
        `.${base64url({ iss: "https://issuer.test", sub: "eve", exp: 4_102_444_800 })}.`,
      ),
    ),
    401,
  ],
  ["no expiration", bearer(token({ exp: undefined })), 200],
];

const PROVIDERS = {
  plain: {
    issuer: "https://issuer.test",
    local_jwks: { inline_string: JSON.stringify(JWKS) },
    forward_payload_header: "x-payload",
    payload_in_metadata: "payload",
    claim_to_headers: [
      { header_name: "x-sub", claim_name: "sub" },
      { header_name: "x-age", claim_name: "age" },
      { header_name: "x-nested", claim_name: "nested.a" },
      { header_name: "x-groups", claim_name: "groups" },
    ],
  },
  audience: {
    issuer: "https://issuer.test",
    audiences: ["serin", "https://api.test/"],
    local_jwks: { inline_string: JSON.stringify(JWKS) },
    forward: true,
  },
  places: {
    issuer: "https://issuer.test",
    local_jwks: { inline_string: JSON.stringify(JWKS) },
    from_headers: [{ name: "x-token" }, { name: "x-prefixed", value_prefix: "jwt=" }],
    from_params: ["token"],
    from_cookies: ["session"],
  },
};

const JWT_ROWS: readonly Row[] = [
  ...JWT_TOKENS.map(([name, headers, status]) => ({
    name: `jwt: ${name}`,
    request: get("/jwt/plain", headers),
    status,
    ...(status === 200 ? { upstream: "a" } : {}),
  })),
  ...JWT_TOKENS.slice(0, 9).map(([name, headers, status]) => ({
    name: `jwt, may be missing: ${name}`,
    request: get("/jwt/optional", headers),
    status: name === "no token" || !headers.includes("Bearer") ? 200 : status,
    ...(status === 200 || name === "no token" || !headers.includes("Bearer")
      ? { upstream: "a" }
      : {}),
  })),
  {
    name: "jwt: bad but allowed",
    request: get("/jwt/lax", bearer("a.b")),
    status: 200,
    upstream: "a",
  },
  { name: "jwt: no rule", request: get("/jwt/none", bearer("a.b")), status: 200, upstream: "a" },
  {
    name: "jwt: claims cannot be forged",
    request: get("/jwt/none", "x-sub: root\r\nx-payload: x\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: in the query",
    request: get(`/jwt/plain?access_token=${GOOD}`),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: a right audience",
    request: get("/jwt/audience", bearer(token({ aud: "serin" }))),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: one of the audiences",
    request: get("/jwt/audience", bearer(token({ aud: ["x", "api.test"] }))),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: a wrong audience",
    request: get("/jwt/audience", bearer(token({ aud: "x" }))),
    status: 403,
  },
  { name: "jwt: no audience", request: get("/jwt/audience", bearer(GOOD)), status: 403 },
  {
    name: "jwt: own header",
    request: get("/jwt/places", `x-token: ${GOOD}\r\n`),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: prefixed header",
    request: get("/jwt/places", `x-prefixed: jwt=${GOOD}\r\n`),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: prefixed header without prefix",
    request: get("/jwt/places", `x-prefixed: ${GOOD}\r\n`),
    status: 401,
  },
  { name: "jwt: parameter", request: get(`/jwt/places?token=${GOOD}`), status: 200, upstream: "a" },
  {
    name: "jwt: cookie",
    request: get("/jwt/places", `cookie: a=b; session=${GOOD}\r\n`),
    status: 200,
    upstream: "a",
  },
  {
    name: "jwt: not where it was asked for",
    request: get("/jwt/places", bearer(GOOD)),
    status: 401,
  },
  {
    name: "jwt: any of two, the second",
    request: get("/jwt/any", `x-token: ${GOOD}\r\n`),
    status: 200,
    upstream: "a",
  },
  { name: "jwt: any of two, none", request: get("/jwt/any"), status: 401 },
  {
    name: "jwt: any of two, one bad",
    request: get("/jwt/any", bearer(token({ exp: 1 }))),
    status: 401,
  },
  {
    name: "jwt: all of two, one",
    request: get("/jwt/all", bearer(token({ aud: "serin" }))),
    status: 401,
  },
  {
    name: "jwt: all of two",
    request: get("/jwt/all", `${bearer(token({ aud: "serin" }))}x-token: ${GOOD}\r\n`),
    status: 200,
    upstream: "a",
  },
  { name: "jwt: by the route's name", request: get("/jwt/route"), status: 401 },
  { name: "jwt: off for the route", request: get("/jwt/off"), status: 200, upstream: "a" },
  { name: "jwt: a requirement that is none", request: get("/jwt/wrong"), status: 403 },
];

const jwtFilter = {
  name: "envoy.filters.http.jwt_authn",
  typed_config: {
    "@type": `${TYPE}envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`,
    providers: PROVIDERS,
    rules: [
      { match: { prefix: "/jwt/plain" }, requires: { provider_name: "plain" } },
      { match: { prefix: "/rbac/claims" }, requires: { provider_name: "plain" } },
      {
        match: { prefix: "/jwt/optional" },
        requires: {
          requires_any: { requirements: [{ provider_name: "plain" }, { allow_missing: {} }] },
        },
      },
      {
        match: { prefix: "/jwt/lax" },
        requires: {
          requires_any: {
            requirements: [{ provider_name: "plain" }, { allow_missing_or_failed: {} }],
          },
        },
      },
      { match: { prefix: "/jwt/audience" }, requires: { provider_name: "audience" } },
      { match: { prefix: "/jwt/places" }, requires: { provider_name: "places" } },
      {
        match: { prefix: "/jwt/any" },
        requires: {
          requires_any: { requirements: [{ provider_name: "plain" }, { provider_name: "places" }] },
        },
      },
      {
        match: { prefix: "/jwt/all" },
        requires: {
          requires_all: {
            requirements: [{ provider_name: "audience" }, { provider_name: "places" }],
          },
        },
      },
      { match: { prefix: "/jwt/off" }, requires: { provider_name: "plain" } },
    ],
    requirement_map: { strict: { provider_name: "plain" } },
  },
};

// ── authorization ────────────────────────────────────────────────────────────

type Rules = { readonly action: string; readonly policies: object };
const rules = (
  action: string,
  permissions: object[],
  principals: object[] = [{ any: true }],
): Rules => ({
  action,
  policies: { only: { permissions, principals } },
});
const path = (matcher: object) => ({ url_path: { path: matcher } });
const user = (name: string) => ({ header: { name: "x-user", string_match: { exact: name } } });
const claim = (key: string, value: object) => ({
  metadata: {
    filter: "envoy.filters.http.jwt_authn",
    path: [{ key: "payload" }, { key }],
    value,
  },
});

/** Per route: what the rules are, and the requests with their status. */
const RBAC: readonly (readonly [
  name: string,
  rbac: object,
  requests: readonly (readonly [suffix: string, headers: string, status: number])[],
])[] = [
  [
    "deny",
    { rules: rules("DENY", [path({ prefix: "/rbac/deny/admin" })]) },
    [
      ["/public", "", 200],
      ["/admin", "", 403],
      ["/admin?x=/public", "", 403],
      ["/public?x=/rbac/deny/admin", "", 200],
      ["/Admin", "", 200],
    ],
  ],
  [
    "template",
    {
      rules: rules("DENY", [
        {
          uri_template: {
            name: "envoy.path.match.uri_template.uri_template_matcher",
            typed_config: {
              "@type":
                "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
              path_template: "/rbac/template/*/admin/{rest=**}",
            },
          },
        },
      ]),
    },
    [
      ["/a/admin/b/c", "", 403],
      ["/a/admin/", "", 403],
      ["/a/b/admin/c", "", 200],
      ["/a/admin", "", 200],
      ["/a/public?x=/rbac/template/a/admin/b", "", 200],
    ],
  ],
  [
    "allow",
    { rules: rules("ALLOW", [{ any: true }], [user("jason")]) },
    [
      ["", "", 403],
      ["", "x-user: jason\r\n", 200],
      ["", "x-user: eve\r\n", 403],
      ["", "x-user: eve\r\nx-user: jason\r\n", 200],
    ],
  ],
  ["nothing", { rules: { action: "ALLOW", policies: {} } }, [["", "", 403]]],
  ["no-deny", { rules: { action: "DENY", policies: {} } }, [["", "", 200]]],
  ["log", { rules: rules("LOG", [{ any: true }]) }, [["", "", 200]]],
  [
    "shadow",
    { shadow_rules: rules("DENY", [{ any: true }]), shadow_rules_stat_prefix: "dry_" },
    [["", "", 200]],
  ],
  [
    "both",
    { rules: rules("ALLOW", [{ any: true }]), shadow_rules: rules("DENY", [{ any: true }]) },
    [["", "", 200]],
  ],
  ["empty", {}, [["", "", 200]]],
  [
    "method",
    { rules: rules("ALLOW", [{ header: { name: ":method", string_match: { exact: "GET" } } }]) },
    [["", "", 200]],
  ],
  ["port", { rules: rules("DENY", [{ destination_port: 1 }]) }, [["", "", 200]]],
  [
    "port-range",
    { rules: rules("ALLOW", [{ destination_port_range: { start: 1, end: 65_536 } }]) },
    [["", "", 200]],
  ],
  [
    "destination",
    { rules: rules("ALLOW", [{ destination_ip: { address_prefix: "127.0.0.0", prefix_len: 8 } }]) },
    [["", "", 200]],
  ],
  [
    "elsewhere",
    { rules: rules("ALLOW", [{ destination_ip: { address_prefix: "10.0.0.0", prefix_len: 8 } }]) },
    [["", "", 403]],
  ],
  [
    "direct",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [{ direct_remote_ip: { address_prefix: "127.0.0.1", prefix_len: 32 } }],
      ),
    },
    [
      ["", "", 200],
      ["", "x-forwarded-for: 9.9.9.9\r\n", 200],
    ],
  ],
  [
    "remote",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [{ remote_ip: { address_prefix: "127.0.0.0", prefix_len: 8 } }],
      ),
    },
    [
      ["", "", 200],
      ["", "x-forwarded-for: 9.9.9.9\r\n", 200],
    ],
  ],
  [
    "source",
    {
      rules: rules(
        "DENY",
        [{ any: true }],
        [{ source_ip: { address_prefix: "::1", prefix_len: 128 } }],
      ),
    },
    [["", "", 200]],
  ],
  [
    "not",
    { rules: rules("ALLOW", [{ not_rule: path({ suffix: ".secret" }) }]) },
    [
      ["/x", "", 200],
      ["/x.secret", "", 403],
    ],
  ],
  [
    "and",
    {
      rules: rules("ALLOW", [{ and_rules: { rules: [path({ contains: "ok" }), user("jason")] } }]),
    },
    [
      ["/ok", "x-user: jason\r\n", 200],
      ["/ok", "", 403],
      ["/no", "x-user: jason\r\n", 403],
    ],
  ],
  [
    "or",
    { rules: rules("ALLOW", [{ or_rules: { rules: [path({ contains: "ok" }), user("jason")] } }]) },
    [
      ["/ok", "", 200],
      ["/no", "x-user: jason\r\n", 200],
      ["/no", "", 403],
    ],
  ],
  [
    "ids",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [
          {
            and_ids: {
              ids: [user("jason"), { not_id: { header: { name: "x-bad", present_match: true } } }],
            },
          },
        ],
      ),
    },
    [
      ["", "x-user: jason\r\n", 200],
      ["", "x-user: jason\r\nx-bad: 1\r\n", 403],
    ],
  ],
  [
    "plain-text",
    { rules: rules("ALLOW", [{ any: true }], [{ authenticated: {} }]) },
    [["", "", 403]],
  ],
  [
    "plain-name",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [{ authenticated: { principal_name: { prefix: "spiffe://" } } }],
      ),
    },
    [["", "", 403]],
  ],
  [
    "host",
    {
      rules: rules("ALLOW", [
        {
          header: { name: ":authority", string_match: { exact: "table.test", ignore_case: true } },
        },
      ]),
    },
    [["", "", 200]],
  ],
  [
    "claims",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [claim("groups", { list_match: { one_of: { string_match: { exact: "admin" } } } })],
      ),
    },
    [
      ["", bearer(GOOD), 200],
      ["", bearer(token({ groups: ["dev"] })), 403],
      ["", bearer(token({ groups: "admin" })), 403],
      ["", "", 401],
    ],
  ],
  [
    "claims/number",
    { rules: rules("ALLOW", [{ any: true }], [claim("age", { double_match: { exact: 30 } })]) },
    [
      ["", bearer(GOOD), 200],
      ["", bearer(token({ age: 31 })), 403],
    ],
  ],
  [
    "claims/there",
    { rules: rules("DENY", [{ any: true }], [claim("banned", { present_match: true })]) },
    [
      ["", bearer(GOOD), 200],
      ["", bearer(token({ banned: false })), 403],
    ],
  ],
  [
    "claims/or",
    {
      rules: rules(
        "ALLOW",
        [{ any: true }],
        [
          claim("sub", {
            or_match: {
              value_matchers: [
                { string_match: { exact: "bob" } },
                { string_match: { exact: "alice" } },
              ],
            },
          }),
        ],
      ),
    },
    [
      ["", bearer(GOOD), 200],
      ["", bearer(token({ sub: "eve" })), 403],
    ],
  ],
];

const RBAC_ROWS: readonly Row[] = RBAC.flatMap(([name, , requests]) =>
  requests.map(([suffix, headers, status], index) => ({
    name: `rbac ${name} ${index}: ${suffix}`,
    request: get(`/rbac/${name}${suffix}`, headers),
    status,
    ...(status === 200 ? { upstream: "a" } : {}),
  })),
);

const RBAC_TYPE = `${TYPE}envoy.extensions.filters.http.rbac.v3`;
const rbacFilter = {
  name: "envoy.filters.http.rbac",
  typed_config: { "@type": `${RBAC_TYPE}.RBAC` },
};

// ── rate limits ──────────────────────────────────────────────────────────────

const LIMIT_TYPE = `${TYPE}envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`;
const always = { default_value: { numerator: 100, denominator: "HUNDRED" } };
const bucket = { max_tokens: 2, tokens_per_fill: 2, fill_interval: "3600s" };
const LIMITS: Readonly<Record<string, object>> = {
  two: { token_bucket: bucket, filter_enabled: always, filter_enforced: always },
  teapot: {
    token_bucket: { ...bucket, max_tokens: 1 },
    filter_enabled: always,
    filter_enforced: always,
    status: { code: "ServiceUnavailable" },
    response_headers_to_add: [
      { header: { key: "x-extra", value: "limited" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
    ],
  },
  watched: { token_bucket: { ...bucket, max_tokens: 1 }, filter_enabled: always },
  off: { token_bucket: { ...bucket, max_tokens: 1 } },
};

const LIMIT_ROWS: readonly Row[] = Object.keys(LIMITS).flatMap((name) =>
  [1, 2, 3].map((round) => {
    const isRefused = (name === "two" && round === 3) || (name === "teapot" && round > 1);
    return {
      name: `rate limit ${name}, request ${round}`,
      request: get(`/limit/${name}`),
      status: isRefused ? (name === "two" ? 429 : 503) : 200,
      ...(isRefused ? {} : { upstream: "a" }),
    };
  }),
);

const limitFilter = {
  name: "envoy.filters.http.local_ratelimit",
  typed_config: { "@type": LIMIT_TYPE, stat_prefix: "limit" },
};

// ── for the table ────────────────────────────────────────────────────────────

export const SECURITY_ROWS: readonly Row[] = [...JWT_ROWS, ...RBAC_ROWS, ...LIMIT_ROWS];
export const SECURITY_FILTERS = [jwtFilter, rbacFilter, limitFilter];

const overridden = (route: string, filter: string, config: object) => ({
  match: { prefix: route },
  route: { cluster: "a" },
  typed_per_filter_config: { [filter]: config },
});
const PER_ROUTE_JWT = `${TYPE}envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig`;

/** The longer paths first: routes are tried in order. */
export const SECURITY_ROUTES: readonly object[] = [
  ...[...RBAC]
    .sort(([a], [b]) => b.length - a.length)
    .map(([name, rbac]) =>
      overridden(`/rbac/${name}`, rbacFilter.name, {
        "@type": `${RBAC_TYPE}.RBACPerRoute`,
        rbac: { "@type": undefined, ...rbac },
      }),
    ),
  ...Object.entries(LIMITS).map(([name, limit]) =>
    overridden(`/limit/${name}`, limitFilter.name, {
      "@type": LIMIT_TYPE,
      stat_prefix: `limit_${name}`,
      ...limit,
    }),
  ),
  overridden("/jwt/route", jwtFilter.name, { "@type": PER_ROUTE_JWT, requirement_name: "strict" }),
  overridden("/jwt/wrong", jwtFilter.name, { "@type": PER_ROUTE_JWT, requirement_name: "none" }),
  overridden("/jwt/off", jwtFilter.name, { "@type": PER_ROUTE_JWT, disabled: true }),
];
