import assert from "node:assert/strict";
import { test } from "node:test";
import { ROUTE_TYPE } from "../../../../src/xds/index.ts";
import { resourceJson } from "../support/accept.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  reviewsSubsets,
  service,
  virtualService,
} from "../support/objects.ts";
import {
  type Json,
  modelOf,
  nodeOf,
  PRODUCTPAGE,
  REVIEWS_V1,
  reviewsRoutes,
  translated,
  virtualHostJson,
} from "../support/translated.ts";

const HOST = "reviews.default.svc.cluster.local";
const to = (subset?: string, weight?: number) => ({
  destination: { host: "reviews", ...(subset === undefined ? {} : { subset }) },
  ...(weight === undefined ? {} : { weight }),
});
const V1 = `outbound|9080|v1|${HOST}`;
const V2 = `outbound|9080|v2|${HOST}`;
const ALL = `outbound|9080||${HOST}`;
const DEFAULT_RETRY = {
  retry_on: "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
  num_retries: 2,
  retry_host_predicate: [
    {
      name: "envoy.retry_host_predicates.previous_hosts",
      typed_config: {
        "@type":
          "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
      },
    },
  ],
  host_selection_retry_max_attempts: "5",
};
const UNBOUNDED = {
  timeout: "0s",
  max_stream_duration: { max_stream_duration: "0s", grpc_timeout_header_max: "0s" },
};
const action = (routes: readonly Json[], i = 0): Json => routes[i]?.["route"] as Json;

test("a service without a VirtualService gets one default route to all of it", () => {
  const host = virtualHostJson(translated(bookinfo()), "reviews:9080");
  assert.deepEqual(host, {
    name: `${HOST}:9080`,
    domains: [
      ...[HOST, `${HOST}:9080`, "reviews", "reviews:9080", "reviews.default"],
      ...["reviews.default:9080", "reviews.default.svc", "reviews.default.svc:9080"],
      ...["127.96.0.3", "127.96.0.3:9080"],
    ],
    include_request_attempt_count: true,
    routes: [
      {
        name: "default",
        match: { prefix: "/" },
        route: { cluster: ALL, ...UNBOUNDED, retry_policy: DEFAULT_RETRY },
        decorator: { operation: `${HOST}:9080/*` },
      },
    ],
  });
});

test("the textbook's 90/10 split", () => {
  const routes = reviewsRoutes([{ route: [to("v1", 90), to("v2", 10)] }], {
    rules: [reviewsSubsets()],
  });
  assert.deepEqual(routes, [
    {
      match: { prefix: "/" },
      route: {
        weighted_clusters: {
          clusters: [
            { name: V1, weight: 90 },
            { name: V2, weight: 10 },
          ],
        },
        ...UNBOUNDED,
        retry_policy: DEFAULT_RETRY,
      },
      metadata: {
        filter_metadata: {
          istio: {
            config: "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews",
          },
        },
      },
    },
  ]);
});

test("the textbook's header route: jason sees v2, everybody else v1", () => {
  const routes = reviewsRoutes([
    { match: [{ headers: { user: { exact: "jason" } } }], route: [to("v2")] },
    { route: [to("v1")] },
  ]);
  assert.deepEqual(
    routes.map((route) => [route["match"], (route["route"] as Json)["cluster"]]),
    [
      [{ prefix: "/", headers: [{ name: "user", string_match: { exact: "jason" } }] }, V2],
      [{ prefix: "/" }, V1],
    ],
  );
});

test("the textbook's timeout and retries", () => {
  const routes = reviewsRoutes([
    {
      route: [to("v1")],
      timeout: "3s",
      retries: { attempts: 3, perTryTimeout: "1s", retryOn: "5xx,reset,connect-failure" },
    },
  ]);
  assert.deepEqual(action(routes), {
    cluster: V1,
    timeout: "3s",
    retry_policy: {
      ...DEFAULT_RETRY,
      retry_on: "5xx,reset,connect-failure",
      num_retries: 3,
      per_try_timeout: "1s",
    },
  });
});

