import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DryRequest,
  dryForwardedTarget,
  dryHash,
  dryHashedHost,
  dryNormalizedTarget,
  dryPolicyMatches,
  dryRouteMatches,
  drySubject,
  dryVirtualHost,
} from "../../../src/proxy/core/dry-run.ts";
import { dryTokens } from "../../../src/proxy/core/dry-run-token.ts";

const request = (changes: Partial<DryRequest> = {}): DryRequest => ({
  method: "GET",
  authority: "shop",
  target: "/a/b?x=1",
  scheme: "http",
  headers: [
    ["user", "ann"],
    ["user", "bob"],
  ],
  ...changes,
});

test("finds the virtual host and the routes that a request takes", () => {
  const table = {
    name: "t",
    virtual_hosts: [
      { name: "exact", domains: ["shop", "shop:80"] },
      { name: "suffix", domains: ["*.example.com"] },
    ],
  };
  assert.equal(dryVirtualHost(table, "SHOP:80"), "exact");
  assert.equal(dryVirtualHost(table, "a.example.com"), "suffix");
  assert.equal(dryVirtualHost(table, "example.com"), undefined);
  const matches = (headers: object[]) => dryRouteMatches({ prefix: "/a", headers }, request());
  assert.ok(matches([{ name: "user", string_match: { exact: "bob" } }]), "one of two lines");
  assert.ok(matches([{ name: ":method", string_match: { exact: "GET" } }]));
  assert.ok(!matches([{ name: "user", string_match: { exact: "cat" } }]));
  assert.ok(!dryRouteMatches({ prefix: "/A" }, request()));
});

test("rewrites and normalizes targets as the proxy does", () => {
  const rewrite = (action: object) => dryForwardedTarget({ prefix: "/a/" }, action, "/a/b?x=1");
  assert.equal(rewrite({ prefix_rewrite: "/c/" }), "/c/b?x=1");
  const pattern = { regex: "/(\\w)/(\\w)" };
  assert.equal(rewrite({ regex_rewrite: { pattern, substitution: "/\\2/\\1" } }), "/b/a?x=1");
  assert.equal(rewrite({}), "/a/b?x=1");
  const normalize_path = { value: true };
  assert.equal(dryNormalizedTarget({ normalize_path }, "/x/../%61?q=../"), "/a?q=../");
  assert.equal(dryNormalizedTarget({ normalize_path }, "/%00"), undefined);
  assert.equal(dryNormalizedTarget({}, "/x/../a"), "/x/../a");
});

test("asks authorization about the request and its connection", () => {
  const connection = {
    ...{ destinationIp: "10.0.0.2", destinationPort: 80, directRemoteIp: "10.0.0.1" },
    ...{ remoteIp: "10.0.0.1", requestedServerName: "", peer: undefined },
    metadata: new Map([["envoy.filters.http.jwt_authn", { payload: { role: "admin" } }]]),
  };
  const subject = drySubject(request(), connection);
  const matches = (permission: object, principal: object): boolean =>
    dryPolicyMatches({ permissions: [permission], principals: [principal] }, subject);
  const any = { any: true };
  assert.ok(matches({ url_path: { path: { exact: "/a/b" } } }, any));
  assert.ok(!matches({ destination_port: 81 }, any));
  assert.ok(!matches(any, { authenticated: { principal_name: { safe_regex: { regex: ".+" } } } }));
  const claim = {
    filter: "envoy.filters.http.jwt_authn",
    path: [{ key: "payload" }, { key: "role" }],
    value: { string_match: { exact: "admin" } },
  };
  assert.ok(matches(any, { metadata: claim }));
});

