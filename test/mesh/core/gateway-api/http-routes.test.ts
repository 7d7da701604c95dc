import assert from "node:assert/strict";
import { test } from "node:test";
import { findTool, skipWithout } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, resourceJson } from "../support/accept.ts";
import { gatewayApi, kubernetesGateway, mesh, service } from "../support/objects.ts";
import { type Json, modelOf, nodeOf, translated } from "../support/translated.ts";

const NODE = nodeOf(
  "web-serin-1-a",
  "127.16.0.9",
  {
    LABELS: { "gateway.networking.k8s.io/gateway-name": "web" },
    HTTP_PROXY_PORT: "",
  },
  "router",
);
const BACKENDS = [
  service({ name: "a", ports: [{ port: 80, name: "http" }], pods: [] }),
  service({ name: "b", ports: [{ port: 80, name: "http" }], pods: [] }),
  service({ name: "c", namespace: "other", ports: [{ port: 80, name: "http" }], pods: [] }),
];
const HTTP = { name: "http", port: 80, protocol: "HTTP" };
const to = (name: string, more: object = {}) => ({ name, port: 80, ...more });
const TO_A = [to("a")];
const CLUSTER_A = "outbound|80||a.default.svc.cluster.local";
const CLUSTER_B = "outbound|80||b.default.svc.cluster.local";

interface VirtualHost {
  readonly domains: readonly string[];
  readonly routes: readonly Json[];
}
const httpRoute = (name: string, spec: object, more: object = {}) =>
  gatewayApi("HTTPRoute", { name, ...more }, { parentRefs: [{ name: "web" }], ...spec });
const meshOf = (routes: readonly object[], listeners: readonly object[] = [HTTP]) =>
  mesh(...BACKENDS, kubernetesGateway({ name: "web" }, listeners), {
    httpRoutes: routes as ReturnType<typeof httpRoute>[],
  });
function hostsOf(objects: ReturnType<typeof mesh>, name = "http.80"): readonly VirtualHost[] {
  const set = translated(objects, NODE);
  acceptedByOurProxy(set);
  const config = resourceJson(set, "envoy.config.route.v3.RouteConfiguration", name);
  return (config as { readonly virtual_hosts?: readonly VirtualHost[] }).virtual_hosts ?? [];
}
const routesOf = (rules: readonly object[], listener: object = HTTP): readonly Json[] => {
  const objects = meshOf([httpRoute("r", { rules })], [listener]);
  const { port } = listener as { readonly port: number };
  return hostsOf(objects, `http.${port}`)[0]?.routes ?? [];
};
const actionOf = (rule: object, listener?: object): Json => {
  const [route] = routesOf([rule], listener);
  assert.ok(route);
  return route;
};

const MATCHES: readonly (readonly [string, object, object])[] = [
  ["nothing", {}, { prefix: "/" }],
  ["an exact path", { path: { type: "Exact", value: "/a" } }, { path: "/a" }],
  ["a prefix of whole segments", { path: { value: "/a" } }, { path_separated_prefix: "/a" }],
  [
    "a slash at the end of a prefix",
    { path: { type: "PathPrefix", value: "/a/" } },
    { path_separated_prefix: "/a" },
  ],
  [
    "an expression",
    { path: { type: "RegularExpression", value: "/a.*" } },
    { safe_regex: { regex: "/a.*" } },
  ],
  [
    "method",
    { method: "PUT" },
    { prefix: "/", headers: [{ name: ":method", string_match: { exact: "PUT" } }] },
  ],
  [
    "headers, of which the first of a name counts",
    {
      headers: [
        { name: "X-User", value: "jason" },
        { name: "x-user", value: "other" },
        { name: "v", type: "RegularExpression", value: "[12]" },
      ],
    },
    {
      prefix: "/",
      headers: [
        { name: "v", string_match: { safe_regex: { regex: "[12]" } } },
        { name: "x-user", string_match: { exact: "jason" } },
      ],
    },
  ],
  [
    "query parameters",
    { queryParams: [{ name: "Q", value: "1" }] },
    { prefix: "/", query_parameters: [{ name: "Q", string_match: { exact: "1" } }] },
  ],
];
for (const [name, match, wanted] of MATCHES) {
  test(`a match: ${name}`, () => {
    const route = actionOf({ matches: [match], backendRefs: TO_A });
    assert.deepEqual(route["match"], wanted);
  });
}

