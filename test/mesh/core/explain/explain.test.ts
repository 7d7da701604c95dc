import assert from "node:assert/strict";
import { test } from "node:test";
import { createDataPlane } from "../../../../src/cli/explain/data-plane.ts";
import { type Explanation, explain } from "../../../../src/mesh/core/explain/explain.ts";
import type { Question } from "../../../../src/mesh/core/explain/question.ts";
import { viewFor } from "../../../../src/mesh/core/explain/tls-check.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import {
  authorizationPolicy,
  bookinfo,
  destinationRule,
  gateway,
  mesh,
  meshConfig,
  peerAuthentication,
  requestAuthentication,
  service,
  virtualService,
} from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

interface Asked {
  readonly scheme?: "https";
  readonly to?: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly principal?: string;
  readonly client?: string;
  readonly healthOf?: Question["healthOf"];
  readonly isRedirected?: boolean;
}

function explained(objects: MeshObjects, asked: Asked = {}): Explanation {
  const model = modelOf(objects);
  const source = model.workloads.get(asked.client ?? "default/productpage-v1-6b4c8d7f9-qwert");
  assert.ok(source !== undefined);
  return explain({
    source,
    view: viewFor(model, source),
    request: {
      method: asked.method ?? "GET",
      authority: asked.to ?? "reviews:9080",
      target: asked.path ?? "/reviews/1",
      scheme: asked.scheme ?? "http",
      headers: Object.entries(asked.headers ?? {}),
    },
    isRedirected: asked.isRedirected ?? false,
    claims: asked.claims,
    sourcePrincipal: asked.principal,
    dataPlane: createDataPlane(() => false, 0),
    healthOf: asked.healthOf ?? (() => undefined),
  });
}

/** `share status workload` of every outcome. */
function outcomesOf({ outcomes }: Explanation): readonly string[] {
  return outcomes.map(({ sharePercent, status, workload }) =>
    [sharePercent, status ?? "closed", workload ?? "-"].join(" "),
  );
}

const subsets = ["v1", "v2", "v3"].map((name) => ({ name, labels: { version: name } }));
const rules = (spec: object = {}): Partial<MeshObjects> => ({
  destinationRules: [destinationRule({ name: "reviews" }, { host: "reviews", subsets, ...spec })],
});
const routes = (...http: readonly object[]): Partial<MeshObjects> => ({
  virtualServices: [virtualService({ name: "reviews" }, { hosts: ["reviews"], http })],
});
const to = (subset: string, weight?: number): object => ({
  destination: { host: "reviews", subset },
  ...(weight === undefined ? {} : { weight }),
});
const policies = (...all: readonly (readonly [name: string, spec: object])[]) => ({
  authorizationPolicies: all.map(([name, spec]) => authorizationPolicy({ name }, spec)),
});
const STRICT: Partial<MeshObjects> = {
  peerAuthentications: [peerAuthentication({ name: "default" }, { mtls: { mode: "STRICT" } })],
};
const PLAIN = { trafficPolicy: { tls: { mode: "DISABLE" } } };
const JASON = { match: [{ headers: { user: { exact: "jason" } } }], route: [to("v2")] };

const THIRDS = [
  "33.33 application reviews-v1",
  "33.33 application reviews-v2",
  "33.33 application reviews-v3",
];

