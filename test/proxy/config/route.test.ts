import assert from "node:assert/strict";
import { test } from "node:test";
import { compileRouteTable } from "../../../src/proxy/core/compile/route.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { message } from "../ads/resources.ts";

const context = {
  readFile(): Uint8Array {
    throw new Error("no such file");
  },
  environment: () => undefined,
  timeOriginMs: 0,
};

function compile(json: object) {
  return compileResource("RouteConfiguration r", (scope) =>
    compileRouteTable(
      message("envoy.config.route.v3.RouteConfiguration", { name: "r", ...json }),
      context,
      scope,
    ),
  );
}

const host = (name: string, domains: string[], routes: object[] = []) => ({
  name,
  domains,
  routes,
});
const to = (match: object, more: object = {}) => ({ match, route: { cluster: "c", ...more } });

test("picks the virtual host in Envoy's order", () => {
  const table = compile({
    virtual_hosts: [
      host("any", ["*"]),
      host("prefix-long", ["www.foo.*"]),
      host("prefix", ["www.*"]),
      host("suffix", ["*.foo.com"]),
      host("suffix-long", ["*-bar.foo.com"]),
      host("exact", ["www.foo.com", "Reviews:9080"]),
    ],
  });
  const cases: readonly [string, string][] = [
    ["www.foo.com", "exact"],
    ["WWW.Foo.Com", "exact"],
    ["reviews:9080", "exact"],
    ["reviews", "any"],
    ["a.foo.com", "suffix"],
    ["a-bar.foo.com", "suffix-long"],
    [".foo.com", "any"],
    ["www.foo.org", "prefix-long"],
    ["www.bar.org", "prefix"],
    ["www.", "any"],
    ["www.foo.com:80", "prefix-long"],
    ["", "any"],
  ];
  for (const [authority, expected] of cases) {
    assert.equal(table.virtualHost(authority)?.name, expected, authority);
  }
});

test("ignores the port where the table says so", () => {
  const table = compile({
    ignore_port_in_host_matching: true,
    virtual_hosts: [host("a", ["foo.com"])],
  });
  assert.equal(table.virtualHost("foo.com:8080")?.name, "a");
});

const regexes: readonly [pattern: string, text: string, matches: boolean][] = [
  ["/rx/[a-z]+", "/rx/abc", true],
  ["/rx/[a-z]+", "/rx/abc1", false],
  ["a|b", "ab", false],
  ["(?i)ABC", "abc", true],
  ["(?P<x>a)b", "ab", true],
  ["[[:alpha:]]+", "abc", true],
  ["[[:digit:]_]+", "1_2", true],
  ["\\Qa.b\\E", "a.b", true],
  ["\\Qa.b\\E", "axb", false],
  ["\\Aab\\z", "ab", true],
  ["[]a]+", "]a", true],
  ["\\d{2,3}", "1234", false],
  ["\\d{2,3}", "123", true],
  ["a{0}b", "b", true],
  ["(ab){2,}", "ababab", true],
  ["(ab){2,}", "ab", false],
  ["x{,2}", "x{,2}", true],
  ["a(?i)b(?-i)c", "aBc", true],
  ["a(?i)b(?-i)c", "aBC", false],
  ["(a(?i)b)c", "aBC", false],
  ["(?i:[a-f0-9]+)z", "A0z", true],
  ["(?i)[^a]", "A", false],
  [".", "\u2028", true],
  ["\\pL\\PL\\p{Lu}", "a1B", true],
  ["\\p{Greek}", "a", false],
  ["[\\w.]+\\x41\\x{42}", "_.AB", true],
  ["(?U)a+", "aaa", true],
];
for (const [pattern, text, matches] of regexes) {
  test(`RE2 ${pattern} ${matches ? "matches" : "does not match"} ${text}`, () => {
    const table = compile({
      virtual_hosts: [host("a", ["*"], [to({ safe_regex: { regex: pattern } })])],
    });
    const path = table.virtualHost("x")?.routes[0]?.path;
    assert.ok(path?.kind === "regex");
    assert.equal(path.regex.test(text), matches);
  });
}