test("precedence: path, method, headers, query, then age and name, whatever the order they come in", () => {
  const path = (type: string, value: string) => ({ path: { type, value } });
  const rule = (name: string, match: object) => ({ name, matches: [match], backendRefs: TO_A });
  const header = (count: number) => ({
    headers: Array.from({ length: count }, (_, i) => ({ name: `h${i}`, value: "x" })),
  });
  const rules = [
    rule("exact", path("Exact", "/ab")),
    rule("regex", path("RegularExpression", "/.*")),
    rule("long", path("PathPrefix", "/abc/def")),
    rule("method", { ...path("PathPrefix", "/abc"), method: "GET" }),
    rule("two-headers", { ...path("PathPrefix", "/abc"), ...header(2) }),
    rule("one-header", { ...path("PathPrefix", "/abc"), ...header(1) }),
    rule("query", { ...path("PathPrefix", "/abc"), queryParams: [{ name: "q", value: "x" }] }),
    rule("short", path("PathPrefix", "/abc")),
    rule("rest", {}),
  ];
  const wanted = rules.map(({ name }) => `default.r.${name}`);
  for (const shift of rules.keys()) {
    const turned = [...rules.slice(shift), ...rules.slice(0, shift)].reverse();
    assert.deepEqual(
      routesOf(turned).map((route) => route["name"]),
      wanted,
    );
  }
  // Several routes of one host: the older first, then by name.
  const same = { rules: [{ matches: [path("Exact", "/x")], backendRefs: TO_A }] };
  const routes = [
    httpRoute("young", same, { createdAt: "2026-03-01T00:00:00Z" }),
    httpRoute("b", same),
    httpRoute("a", same),
    httpRoute("old", same, { createdAt: "2025-01-01T00:00:00Z" }),
  ];
  for (const order of [routes, routes.toReversed()]) {
    assert.deepEqual(
      hostsOf(meshOf(order))[0]?.routes.map((route) => route["name"]),
      ["default.old.0", "default.a.0", "default.b.0", "default.young.0"],
    );
  }
});

const prefix = (value: string) => [{ path: { type: "PathPrefix", value } }];
const replace = (replacePrefixMatch: string) => ({
  path: { type: "ReplacePrefixMatch", replacePrefixMatch },
});
const full = (replaceFullPath: string) => ({ path: { type: "ReplaceFullPath", replaceFullPath } });
const REWRITES: readonly (readonly [string, string, object, object])[] = [
  ["a prefix", "/foo", replace("/xyz"), { prefix_rewrite: "/xyz" }],
  ["a prefix, its slashes aside", "/foo/", replace("/xyz/"), { prefix_rewrite: "/xyz" }],
  ["the prefix of everything", "/", replace("/xyz"), { prefix_rewrite: "/xyz/" }],
  [
    "a prefix by nothing",
    "/foo.x",
    replace("/"),
    { regex_rewrite: { pattern: { regex: "^/foo\\.x/?" }, substitution: "/" } },
  ],
  [
    "the whole path",
    "/foo",
    full("/new\\1"),
    { regex_rewrite: { pattern: { regex: "^.*$" }, substitution: "/new\\\\1" } },
  ],
  ["the host", "/", { hostname: "x.example.com" }, { host_rewrite_literal: "x.example.com" }],
];
for (const [name, path, urlRewrite, wanted] of REWRITES) {
  test(`URLRewrite replaces ${name}`, () => {
    const { route } = actionOf({
      matches: prefix(path),
      filters: [{ type: "URLRewrite", urlRewrite }],
      backendRefs: TO_A,
    }) as { readonly route: Json };
    for (const [field, value] of Object.entries(wanted)) assert.deepEqual(route[field], value);
  });
}