test("the textbook's mirror", () => {
  const routes = reviewsRoutes([
    {
      route: [to("v1", 100)],
      mirror: { host: "reviews", subset: "v2" },
      mirrorPercentage: { value: 100 },
    },
  ]);
  assert.deepEqual(action(routes)["request_mirror_policies"], [
    {
      cluster: V2,
      runtime_fraction: { default_value: { numerator: 1_000_000, denominator: "MILLION" } },
      trace_sampled: false,
      disable_shadow_host_suffix_append: true,
    },
  ]);
});

const MIRRORS: readonly (readonly [string, object, readonly number[]])[] = [
  ["no percentage: all", { mirror: { host: "reviews" } }, [1_000_000]],
  ["0: none", { mirror: { host: "reviews" }, mirrorPercentage: { value: 0 } }, []],
  ["0.01", { mirror: { host: "reviews" }, mirrorPercentage: { value: 0.01 } }, [100]],
  ["the old field", { mirror: { host: "reviews" }, mirrorPercent: 5 }, [50_000]],
  [
    "several",
    {
      mirrors: [
        { destination: { host: "reviews" }, percentage: { value: 50 } },
        { destination: { host: "productpage" } },
      ],
    },
    [500_000, 1_000_000],
  ],
];
for (const [what, fields, expected] of MIRRORS) {
  test(`mirrors by percentage: ${what}`, () => {
    const routes = reviewsRoutes([{ route: [to()], ...fields }]);
    const policies = (action(routes)["request_mirror_policies"] ?? []) as {
      runtime_fraction: { default_value: { numerator: number } };
    }[];
    assert.deepEqual(
      policies.map((policy) => policy.runtime_fraction.default_value.numerator),
      expected,
    );
  });
}

const MATCHES: readonly (readonly [string, object, object])[] = [
  ["exact uri", { uri: { exact: "/a" } }, { path: "/a" }],
  ["uri prefix", { uri: { prefix: "/a" } }, { prefix: "/a" }],
  ["uri regex", { uri: { regex: "/a[0-9]+" } }, { safe_regex: { regex: "/a[0-9]+" } }],
  [
    "uri without case",
    { uri: { prefix: "/a" }, ignoreUriCase: true },
    { prefix: "/a", case_sensitive: false },
  ],
  [
    "regex keeps its case",
    { uri: { regex: "/a" }, ignoreUriCase: true },
    { safe_regex: { regex: "/a" } },
  ],
  [
    "header prefix",
    { headers: { user: { prefix: "j" } } },
    { prefix: "/", headers: [{ name: "user", string_match: { prefix: "j" } }] },
  ],
  [
    "header regex",
    { headers: { user: { regex: "j.*" } } },
    { prefix: "/", headers: [{ name: "user", string_match: { safe_regex: { regex: "j.*" } } }] },
  ],
  [
    "header presence",
    { headers: { user: {} } },
    { prefix: "/", headers: [{ name: "user", present_match: true }] },
  ],
  [
    "header regex * is presence",
    { headers: { user: { regex: "*" } } },
    { prefix: "/", headers: [{ name: "user", present_match: true }] },
  ],
  [
    "headers in one order whatever the object's",
    { headers: { zeta: {}, alpha: {} } },
    {
      prefix: "/",
      headers: [
        { name: "alpha", present_match: true },
        { name: "zeta", present_match: true },
      ],
    },
  ],
  [
    "without a header's value",
    { withoutHeaders: { user: { exact: "jason" } } },
    {
      prefix: "/",
      headers: [
        {
          name: "user",
          string_match: { exact: "jason" },
          invert_match: true,
          treat_missing_header_as_empty: true,
        },
      ],
    },
  ],
  [
    "without a header",
    { withoutHeaders: { user: {} } },
    { prefix: "/", headers: [{ name: "user", present_match: true, invert_match: true }] },
  ],
  [
    "keys that have a field of their own are ignored",
    { headers: { uri: { exact: "/x" }, user: {} } },
    { prefix: "/", headers: [{ name: "user", present_match: true }] },
  ],
  [
    "method, authority and scheme",
    { method: { exact: "GET" }, authority: { prefix: "rev" }, scheme: { exact: "http" } },
    {
      prefix: "/",
      headers: [
        { name: ":method", string_match: { exact: "GET" } },
        { name: ":authority", string_match: { prefix: "rev" } },
        { name: ":scheme", string_match: { exact: "http" } },
      ],
    },
  ],
  [
    "query parameters",
    { queryParams: { a: { exact: "" }, b: { regex: "\\d+" }, c: {} } },
    {
      prefix: "/",
      query_parameters: [
        { name: "a", string_match: { exact: "" } },
        { name: "b", string_match: { safe_regex: { regex: "\\d+" } } },
        { name: "c", present_match: true },
      ],
    },
  ],
];
for (const [what, match, expected] of MATCHES) {
  test(`matches ${what}`, () => {
    const routes = reviewsRoutes([{ match: [match], route: [to()] }]);
    assert.deepEqual(
      routes.map((route) => route["match"]),
      [expected],
    );
  });
}