test("hashes a request, and finds the host of a hash; by the connection it does not", () => {
  const header = { header: { header_name: "user" } };
  const one = dryHash([header], request({ headers: [["user", "ann"]] }));
  assert.equal(typeof one, "bigint");
  assert.equal(dryHash([header], request({ headers: [] })), undefined);
  assert.equal(dryHash([{ connection_properties: { source_ip: true } }], request()), undefined);
  const cookie = { cookie: { name: "c", ttl: { seconds: 0 } } };
  assert.equal(dryHash([cookie], request()), undefined, "made of the connection");
  const hosts = ["10.0.0.1:80", "10.0.0.2:80"].map((address) => ({ address, weight: 1 }));
  const picked = dryHashedHost({ name: "c", lb_policy: 2 }, hosts, one ?? 0n);
  assert.ok(hosts.some(({ address }) => address === picked));
  assert.equal(dryHashedHost({ name: "c", lb_policy: 1 }, hosts, one ?? 0n), undefined);
});

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = (claims: object): string =>
  `${encoded({ alg: "RS256" })}.${encoded(claims)}.${encoded({ signed: true })}`;
const provider = (changes: object = {}) => ({
  issuer: "i",
  local_jwks: { inline_string: '{"keys":[]}' },
  payload_in_metadata: "payload",
  ...changes,
});
const optional = {
  requires_any: { requirements: [{ provider_name: "p" }, { allow_missing: {} }] },
};
const GOOD = token({ iss: "i", exp: 2000, role: "admin" });
const bearer = (text: string) => ({ headers: [["authorization", `Bearer ${text}`]] as const });

const ROWS: readonly (readonly [
  what: string,
  provider: object,
  request: Partial<DryRequest>,
  failure: string | undefined,
  isSigned?: false,
])[] = [
  ["no token is nobody", {}, { headers: [] }, undefined],
  ["a good one", {}, bearer(GOOD), undefined],
  ["one that nobody signed", {}, bearer(GOOD), "Jwt verification fails", false],
  ["one of the past", {}, bearer(token({ iss: "i", exp: 1 })), "Jwt is expired"],
  ["another issuer's", {}, bearer(token({ iss: "x" })), "Jwt issuer is not configured"],
  [
    "one for others",
    { audiences: ["me"] },
    bearer(token({ iss: "i", aud: "you" })),
    "Audiences in Jwt are not allowed",
  ],
  [
    "no token at all",
    {},
    bearer("a.b"),
    "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
  ],
  ["one in the query", {}, { target: `/?access_token=${GOOD}`, headers: [] }, undefined],
  [
    "one in a cookie",
    { from_cookies: ["c"] },
    { headers: [["cookie", `a=b; c=${GOOD}`]] },
    undefined,
  ],
  [
    "one in a header of its own",
    { from_headers: [{ name: "x-jwt" }] },
    { headers: [["x-jwt", GOOD]] },
    undefined,
  ],
];

for (const [what, changes, asked, failure, isSigned = true] of ROWS) {
  test(`tokens: ${what}`, () => {
    const filter = {
      providers: { p: provider(changes) },
      rules: [{ match: { prefix: "/" }, requires: optional }],
    };
    const world = { nowSeconds: 1000, isSigned: () => isSigned };
    const found = dryTokens(filter, request(asked), world);
    assert.equal(found.failure, failure);
    const isRead = failure === undefined && JSON.stringify(asked).includes(GOOD);
    assert.deepEqual(
      found.metadata,
      isRead ? { payload: { iss: "i", exp: 2000, role: "admin" } } : {},
    );
  });
}

test("tokens: of several providers one is enough, and the failure that says most is told", () => {
  const names = ["p", "q"];
  const filter = {
    providers: { p: provider(), q: provider({ issuer: "j", audiences: ["me"] }) },
    rules: [
      {
        match: { prefix: "/" },
        requires: {
          requires_any: { requirements: names.map((provider_name) => ({ provider_name })) },
        },
      },
    ],
  };
  const failureOf = (asked: Partial<DryRequest>) =>
    dryTokens(filter, request(asked), { nowSeconds: 0, isSigned: () => true }).failure;
  assert.equal(failureOf(bearer(token({ iss: "i" }))), undefined);
  assert.equal(failureOf(bearer(token({ iss: "j" }))), "Audiences in Jwt are not allowed");
  assert.equal(failureOf(bearer(token({ iss: "k" }))), "Jwt issuer is not configured");
  assert.equal(failureOf({ headers: [] }), "Jwt is missing");
});