const OTHER_PORT = { ...HTTP, port: 8080 };
const REDIRECTS: readonly (readonly [string, object, object, object?])[] = [
  ["302 by default", {}, { response_code: "FOUND" }],
  ["a status", { statusCode: 308 }, { response_code: "PERMANENT_REDIRECT" }],
  ["a host", { hostname: "x.example.com" }, { host_redirect: "x.example.com" }],
  [
    "a scheme, whose port is not written",
    { scheme: "https" },
    { scheme_redirect: "https", port_redirect: undefined },
  ],
  ["a port", { port: 8443, scheme: "https" }, { port_redirect: 8443 }],
  ["the port of the listener", {}, { port_redirect: 8080 }, OTHER_PORT],
  ["the port of the scheme", { scheme: "https" }, { port_redirect: 443 }, OTHER_PORT],
  ["a whole path", full("/new"), { path_redirect: "/new" }],
  ["a prefix", replace("/new/"), { prefix_rewrite: "/new" }],
  [
    "a prefix by nothing",
    replace(""),
    { regex_rewrite: { pattern: { regex: "^/foo/?" }, substitution: "/" } },
  ],
];
for (const [name, requestRedirect, wanted, listener] of REDIRECTS) {
  test(`RequestRedirect: ${name}`, () => {
    const filters = [{ type: "RequestRedirect", requestRedirect }];
    const route = actionOf({ matches: prefix("/foo"), filters }, listener) as { redirect: Json };
    for (const [field, value] of Object.entries(wanted)) {
      assert.deepEqual(route.redirect[field], value, field);
    }
  });
}

test("header modifiers: of a rule and of one backend; % is itself", () => {
  const modifier = (value: string) => ({
    type: "RequestHeaderModifier",
    requestHeaderModifier: { set: [{ name: "x", value }], remove: ["gone"] },
  });
  const route = actionOf({
    filters: [
      modifier("50%"),
      {
        type: "ResponseHeaderModifier",
        responseHeaderModifier: { add: [{ name: "y", value: "1" }] },
      },
    ],
    backendRefs: [to("a", { filters: [modifier("a")] }), to("b")],
  }) as {
    readonly route: { readonly weighted_clusters: { clusters: Json[] } };
    readonly [f: string]: unknown;
  };
  const added = (key: string, value: string, append_action?: string) => ({
    header: { key, value },
    ...(append_action === undefined ? {} : { append_action }),
  });
  assert.deepEqual(route["request_headers_to_add"], [
    added("x", "50%%", "OVERWRITE_IF_EXISTS_OR_ADD"),
  ]);
  assert.deepEqual(route["request_headers_to_remove"], ["gone"]);
  assert.deepEqual(route["response_headers_to_add"], [added("y", "1")]);
  const [first, second] = route.route.weighted_clusters.clusters;
  assert.deepEqual(first?.["request_headers_to_add"], [
    added("x", "a", "OVERWRITE_IF_EXISTS_OR_ADD"),
  ]);
  assert.equal(second?.["request_headers_to_add"], undefined);
});

test("mirrors: by percent, by fraction, all; one that is not there is left out", () => {
  const mirror = (name: string, more: object = {}) => ({
    type: "RequestMirror",
    requestMirror: { backendRef: to(name), ...more },
  });
  const { route } = actionOf({
    filters: [
      mirror("b", { percent: 5 }),
      mirror("b", { fraction: { numerator: 1, denominator: 8 } }),
      mirror("b"),
      mirror("gone"),
    ],
    backendRefs: TO_A,
  }) as { readonly route: { readonly request_mirror_policies: Json[] } };
  assert.deepEqual(
    route.request_mirror_policies.map((each) => [
      each["cluster"],
      (each["runtime_fraction"] as { default_value: Json }).default_value["numerator"],
    ]),
    [
      [CLUSTER_B, 50_000],
      [CLUSTER_B, 125_000],
      [CLUSTER_B, 1_000_000],
    ],
  );
});

test("cors: origins exact and by wildcard, five seconds by default", () => {
  const route = actionOf({
    filters: [
      {
        type: "CORS",
        cors: { allowOrigins: ["https://a.example.com", "https://*.b.com"], allowMethods: ["GET"] },
      },
    ],
    backendRefs: TO_A,
  }) as { readonly typed_per_filter_config: Readonly<Record<string, Json>> };
  const config = route.typed_per_filter_config["envoy.filters.http.cors"];
  assert.deepEqual(config?.["allow_origin_string_match"], [
    { exact: "https://a.example.com" },
    { safe_regex: { regex: "https://.*\\.b\\.com" } },
  ]);
  assert.equal(config?.["max_age"], "5");
});