const header = (matcher: object) => to({ prefix: "/", headers: [{ name: "X", ...matcher }] });
const headerCases: readonly [
  name: string,
  matcher: object,
  value: string | undefined,
  hit: boolean,
][] = [
  ["presence", { present_match: true }, "", true],
  ["presence of nothing", { present_match: true }, undefined, false],
  ["absence", { present_match: true, invert_match: true }, undefined, true],
  ["exact", { string_match: { exact: "a" } }, "a", true],
  ["exact folded", { string_match: { exact: "A", ignore_case: true } }, "a", true],
  ["suffix", { string_match: { suffix: "z" } }, "xyz", true],
  ["contains", { string_match: { contains: "y" } }, "xyz", true],
  ["regex in full", { string_match: { safe_regex: { regex: "\\d+" } } }, "12a", false],
  [
    "inverted on a missing header",
    { string_match: { exact: "a" }, invert_match: true },
    undefined,
    false,
  ],
  [
    "inverted, missing as empty",
    { string_match: { exact: "a" }, invert_match: true, treat_missing_header_as_empty: true },
    undefined,
    true,
  ],
];
for (const [name, matcher, value, hit] of headerCases) {
  test(`header match: ${name}`, () => {
    const table = compile({ virtual_hosts: [host("a", ["*"], [header(matcher)])] });
    const compiled = table.virtualHost("x")?.routes[0]?.headers[0];
    assert.equal(compiled?.name, "x");
    assert.equal(compiled?.matches(value), hit);
  });
}

const one = (route: object) => ({ virtual_hosts: [host("a", ["*"], [route])] });
const refused: readonly [name: string, json: object, message: RegExp][] = [
  [
    "a back-reference",
    one(to({ safe_regex: { regex: "(a)\\1" } })),
    /routes\[0\]\.match\.safe_regex\.regex: .*back-references/,
  ],
  ["look-ahead", one(to({ safe_regex: { regex: "a(?=b)" } })), /look-around/],
  ["a broken regex", one(to({ safe_regex: { regex: "(" } })), /safe_regex\.regex: not a valid RE2/],
  [
    "a duplicate domain",
    { virtual_hosts: [host("a", ["x"]), host("b", ["X"])] },
    /virtual_hosts\[1\]\.domains\[0\]: Only unique values/,
  ],
  [
    "two catch-alls",
    { virtual_hosts: [host("a", ["*"]), host("b", ["*"])] },
    /Only a single wildcard domain/,
  ],
  [
    "weights of zero",
    one({
      match: { prefix: "/" },
      route: { weighted_clusters: { clusters: [{ name: "a", weight: 0 }] } },
    }),
    /Sum of weights/,
  ],
  [
    "a status that is none",
    one({ match: { prefix: "/" }, direct_response: { status: 99 } }),
    /direct_response\.status: must be 200\.\.599/,
  ],
  [
    "a query parameter without a name",
    one(to({ prefix: "/", query_parameters: [{ present_match: true }] })),
    /query_parameters\[0\]\.name: must not be empty/,
  ],
  [
    "a regex rewrite without a pattern",
    one(to({ prefix: "/" }, { regex_rewrite: { substitution: "x" } })),
    /route\.regex_rewrite\.pattern\.regex: must not be empty/,
  ],
  [
    "a substitution with a stray backslash",
    one(to({ prefix: "/" }, { regex_rewrite: { pattern: { regex: "a" }, substitution: "\\x" } })),
    /route\.regex_rewrite\.substitution: a backslash/,
  ],
  [
    "internal redirects",
    one(to({ prefix: "/" }, { internal_redirect_policy: {} })),
    /route\.internal_redirect_policy: is not supported/,
  ],
  [
    "a rewrite by template",
    one(to({ prefix: "/" }, { path_rewrite_policy: { name: "x" } })),
    /route\.path_rewrite_policy\.typed_config: must be a UriTemplateRewriteConfig/,
  ],
  [
    "an unknown retry priority",
    one(to({ prefix: "/" }, { retry_policy: { retry_priority: { name: "mine" } } })),
    /route\.retry_policy\.retry_priority: mine is not supported/,
  ],
  [
    "a rate limited back-off without headers",
    one(to({ prefix: "/" }, { retry_policy: { rate_limited_retry_back_off: {} } })),
    /rate_limited_retry_back_off\.reset_headers: must not be empty/,
  ],
  [
    "a weighted cluster with two names",
    one({
      match: { prefix: "/" },
      route: { weighted_clusters: { clusters: [{ name: "a", cluster_header: "b", weight: 1 }] } },
    }),
    /weighted_clusters\.clusters\[0\]\.cluster_header: must not be set together with name/,
  ],
  ["no match at all", one({ route: { cluster: "c" } }), /match: is required/],
  [
    "a file that is not there",
    one({ match: { prefix: "/" }, direct_response: { status: 200, body: { filename: "/no" } } }),
    /body\.filename: cannot be read/,
  ],
];
for (const [name, json, expected] of refused) {
  test(`refuses ${name}`, () => {
    assert.throws(() => compile(json), { code: "SERIN_INVALID_XDS", message: expected });
    assert.throws(() => compile(json), { message: /^RouteConfiguration r: / });
  });
}