const ROWS: readonly {
  readonly what: string;
  readonly mesh?: readonly Partial<MeshObjects>[];
  readonly asked?: Asked;
  readonly reason?: RegExp;
  readonly outcomes: readonly string[];
}[] = [
  {
    what: "a service without rules shares requests over its pods",
    reason: /no VirtualService is for reviews\.default/,
    outcomes: THIRDS,
  },
  {
    what: "weights divide, and endpoints share what their subset gets",
    mesh: [rules(), routes({ route: [to("v1", 90), to("v2", 10)] })],
    reason: /http\[0\] of VirtualService default\/reviews/,
    outcomes: ["90 application reviews-v1", "10 application reviews-v2"],
  },
  {
    what: "weights need not add up to a hundred",
    mesh: [rules(), routes({ route: [to("v1", 1), to("v2", 3)] })],
    outcomes: ["75 application reviews-v2", "25 application reviews-v1"],
  },
  {
    what: "a header leads to its rule",
    mesh: [rules(), routes(JASON, { route: [to("v1")] })],
    asked: { headers: { user: "jason" } },
    reason: /http\[0\]\.match\[0\]/,
    outcomes: ["100 application reviews-v2"],
  },
  {
    what: "another value leads to the next",
    mesh: [rules(), routes(JASON, { route: [to("v1")] })],
    asked: { headers: { user: "bob" } },
    reason: /http\[1\]/,
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "a rule for other callers is none for this one",
    mesh: [
      rules(),
      routes(
        { match: [{ sourceLabels: { app: "ratings" } }], route: [to("v3")] },
        { route: [to("v1")] },
      ),
    ],
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "no rule that matches is 404",
    mesh: [rules(), routes({ match: [{ uri: { prefix: "/api" } }], route: [to("v1")] })],
    reason: /no rule of VirtualService default\/reviews matches/,
    outcomes: ["100 404 -"],
  },
  {
    what: "a redirect and an answer of the route's own",
    mesh: [
      routes(
        { match: [{ uri: { exact: "/old" } }], redirect: { uri: "/new", redirectCode: 302 } },
        { directResponse: { status: 418 } },
      ),
    ],
    asked: { path: "/old" },
    outcomes: ["100 302 -"],
  },
  {
    what: "an abort takes its share before anything is sent",
    mesh: [
      rules(),
      routes({
        fault: { abort: { percentage: { value: 25 }, httpStatus: 503 } },
        route: [to("v1")],
      }),
    ],
    outcomes: ["75 application reviews-v1", "25 503 -"],
  },
  {
    what: "a subset that nobody defines is 503",
    mesh: [rules(), routes({ route: [to("v9")] })],
    outcomes: ["100 503 -"],
  },
  {
    what: "a subset without pods is 503",
    mesh: [
      rules({ subsets: [{ name: "v4", labels: { version: "v4" } }] }),
      routes({ route: [to("v4")] }),
    ],
    outcomes: ["100 503 -"],
  },
  {
    what: "a host that nobody knows is passed on",
    asked: { to: "www.example.com" },
    reason: /no service of the mesh that default may see is called www\.example\.com/,
    outcomes: ["100 application -"],
  },
  {
    what: "a host without a port means the service's only one to an application that is told of its proxy",
    asked: { to: "reviews" },
    outcomes: THIRDS,
  },
  {
    what: "and port 80 to one that connects by itself",
    asked: { to: "reviews", isRedirected: true },
    reason: /^reviews:80 is no port of the service reviews, which has 9080$/,
    outcomes: ["100 application -"],
  },
  {
    what: "a host that nobody knows is refused where only known ones are allowed",
    mesh: [{ meshConfigs: [meshConfig({ outboundTrafficPolicy: { mode: "REGISTRY_ONLY" } })] }],
    asked: { to: "www.example.com" },
    outcomes: ["100 502 -"],
  },
  {
    what: "plain text to STRICT gets 503 from the caller's own proxy",
    mesh: [STRICT, rules(PLAIN), routes({ route: [to("v1")] })],
    outcomes: ["100 503 reviews-v1"],
  },
  {
    what: "deny-all denies",
    mesh: [rules(), routes({ route: [to("v1")] }), policies(["deny-all", {}])],
    outcomes: ["100 403 reviews-v1"],
  },
  {
    what: "DENY comes before ALLOW",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      policies(
        ["a", { rules: [{}] }],
        ["b", { action: "DENY", rules: [{ to: [{ operation: { paths: ["/reviews/*"] } }] }] }],
      ),
    ],
    outcomes: ["100 403 reviews-v1"],
  },
  {
    what: "a principal is known over mutual TLS",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      policies([
        "a",
        {
          rules: [
            {
              from: [
                { source: { principals: ["cluster.local/ns/default/sa/bookinfo-productpage"] } },
              ],
            },
          ],
        },
      ]),
    ],
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "over plain text nobody is anybody",
    mesh: [
      rules(PLAIN),
      routes({ route: [to("v1")] }),
      policies([
        "a",
        {
          rules: [
            {
              from: [
                { source: { principals: ["cluster.local/ns/default/sa/bookinfo-productpage"] } },
              ],
            },
          ],
        },
      ]),
    ],
    outcomes: ["100 403 reviews-v1"],
  },
  {
    what: "somebody else's principal",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      policies([
        "a",
        { rules: [{ from: [{ source: { principals: ["cluster.local/ns/shop/sa/cart"] } }] }] },
      ]),
    ],
    asked: { principal: "cluster.local/ns/shop/sa/cart" },
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "a policy for some pods denies their share",
    mesh: [
      rules(),
      routes({ route: [to("v1", 50), to("v2", 50)] }),
      policies([
        "a",
        { selector: { matchLabels: { version: "v2" } }, action: "DENY", rules: [{}] },
      ]),
    ],
    outcomes: ["50 application reviews-v1", "50 403 reviews-v2"],
  },
  {
    what: "authorization sees the path as the route rewrites it",
    mesh: [
      rules(),
      routes({
        match: [{ uri: { prefix: "/api" } }],
        rewrite: { uri: "/reviews" },
        route: [to("v1")],
      }),
      policies(["a", { rules: [{ to: [{ operation: { paths: ["/reviews/*"] } }] }] }]),
    ],
    asked: { path: "/api/1" },
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "and headers as the route sets them",
    mesh: [
      rules(),
      routes({ headers: { request: { set: { "x-tier": "gold" } } }, route: [to("v1")] }),
      policies([
        "a",
        { rules: [{ when: [{ key: "request.headers[x-tier]", values: ["gold"] }] }] },
      ]),
    ],
    asked: { headers: { "x-tier": "lead" } },
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "paths are brought into one form before anybody looks at them",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      policies(["a", { action: "DENY", rules: [{ to: [{ operation: { paths: ["/admin"] } }] }] }]),
    ],
    asked: { path: "/x/../%61dmin" },
    outcomes: ["100 403 reviews-v1"],
  },
  {
    what: "claims count where a RequestAuthentication looks at tokens",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      {
        requestAuthentications: [
          requestAuthentication(
            { name: "jwt" },
            { jwtRules: [{ issuer: "i", jwks: '{"keys":[]}' }] },
          ),
        ],
      },
      policies([
        "a",
        { rules: [{ when: [{ key: "request.auth.claims[role]", values: ["admin"] }] }] },
      ]),
    ],
    asked: { claims: { role: ["dev", "admin"] } },
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "and not elsewhere",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      policies([
        "a",
        { rules: [{ when: [{ key: "request.auth.claims[role]", values: ["admin"] }] }] },
      ]),
    ],
    asked: { claims: { role: ["dev", "admin"] } },
    outcomes: ["100 403 reviews-v1"],
  },
  {
    what: "a token that is none is 401",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      {
        requestAuthentications: [
          requestAuthentication(
            { name: "jwt" },
            { jwtRules: [{ issuer: "i", jwks: '{"keys":[]}' }] },
          ),
        ],
      },
    ],
    asked: { headers: { authorization: "Bearer a.b.c" } },
    outcomes: ["100 401 reviews-v1"],
  },
  {
    what: "a policy on trial decides nothing",
    mesh: [
      rules(),
      routes({ route: [to("v1")] }),
      {
        authorizationPolicies: [
          authorizationPolicy(
            { name: "a", annotations: { "istio.io/dry-run": "true" } },
            { action: "DENY", rules: [{}] },
          ),
        ],
      },
    ],
    outcomes: ["100 application reviews-v1"],
  },
  {
    what: "an ejected endpoint gets nothing",
    mesh: [rules({ trafficPolicy: { outlierDetection: { maxEjectionPercent: 100 } } })],
    asked: {
      healthOf: (_cluster, address) => (address === "127.16.0.3:9080" ? "EJECTED" : "HEALTHY"),
    },
    outcomes: ["50 application reviews-v2", "50 application reviews-v3"],
  },
  {
    what: "a caller without sidecar goes to an endpoint, in plain text, whatever the rules say",
    mesh: [
      service({
        name: "old",
        ports: [],
        pods: [{ name: "old-1-a", ip: "127.16.0.90", hasSidecar: false }],
      }),
      rules(),
      routes({ route: [to("v1")] }),
    ],
    asked: { client: "default/old-1-a" },
    reason: /the caller has no sidecar/,
    outcomes: THIRDS,
  },
];