const direct = (status: number) => ({ direct_response: { status } });
const BACKEND_REFS: readonly (readonly [string, readonly object[], object])[] = [
  ["one", TO_A, { route: { cluster: CLUSTER_A } }],
  ["no backend", [], direct(500)],
  ["all of weight 0", [to("a", { weight: 0 }), to("b", { weight: 0 })], direct(500)],
  ["one that is not there", [to("gone")], direct(500)],
  ["a port that is not there", [{ name: "a", port: 81 }], direct(500)],
  ["another namespace's without a grant", [to("c", { namespace: "other" })], direct(500)],
  ["another kind", [{ group: "x.io", kind: "Bucket", name: "a" }], direct(500)],
  [
    "one of weight 0 beside another",
    [to("a"), to("b", { weight: 0 })],
    { route: { cluster: CLUSTER_A } },
  ],
  [
    "weights, 1 by default",
    [to("a", { weight: 9 }), to("b")],
    {
      route: {
        weighted_clusters: {
          clusters: [
            { name: CLUSTER_A, weight: 9 },
            { name: CLUSTER_B, weight: 1 },
          ],
        },
      },
    },
  ],
  [
    "the share of an invalid one gets 500",
    [to("a", { weight: 3 }), to("gone", { weight: 1 })],
    {
      route: {
        cluster_not_found_response_code: "INTERNAL_SERVER_ERROR",
        weighted_clusters: {
          clusters: [
            { name: CLUSTER_A, weight: 3 },
            { name: "(invalid backend)", weight: 1 },
          ],
        },
      },
    },
  ],
];
for (const [name, backendRefs, wanted] of BACKEND_REFS) {
  test(`backendRefs: ${name}`, () => {
    const found = actionOf({ backendRefs });
    for (const [field, value] of Object.entries(wanted)) {
      for (const [key, inner] of Object.entries(value as Json)) {
        assert.deepEqual((found[field] as Json | undefined)?.[key], inner, `${field}.${key}`);
      }
    }
  });
}

test("an unsupported filter is not skipped: such requests get an error", () => {
  const filters = [
    { type: "ExtensionRef", extensionRef: { group: "x.io", kind: "Waf", name: "w" } },
  ];
  assert.deepEqual(actionOf({ filters, backendRefs: TO_A })["direct_response"], { status: 500 });
  const own = [{ type: "URLRewrite", urlRewrite: { hostname: "x.example.com" } }];
  const half = actionOf({ backendRefs: [to("a", { filters: own }), to("b")] });
  assert.match(JSON.stringify(half), /"name":"\(invalid backend\)"/);
});

const TIMINGS: readonly (readonly [string, object, object])[] = [
  ["none", {}, { timeout: "0s" }],
  ["request", { timeouts: { request: "1500ms" } }, { timeout: "1.5s" }],
  ["0s = without a limit", { timeouts: { request: "0s" } }, { timeout: "0s" }],
  [
    "request and backendRequest",
    { timeouts: { request: "3s", backendRequest: "1s" } },
    { timeout: "3s", per_try_timeout: "1s", num_retries: 2 },
  ],
  [
    "one attempt",
    { timeouts: { request: "3s", backendRequest: "1s" }, retry: { attempts: 0 } },
    { timeout: "1s" },
  ],
  [
    "retry",
    { retry: { codes: [500, 503], attempts: 4, backoff: "20ms" } },
    { num_retries: 4, retriable_status_codes: [500, 503] },
  ],
];
for (const [name, fields, wanted] of TIMINGS) {
  test(`timeouts and retries: ${name}`, () => {
    const { route } = actionOf({ backendRefs: TO_A, ...fields }) as { readonly route: Json };
    const policy = (route["retry_policy"] ?? {}) as Json;
    for (const [field, value] of Object.entries(wanted)) {
      assert.deepEqual(field === "timeout" ? route[field] : policy[field], value, field);
    }
  });
}