for (const regex of ["(a+)+b", "(?i)(a+)+b", "(a{1,9}){1,9}b", "(\\pL+)+1", "(?i:(a|aa)+)$(b)"]) {
  test(`the hostile expression ${regex} ends in time`, async () => {
    const { enableLinearRegExpFallback } = await import("../../../src/proxy/regexp-engine.ts");
    enableLinearRegExpFallback();
    const table = compile(one(to({ safe_regex: { regex } })));
    const path = table.virtualHost("x")?.routes[0]?.path;
    assert.ok(path?.kind === "regex");
    assert.equal(path.regex.test("a".repeat(5000)), false);
  });
}

test("defaults are Envoy's: 15 s, one retry with 25..250 ms, 503 for a missing cluster", () => {
  const table = compile(one(to({ prefix: "/" }, { retry_policy: { retry_on: "5xx, reset" } })));
  const action = table.virtualHost("x")?.routes[0]?.action;
  assert.ok(action?.kind === "forward");
  assert.equal(action.timeouts.timeoutMs, 15_000);
  assert.equal(action.clusterNotFoundStatus, 503);
  assert.deepEqual(action.retry && [...action.retry.retryOn], ["5xx", "reset"]);
  assert.deepEqual(
    [action.retry?.numRetries, action.retry?.backoffBaseMs, action.retry?.backoffMaxMs],
    [1, 25, 250],
  );
});

const redirects: readonly [name: string, redirect: object, path: string, location: string][] = [
  ["host", { host_redirect: "b" }, "/x?q=1", "http://b/x?q=1"],
  ["https drops the plain port", { https_redirect: true }, "/x", "https://h/x"],
  ["path keeps the query", { path_redirect: "/new" }, "/x?q=1", "http://h:80/new?q=1"],
  ["path with a query of its own", { path_redirect: "/new?a" }, "/x?q=1", "http://h:80/new?a"],
  ["strip_query", { path_redirect: "/new", strip_query: true }, "/x?q=1", "http://h:80/new"],
  ["prefix", { prefix_rewrite: "/z" }, "/old/y?q", "http://h:80/z/y?q"],
  ["port", { port_redirect: 8443 }, "/x", "http://h:8443/x"],
];
for (const [name, redirect, path, location] of redirects) {
  test(`redirect: ${name}`, () => {
    const prefix = path.startsWith("/old") ? "/old" : "/";
    const table = compile(one({ match: { prefix }, redirect }));
    const action = table.virtualHost("x")?.routes[0]?.action;
    assert.ok(action?.kind === "redirect");
    assert.equal(action.location(path, "h:80", "http"), location);
  });
}