for (const { what, mesh: parts = [], asked, reason, outcomes } of ROWS) {
  test(what, () => {
    const found = explained(mesh(bookinfo(), ...parts), asked);
    assert.deepEqual(outcomesOf(found), outcomes, JSON.stringify(found.outcomes, undefined, 1));
    if (reason !== undefined) assert.match(found.route.reason, reason);
    const sum = found.outcomes.reduce((total, { sharePercent }) => total + sharePercent, 0);
    assert.ok(Math.abs(sum - 100) < 0.1, `shares add up to ${sum}`);
  });
}

test("requests with the same hash go to one endpoint, whatever the order of addresses", () => {
  const hashed = (loadBalancer: object) => rules({ trafficPolicy: { loadBalancer } });
  for (const consistentHash of [
    { httpHeaderName: "user" },
    { httpHeaderName: "user", maglev: { tableSize: 1021 } },
    { httpQueryParameterName: "user" },
  ]) {
    const objects = mesh(bookinfo(), hashed({ consistentHash }));
    const asked = (user: string): Asked => ({
      headers: { user },
      path: `/reviews/1?user=${user}`,
    });
    const users = Array.from({ length: 40 }, (_, i) => `user-${i}`);
    const found = users.map((user) => outcomesOf(explained(objects, asked(user))));
    const isOne = found.every((each) => each.length === 1 && each[0]?.startsWith("100 "));
    assert.ok(isOne, JSON.stringify([consistentHash, found[0]]));
    assert.equal(new Set(found.flat()).size, 3, "and others to others");
    assert.equal(outcomesOf(explained(objects)).length, 3, "without it any will do");
  }
});

