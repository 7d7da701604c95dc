import assert from "node:assert/strict";
import { test } from "node:test";
import { bookinfo, destinationRule, mesh, meshConfig, virtualService } from "../support/objects.ts";
import { modelOf, reviewsRoutes } from "../support/translated.ts";

const route = [{ destination: { host: "reviews" } }];
const said = (objects: object): string =>
  modelOf(mesh(bookinfo(), objects))
    .problems.map(({ message }) => message)
    .join("\n");
const ofService = (spec: object): string =>
  said({ virtualServices: [virtualService({ name: "v" }, { hosts: ["reviews"], ...spec })] });
const ofRule = (trafficPolicy: object): string =>
  said({
    destinationRules: [destinationRule({ name: "r" }, { host: "reviews", trafficPolicy })],
  });

for (const [what, text, expected] of [
  [
    "every host of the mesh",
    ofService({ hosts: ["*"], http: [{ route }] }),
    /wildcard host \* is not allowed/,
  ],
  [
    "a claim in a route",
    ofService({
      http: [{ match: [{ headers: { "@request.auth.claims.a": { exact: "b" } } }], route }],
    }),
    /is not a header name/,
  ],
  [
    "a statistics prefix",
    ofService({ http: [{ match: [{ statPrefix: "a" }], route }] }),
    /match\[0\]\.statPrefix has no effect/,
  ],
  ["tcp for sidecars", ofService({ tcp: [{ route }] }), /spec\.tcp has no effect on sidecars/],
  [
    "a tunnel",
    ofRule({ tunnel: { targetHost: "a.com", targetPort: 1 } }),
    /trafficPolicy\.tunnel has no effect/,
  ],
  [
    "failover that nobody would notice the need of",
    ofRule({ loadBalancer: { localityLbSetting: { failover: [{ from: "a", to: "b" }] } } }),
    /no effect without outlierDetection/,
  ],
  [
    "a credential for every sidecar",
    ofRule({ tls: { mode: "SIMPLE", credentialName: "a" } }),
    /without a workloadSelector sidecars answer 503/,
  ],
  [
    "a setting of the mesh",
    said({ meshConfigs: [meshConfig({ enableTracing: true })] }),
    /mesh: enableTracing has no effect/,
  ],
] as const) {
  test(`what does not happen is said: ${what}`, () => {
    assert.match(text, expected);
  });
}

test("nothing is said of a VirtualService for every host of a gateway", () => {
  assert.equal(ofService({ hosts: ["*"], gateways: ["g"], http: [{ route }] }), "");
});

test("a suffix is matched as one, of paths and headers, and does not end the list", () => {
  const routes = reviewsRoutes([
    { match: [{ uri: { suffix: ".js+" } }], route },
    { match: [{ headers: { user: { suffix: "son" } } }], route },
    { route },
  ]);
  assert.deepEqual(
    routes.map(({ match }) => match),
    [
      { safe_regex: { regex: ".*\\.js\\+" } },
      { prefix: "/", headers: [{ name: "user", string_match: { suffix: "son" } }] },
      { prefix: "/" },
    ],
  );
});