const GRPC: readonly (readonly [string, object, object])[] = [
  ["everything", {}, { prefix: "/" }],
  ["a method", { method: { service: "a.B", method: "C" } }, { path: "/a.B/C" }],
  ["a service", { method: { service: "a.B" } }, { prefix: "/a.B/" }],
  ["a method of any service", { method: { method: "C" } }, { safe_regex: { regex: "/[^/]+/C" } }],
  [
    "expressions",
    { method: { type: "RegularExpression", service: "a\\..*", method: "Get.*" } },
    { safe_regex: { regex: "/a\\..*/Get.*" } },
  ],
];
for (const [name, match, wanted] of GRPC) {
  test(`GRPCRoute matches ${name}; without a backend calls are UNAVAILABLE`, () => {
    const spec = { parentRefs: [{ name: "web" }], rules: [{ matches: [match] }] };
    const objects = mesh(...BACKENDS, kubernetesGateway({ name: "web" }, [HTTP]), {
      grpcRoutes: [gatewayApi("GRPCRoute", { name: "g" }, spec)],
    });
    const [route] = hostsOf(objects)[0]?.routes ?? [];
    assert.deepEqual(route?.["match"], wanted);
    assert.deepEqual(route?.["direct_response"], { status: 503 });
  });
}

test("hostnames: what route and listener have in common", () => {
  const at = (hostname: string | undefined, hostnames: readonly string[]) =>
    hostsOf(
      meshOf(
        [httpRoute("r", { hostnames, rules: [{ backendRefs: TO_A }] })],
        [{ ...HTTP, ...(hostname === undefined ? {} : { hostname }) }],
      ),
    ).map(({ domains, routes }) => `${domains} ${routes[0]?.["direct_response"] ? 404 : "ok"}`);
  assert.deepEqual(at(undefined, []), ["* ok"]);
  assert.deepEqual(at(undefined, ["a.com", "*.b.com"]), ["*.b.com ok", "a.com ok"]);
  assert.deepEqual(at("*.b.com", []), ["*.b.com ok"]);
  assert.deepEqual(at("x.b.com", ["*.b.com", "c.com"]), ["x.b.com ok"]);
  assert.deepEqual(at("*.b.com", ["x.b.com", "b.com"]), ["*.b.com 404", "x.b.com ok"]);
  assert.deepEqual(at("a.com", ["b.com"]), ["a.com 404"]);
});

test("listeners of one port: a host belongs to the one that names it most exactly", () => {
  const listeners = [
    { ...HTTP, name: "any" },
    { ...HTTP, name: "wild", hostname: "*.x.com" },
    { ...HTTP, name: "one", hostname: "a.x.com" },
  ];
  const route = (name: string, sectionName: string, hostnames?: readonly string[]) =>
    httpRoute(name, {
      parentRefs: [{ name: "web", sectionName }],
      ...(hostnames === undefined ? {} : { hostnames }),
      rules: [{ backendRefs: TO_A }],
    });
  const objects = meshOf(
    [route("all", "any", ["a.x.com", "b.com"]), route("wild", "wild")],
    listeners,
  );
  assert.deepEqual(
    hostsOf(objects).map(({ domains, routes }) => [domains[0], routes[0]?.["name"] ?? 404]),
    [
      ["*.x.com", "default.wild.0"],
      ["a.x.com", 404],
      ["b.com", "default.all.0"],
    ],
  );
});

test("real Envoy takes every shape of it", {
  skip: skipWithout("envoy"),
  timeout: 60_000,
}, async () => {
  const rules = [
    ...MATCHES.map(([, match]) => ({ matches: [match], backendRefs: TO_A })),
    ...REWRITES.map(([, path, urlRewrite]) => ({
      matches: prefix(path),
      filters: [{ type: "URLRewrite", urlRewrite }],
      backendRefs: TO_A,
    })),
    ...TIMINGS.map(([, fields]) => ({ backendRefs: TO_A, ...fields })),
    ...BACKEND_REFS.map(([, backendRefs]) => ({ backendRefs })),
    ...REDIRECTS.map(([, requestRedirect]) => ({
      matches: prefix("/foo"),
      filters: [{ type: "RequestRedirect", requestRedirect }],
    })),
  ];
  // At most 16 rules a route.
  const routes = Array.from({ length: Math.ceil(rules.length / 16) }, (_, i) =>
    httpRoute(`r${i}`, { hostnames: [`h${i}.com`], rules: rules.slice(16 * i, 16 * i + 16) }),
  );
  const objects = meshOf(routes);
  assert.deepEqual(modelOf(objects).problems, []);
  assert.equal(hostsOf(objects).length, routes.length);
  await acceptedByEnvoy(findTool("envoy") ?? "", translated(objects, NODE));
});