const INGRESS: Partial<MeshObjects> = mesh(
  service({
    name: "ingress",
    namespace: "istio-system",
    ports: [{ port: 80, name: "http" }],
    pods: [
      {
        name: "ingress-1-a",
        namespace: "istio-system",
        ip: "127.16.0.99",
        labels: { istio: "ingressgateway" },
        hasSidecar: false,
      },
    ],
  }),
  {
    gateways: [
      gateway(
        { name: "own" },
        {
          selector: { istio: "ingressgateway" },
          servers: [
            { port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["shop.example.com"] },
            {
              port: { number: 8080, name: "old", protocol: "HTTP" },
              hosts: ["shop.example.com"],
              tls: { httpsRedirect: true },
            },
          ],
        },
      ),
    ],
    virtualServices: [
      virtualService(
        { name: "rest" },
        {
          hosts: ["shop.example.com"],
          gateways: ["own"],
          http: [
            { match: [{ uri: { prefix: "/api" } }], route: [to("v2")] },
            { route: [to("v1")] },
          ],
        },
      ),
      virtualService(
        { name: "shop", createdAt: "2026-02-01T00:00:00Z" },
        {
          hosts: ["shop.example.com"],
          gateways: ["own"],
          http: [
            { match: [{ uri: { exact: "/a" } }, { uri: { exact: "/b" } }], route: [to("v3")] },
          ],
        },
      ),
    ],
  },
  rules(),
);

const GATEWAY_ROWS: readonly (readonly [
  what: string,
  asked: Asked,
  reason: RegExp,
  outcomes: readonly string[],
])[] = [
  [
    "the first rule",
    { path: "/api/x" },
    /^http\[0\]\.match\[0\] of VirtualService default\/rest/,
    ["100 application reviews-v2"],
  ],
  [
    "another VirtualService's rule before what catches all",
    { path: "/b" },
    /^http\[0\]\.match\[1\] of VirtualService default\/shop/,
    ["100 application reviews-v3"],
  ],
  [
    "what catches all comes last",
    { path: "/c" },
    /^http\[1\] of VirtualService default\/rest/,
    ["100 application reviews-v1"],
  ],
  [
    "another host",
    { to: "other.example.com" },
    /no VirtualService that is bound to a Gateway of this pod/,
    ["100 404 -"],
  ],
  [
    "a port that sends on to https",
    { to: "shop.example.com:8080" },
    /sends plain HTTP on to https/,
    ["100 301 -"],
  ],
  [
    "a port that nobody has",
    { to: "shop.example.com:81" },
    /listens on port 81 \(there is 80, 8080\)/,
    ["100 closed -"],
  ],
  ["TLS, which this one has not", { scheme: "https" }, /listens on port 443/, ["100 closed -"]],
];

for (const [what, asked, reason, outcomes] of GATEWAY_ROWS) {
  test(`a request at an ingress gateway: ${what}`, () => {
    const client = "istio-system/ingress-1-a";
    const found = explained(mesh(bookinfo(), INGRESS, STRICT), {
      to: "shop.example.com",
      client,
      ...asked,
    });
    assert.match(found.route.reason, reason);
    assert.deepEqual(outcomesOf(found), outcomes);
  });
}