test("blocks of a match are alternatives, in order; a catch-all ends the list", () => {
  const routes = reviewsRoutes([
    {
      name: "a",
      match: [{ name: "x", uri: { prefix: "/x" } }, { uri: { exact: "/y" } }],
      route: [to()],
    },
    { name: "b", match: [{ headers: { k: {} } }, { uri: { prefix: "/" } }], route: [to()] },
    { name: "never", route: [to()] },
  ]);
  assert.deepEqual(
    routes.map((route) => route["name"]),
    ["a.x", "a", "b", "b"],
  );
});

test("a match is decided at once by port, source and gateway", () => {
  const named = (name: string, match: object) => ({ name, match: [match], route: [to()] });
  const rules = [
    named("other-port", { port: 80, uri: { prefix: "/1" } }),
    named("port", { port: 9080, uri: { prefix: "/2" } }),
    named("productpage", { sourceLabels: { app: "productpage" }, uri: { prefix: "/3" } }),
    named("reviews", { sourceLabels: { app: "reviews" }, uri: { prefix: "/4" } }),
    named("namespace", { sourceNamespace: "default", uri: { prefix: "/5" } }),
    named("other-namespace", { sourceNamespace: "shop", uri: { prefix: "/6" } }),
    named("gateway", { gateways: ["public"], uri: { prefix: "/7" } }),
    named("mesh", { gateways: ["mesh"], uri: { prefix: "/8" } }),
  ];
  const names = (node: typeof PRODUCTPAGE) =>
    reviewsRoutes(rules, { node }).map((route) => route["name"]);
  assert.deepEqual(names(PRODUCTPAGE), ["port", "productpage", "namespace", "mesh"]);
  assert.deepEqual(names(REVIEWS_V1), ["port", "reviews", "namespace", "mesh"]);
});

const RETRIES: readonly (readonly [string, object, unknown])[] = [
  ["attempts 0: none", { attempts: 0 }, undefined],
  ["only attempts", { attempts: 5 }, { ...DEFAULT_RETRY, num_retries: 5 }],
  [
    "status codes",
    { attempts: 1, retryOn: "503, reset" },
    {
      ...DEFAULT_RETRY,
      retry_on: "reset,retriable-status-codes",
      num_retries: 1,
      retriable_status_codes: [503],
    },
  ],
  [
    "any host again",
    { attempts: 1, retryOn: "5xx", retryIgnorePreviousHosts: false, backoff: "50ms" },
    { retry_on: "5xx", num_retries: 1, retry_back_off: { base_interval: "0.05s" } },
  ],
];
for (const [what, retries, expected] of RETRIES) {
  test(`retries: ${what}`, () => {
    const routes = reviewsRoutes([{ route: [to()], retries }]);
    assert.deepEqual(action(routes)["retry_policy"], expected);
  });
}

test("weight 0 beside others is left out, a single destination gets everything", () => {
  const zero = reviewsRoutes([{ route: [to("v1", 100), to("v2", 0)] }]);
  assert.equal(action(zero)["cluster"], V1);
  const single = reviewsRoutes([{ route: [to("v1", 7)] }]);
  assert.equal(action(single)["cluster"], V1);
});