test("a gateway's own policies count before its routes", () => {
  const deny = authorizationPolicy(
    { name: "no-admin", namespace: "istio-system" },
    {
      selector: { matchLabels: { istio: "ingressgateway" } },
      action: "DENY",
      rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }],
    },
  );
  const objects = mesh(bookinfo(), INGRESS, { authorizationPolicies: [deny] });
  const asked = { to: "shop.example.com", client: "istio-system/ingress-1-a" };
  const refused = explained(objects, { ...asked, path: "/admin/x" });
  assert.deepEqual(outcomesOf(refused), ["100 403 -"]);
  assert.match(refused.outcomes[0]?.reason ?? "", /^the gateway: DENY: .*istio-system\/no-admin/);
  const taken = explained(objects, { ...asked, path: "/api" });
  assert.deepEqual(outcomesOf(taken), ["100 application reviews-v2"]);
  assert.equal(taken.source.access?.isAllowed, true);
});

test("says of every match block why it is not the one", () => {
  const found = explained(
    mesh(
      bookinfo(),
      rules(),
      routes(
        {
          name: "beta",
          match: [
            { uri: { prefix: "/v2" }, headers: { user: { exact: "jason" } } },
            { method: { exact: "POST" }, name: "write" },
          ],
          route: [to("v2")],
        },
        { match: [{ sourceNamespace: "shop" }], route: [to("v2")] },
        {
          match: [{ queryParams: { debug: {} } }, { withoutHeaders: { user: {} } }],
          route: [to("v2")],
        },
        { route: [to("v1")] },
        { match: [{ uri: { exact: "/x" } }], route: [to("v3")] },
      ),
    ),
    { headers: { user: "bob" } },
  );
  assert.deepEqual(
    found.route.tried.map(({ match, result, reasons }) => [match, result, ...reasons]),
    [
      [
        "http[0].match[0] (beta)",
        "no match",
        'path begins with /v2 (found "/reviews/1")',
        'header user is jason (found "bob")',
      ],
      ["http[0].match[1] (beta.write)", "no match", 'method is POST (found "GET")'],
      ["http[1].match[0]", "not for this caller", "only for callers of namespace shop"],
      ["http[2].match[0]", "no match", "query parameter debug is present (found nothing)"],
      ["http[2].match[1]", "no match", 'not header user is present (found "bob")'],
      ["http[3]", "matched"],
      ["http[4].match[0]", "not for this caller", "never reached: http[3] takes every request"],
    ],
  );
});

test("tells what the route and the cluster do", () => {
  const found = explained(
    mesh(
      bookinfo(),
      rules({
        trafficPolicy: {
          loadBalancer: { consistentHash: { httpHeaderName: "user" } },
          connectionPool: { tcp: { maxConnections: 100 }, http: { http1MaxPendingRequests: 10 } },
          outlierDetection: { consecutive5xxErrors: 3, interval: "5s", maxEjectionPercent: 50 },
        },
      }),
      routes({
        timeout: "3s",
        retries: { attempts: 4, perTryTimeout: "1s", retryOn: "5xx" },
        fault: { delay: { percentage: { value: 10 }, fixedDelay: "5s" } },
        mirror: { host: "reviews", subset: "v3" },
        mirrorPercentage: { value: 50 },
        rewrite: { authority: "inside" },
        route: [to("v1")],
      }),
    ),
  );
  const { route, destinations } = found;
  assert.deepEqual(
    [route.timeoutMs, route.retries, route.fault, route.mirrors, route.hashedBy],
    [
      3000,
      { attempts: 4, on: "5xx", perTryTimeoutMs: 1000 },
      { delay: { percent: 10, delayMs: 5000 }, abort: undefined },
      [{ cluster: "outbound|9080|v3|reviews.default.svc.cluster.local", percent: 50 }],
      ["header user"],
    ],
  );
  assert.equal(route.rewrittenHost, "inside");
  const [destination] = destinations;
  assert.equal(destination?.loadBalancer, "RING_HASH");
  assert.deepEqual(destination?.limits, { maxConnections: 100, maxPendingRequests: 10 });
  assert.deepEqual(destination?.outlierDetection, {
    consecutive5xx: 3,
    consecutiveGatewayErrors: 0,
    intervalMs: 5000,
    baseEjectionTimeMs: 30_000,
    maxEjectionPercent: 50,
  });
});

const WARNINGS: readonly (readonly [
  what: string,
  parts: readonly Partial<MeshObjects>[],
  message: RegExp,
  asked?: Asked,
])[] = [
  [
    "consecutiveErrors",
    [
      rules({
        trafficPolicy: { outlierDetection: { consecutiveErrors: 3, maxEjectionPercent: 100 } },
      }),
    ],
    /^DestinationRule default\/reviews: .*consecutiveErrors is deprecated.*consecutive5xxErrors: 3$/,
  ],
  [
    "a cap that ejects nobody",
    [rules({ trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3 } } })],
    /can eject nobody: maxEjectionPercent 10 of 3 endpoints are less than one/,
  ],
  [
    "a fault without percentage",
    [rules(), routes({ fault: { delay: { fixedDelay: "5s" } }, route: [to("v1")] })],
    /^VirtualService default\/reviews: http\[0\]\.fault\.delay has no percentage/,
  ],
  [
    "an abort without percentage",
    [rules(), routes({ fault: { abort: { httpStatus: 500 } }, route: [to("v1")] })],
    /http\[0\]\.fault\.abort has no percentage/,
  ],
  [
    "a rule that is never reached",
    [rules(), routes({ route: [to("v1")] }, { route: [to("v2")] })],
    /http\[1\] is never reached/,
  ],
  [
    "a header that Istio ignores",
    [rules(), routes({ match: [{ headers: { uri: { exact: "/x" } } }], route: [to("v1")] })],
    /http\[0\]\.match\[0\]\.headers\.uri is ignored/,
  ],
  [
    "a missing subset",
    [rules(), routes({ route: [to("v9")] })],
    /names subset v9, which no DestinationRule defines/,
  ],
  [
    "a subset without pods",
    [
      rules({ subsets: [{ name: "v4", labels: { version: "v4" } }] }),
      routes({ route: [to("v4")] }),
    ],
    /subset v4: no pod has its labels/,
  ],
  [
    "an empty policy",
    [policies(["deny-all", {}])],
    /^AuthorizationPolicy default\/deny-all: it has no rules, so it allows nothing/,
  ],
  [
    "a principal over plain text",
    [rules(PLAIN), policies(["a", { rules: [{ from: [{ source: { principals: ["x"] } }] }] }])],
    /^AuthorizationPolicy default\/a: rules\[0\] asks who the caller is/,
  ],
  [
    "a selector in the root namespace",
    [
      {
        peerAuthentications: [
          peerAuthentication(
            { name: "p", namespace: "istio-system" },
            { selector: { matchLabels: { app: "reviews" } }, mtls: { mode: "STRICT" } },
          ),
        ],
      },
    ],
    /^PeerAuthentication istio-system\/p: it has a selector/,
  ],
  [
    "claims that nobody looks at",
    [],
    /^workload default\/reviews-v1: no RequestAuthentication applies/,
    { claims: { role: "x" } },
  ],
  [
    "a token whose keys are elsewhere",
    [
      {
        requestAuthentications: [
          requestAuthentication(
            { name: "jwt" },
            { jwtRules: [{ issuer: "i", jwksUri: "https://example.com/keys" }] },
          ),
        ],
      },
    ],
    /^RequestAuthentication default\/jwt: its keys are behind a URL/,
    { headers: { authorization: "Bearer a.b.c" } },
  ],
  [
    "a port that says no protocol",
    [service({ name: "odd", ports: [{ port: 7000, name: "stuff" }], pods: [] })],
    /^Service default\/odd: port 7000 is named stuff/,
    { to: "odd:7000" },
  ],
  [
    "an unsupported action",
    [policies(["ext", { action: "CUSTOM", provider: { name: "x" }, rules: [{}] }])],
    /^AuthorizationPolicy default\/ext: action CUSTOM/,
  ],
];

for (const [what, parts, message, asked] of WARNINGS) {
  test(`warns of ${what}, and does not without it`, () => {
    const texts = explained(mesh(bookinfo(), ...parts), asked).warnings.map(
      ({ about, message: text }) => `${about}: ${text}`,
    );
    assert.ok(
      texts.some((text) => message.test(text)),
      texts.join("\n"),
    );
    assert.equal(new Set(texts).size, texts.length, "each is told once");
    assert.deepEqual(explained(bookinfo()).warnings, []);
  });
}