test("headers of routes and destinations", () => {
  const routes = reviewsRoutes([
    {
      headers: {
        request: { set: { b: "2", a: "1" }, remove: ["gone"] },
        response: { add: { seen: "yes" } },
      },
      route: [
        { ...to("v1", 50), headers: { request: { add: { v: "1" }, set: { Host: "v1.example" } } } },
        to("v2", 50),
      ],
    },
  ]);
  const [route] = routes;
  assert.deepEqual(route?.["request_headers_to_add"], [
    { header: { key: "a", value: "1" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
    { header: { key: "b", value: "2" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
  ]);
  assert.deepEqual(route?.["request_headers_to_remove"], ["gone"]);
  assert.deepEqual(route?.["response_headers_to_add"], [{ header: { key: "seen", value: "yes" } }]);
  assert.deepEqual((action(routes)["weighted_clusters"] as Json)["clusters"], [
    {
      name: V1,
      weight: 50,
      request_headers_to_add: [{ header: { key: "v", value: "1" } }],
      host_rewrite_literal: "v1.example",
    },
    { name: V2, weight: 50 },
  ]);
});

test("redirects, direct responses, rewrites and faults", () => {
  const routes = reviewsRoutes([
    {
      match: [{ uri: { prefix: "/old" } }],
      redirect: { uri: "/new", authority: "x.example", redirectCode: 308, port: 8080 },
    },
    {
      match: [{ uri: { prefix: "/tls" } }],
      redirect: { scheme: "https", derivePort: "FROM_PROTOCOL_DEFAULT" },
    },
    { match: [{ uri: { prefix: "/p" } }], redirect: { uri: "%PREFIX()%/q" } },
    {
      match: [{ uri: { exact: "/teapot" } }],
      directResponse: { status: 418, body: { string: "!" } },
    },
    {
      match: [{ uri: { prefix: "/api" } }],
      rewrite: { uri: "/v2", authority: "api.example" },
      route: [to()],
    },
    {
      match: [{ uri: { prefix: "/fault" } }],
      fault: {
        abort: { httpStatus: 503, percentage: { value: 50 } },
        delay: { fixedDelay: "2s", percentage: { value: 0.1 } },
      },
      route: [to()],
    },
    {
      match: [{ uri: { prefix: "/nofault" } }],
      fault: { abort: { httpStatus: 503 } },
      route: [to()],
    },
  ]);
  assert.deepEqual(routes[0]?.["redirect"], {
    response_code: "PERMANENT_REDIRECT",
    host_redirect: "x.example",
    path_redirect: "/new",
    port_redirect: 8080,
  });
  assert.deepEqual(routes[1]?.["redirect"], {
    scheme_redirect: "https",
    port_redirect: 443,
  });
  assert.deepEqual(routes[2]?.["redirect"], {
    prefix_rewrite: "/q",
  });
  assert.deepEqual(routes[3]?.["direct_response"], { status: 418, body: { inline_string: "!" } });
  assert.equal(action(routes, 4)["prefix_rewrite"], "/v2");
  assert.equal(action(routes, 4)["host_rewrite_literal"], "api.example");
  assert.deepEqual(routes[5]?.["typed_per_filter_config"], {
    "envoy.filters.http.fault": {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
      delay: { fixed_delay: "2s", percentage: { numerator: 1000, denominator: "MILLION" } },
      abort: { http_status: 503, percentage: { numerator: 500_000, denominator: "MILLION" } },
    },
  });
  assert.deepEqual(routes[6]?.["typed_per_filter_config"], undefined, "no percentage: no fault");
});

test("a short host is a service of the VirtualService's namespace, not of the client's", () => {
  const objects = mesh(
    bookinfo(),
    service({
      name: "reviews",
      namespace: "shop",
      clusterIp: "127.96.1.3",
      ports: [{ port: 9080, name: "http" }],
      pods: [],
    }),
    {
      virtualServices: [
        virtualService(
          { name: "vs", namespace: "shop" },
          {
            hosts: ["reviews"],
            http: [{ name: "of-shop", route: [{ destination: { host: "reviews" } }] }],
          },
        ),
      ],
    },
  );
  const inDefault = translated(objects);
  const inShop = translated(objects, nodeOf("cart-1-x", "127.16.0.9", { NAMESPACE: "shop" }));
  const nameOf = (host: Json) => (host["routes"] as Json[])[0]?.["name"];
  assert.equal(nameOf(virtualHostJson(inDefault, "reviews")), "default");
  assert.equal(nameOf(virtualHostJson(inDefault, "reviews.shop")), "of-shop");
  assert.equal(nameOf(virtualHostJson(inShop, "reviews")), "of-shop");
  assert.equal(nameOf(virtualHostJson(inShop, "reviews.default")), "default");
});

test("exact hosts beat wildcards; private VirtualServices beat public ones", () => {
  const of = (name: string, host: string, more: object = {}) =>
    virtualService(
      { name },
      { hosts: [host], http: [{ name, route: [{ destination: { host: "reviews" } }] }], ...more },
    );
  const first = (...all: ReturnType<typeof of>[]) => {
    const set = translated(mesh(bookinfo(), { virtualServices: all }));
    return (virtualHostJson(set, "reviews:9080")["routes"] as Json[])[0]?.["name"];
  };
  assert.equal(first(of("wild", "*.default.svc.cluster.local")), "wild");
  assert.equal(first(of("wild", "*.default.svc.cluster.local"), of("x", "reviews")), "x");
  assert.equal(first(of("a", "reviews"), of("b", "reviews", { exportTo: ["."] })), "b");
  assert.equal(first(of("a", "reviews", { exportTo: ["shop"] })), "default");
  assert.equal(first(of("a", "reviews", { gateways: ["public"] })), "default");
  assert.equal(first(of("a", "reviews", { gateways: ["public", "mesh"] })), "a");
});

test("hosts that no service has are routed by their VirtualService, anything else is passed on", () => {
  const set = translated(
    mesh(bookinfo(), {
      virtualServices: [
        virtualService(
          { name: "api" },
          { hosts: ["api.example.com"], http: [{ route: [{ destination: { host: "reviews" } }] }] },
        ),
      ],
    }),
  );
  const host = virtualHostJson(set, "api.example.com");
  assert.deepEqual(host["domains"], ["api.example.com", "api.example.com:*"]);
  assert.equal(action(host["routes"] as Json[])["cluster"], ALL);
  assert.deepEqual(virtualHostJson(set, "*"), {
    name: "allow_any",
    domains: ["*"],
    include_request_attempt_count: true,
    routes: [
      {
        name: "allow_any",
        match: { prefix: "/" },
        route: {
          cluster: "PassthroughCluster",
          timeout: "0s",
          max_stream_duration: { max_stream_duration: "0s", grpc_timeout_header_max: "0s" },
        },
      },
    ],
  });
});

test("a name without port means port 80, or the first HTTP port", () => {
  const two = (ports: readonly { port: number; name: string }[]) =>
    virtualHostJson(translated(mesh(service({ name: "a", ports, pods: [] }))), "a")["name"];
  const a = "a.default.svc.cluster.local";
  assert.equal(
    two([
      { port: 8080, name: "http-b" },
      { port: 80, name: "http" },
    ]),
    `${a}:80`,
  );
  assert.equal(
    two([
      { port: 9000, name: "http-b" },
      { port: 8080, name: "http" },
    ]),
    `${a}:8080`,
  );
  assert.equal(
    two([
      { port: 9000, name: "http" },
      { port: 8080, name: "tcp" },
    ]),
    `${a}:9000`,
  );
});

test("a domain is in the table once, whatever services and VirtualServices claim it", () => {
  const set = translated(
    mesh(
      bookinfo(),
      service({ name: "default", namespace: "reviews", ports: [{ port: 9080 }], pods: [] }),
      service({ name: "x", clusterIp: "127.96.0.3", ports: [{ port: 9080 }], pods: [] }),
      {
        virtualServices: [
          virtualService(
            { name: "v" },
            { hosts: ["127.96.0.3", "*.com", "*"], http: [{ route: [to()] }] },
          ),
        ],
      },
    ),
  );
  const table = resourceJson(set, "envoy.config.route.v3.RouteConfiguration", "http_proxy") as {
    virtual_hosts: { domains: string[]; name: string }[];
  };
  const domains = table.virtual_hosts.flatMap((host) => host.domains);
  assert.equal(new Set(domains).size, domains.length);
  const names = table.virtual_hosts.map((host) => host.name);
  assert.equal(new Set(names).size, names.length);
});

test("clients are served the same table unless a VirtualService tells them apart", async () => {
  const { createTranslator } = await import("../../../../src/mesh/core/translate.ts");
  const same = createTranslator(modelOf(bookinfo()), { accessLog: false });
  assert.equal(
    same.resourcesFor(PRODUCTPAGE).get(ROUTE_TYPE)?.get("http_proxy"),
    same.resourcesFor(REVIEWS_V1).get(ROUTE_TYPE)?.get("http_proxy"),
  );
  const apart = createTranslator(
    modelOf(
      mesh(bookinfo(), {
        virtualServices: [
          virtualService(
            { name: "v" },
            {
              hosts: ["reviews"],
              http: [{ match: [{ sourceLabels: { app: "reviews" } }], route: [to()] }],
            },
          ),
        ],
      }),
    ),
    { accessLog: false },
  );
  const [a, b] = [PRODUCTPAGE, REVIEWS_V1].map((node) =>
    apart.resourcesFor(node).get(ROUTE_TYPE)?.get("http_proxy"),
  );
  assert.notEqual(a?.version, b?.version);
});

test("consistent hashing: the clusters hash, and the routes say by what, each destination's policy once", () => {
  const rule = destinationRule(
    { name: "reviews" },
    {
      host: "reviews",
      trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: "x-user" } } },
      subsets: [
        { name: "v1", labels: { version: "v1" } },
        {
          name: "v2",
          labels: { version: "v2" },
          trafficPolicy: {
            loadBalancer: {
              consistentHash: { httpQueryParameterName: "id", maglev: { tableSize: 251 } },
            },
          },
        },
      ],
    },
  );
  const routes = reviewsRoutes([{ route: [to("v1", 60), to("v2", 40)] }], { rules: [rule] });
  const byUser = { header: { header_name: "x-user" } };
  assert.deepEqual(action(routes)["hash_policy"], [byUser, { query_parameter: { name: "id" } }]);
  // A user stays on one version at the stated weight.
  const { use_hash_policy } = action(routes)["weighted_clusters"] as Json;
  assert.equal(use_hash_policy, true);
  const set = translated(mesh(bookinfo(), { destinationRules: [rule] }));
  const cluster = (name: string) =>
    resourceJson(set, "envoy.config.cluster.v3.Cluster", name) as Json;
  assert.equal(cluster(V1)["lb_policy"], "RING_HASH");
  assert.equal(cluster(V2)["lb_policy"], "MAGLEV");
  assert.deepEqual(cluster(V2)["maglev_lb_config"], { table_size: "251" });
  const plain = virtualHostJson(set, "reviews:9080")["routes"] as readonly Json[];
  assert.deepEqual(action(plain)["hash_policy"], [byUser]);
});

test("a CORS policy becomes the cors filter's configuration of the route", () => {
  const corsPolicy = {
    allowOrigins: [{ exact: "https://a.example" }],
    allowMethods: ["GET", "PUT"],
    maxAge: "10m",
    allowCredentials: false,
  };
  const [route] = reviewsRoutes([{ route: [to()], corsPolicy }]);
  assert.deepEqual(route?.["typed_per_filter_config"], {
    "envoy.filters.http.cors": {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
      allow_origin_string_match: [{ exact: "https://a.example" }],
      allow_methods: "GET,PUT",
      max_age: "600",
      allow_credentials: false,
      filter_enabled: { default_value: { numerator: 100 } },
    },
  });
});
