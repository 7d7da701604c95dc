import assert from "node:assert/strict";
import { test } from "node:test";
import { createDataPlane } from "../../../../src/cli/explain/data-plane.ts";
import { type Explanation, explain } from "../../../../src/mesh/core/explain/explain.ts";
import { viewFor } from "../../../../src/mesh/core/explain/tls-check.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { bookinfo, gatewayApi, kubernetesGateway, mesh, service } from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

const GATEWAY_POD = {
  name: "web-serin-1-a",
  ip: "127.16.0.99",
  labels: { "gateway.networking.k8s.io/gateway-name": "web" },
  hasSidecar: false,
};
const to = (name: string, weight = 1) => ({ name, port: 9080, weight });
const path = (value: string) => [{ path: { type: "PathPrefix", value } }];
const OBJECTS = mesh(
  bookinfo(),
  service({ name: "web-serin", ports: [{ port: 80, name: "http" }], pods: [GATEWAY_POD] }),
  kubernetesGateway({ name: "web" }, [{ name: "http", port: 80, protocol: "HTTP" }]),
  {
    httpRoutes: [
      gatewayApi(
        "HTTPRoute",
        { name: "shop" },
        {
          parentRefs: [{ name: "web" }],
          hostnames: ["shop.example.com", "other.example.com"],
          rules: [
            { matches: path("/"), backendRefs: [to("productpage")] },
            { name: "reviews", matches: path("/reviews"), backendRefs: [to("reviews")] },
            { matches: path("/half"), backendRefs: [to("productpage"), to("gone")] },
            { matches: path("/none"), backendRefs: [to("gone")] },
          ],
        },
      ),
      gatewayApi(
        "HTTPRoute",
        { name: "inside" },
        {
          parentRefs: [{ group: "", kind: "Service", name: "reviews" }],
          rules: [{ matches: path("/reviews"), backendRefs: [to("productpage")] }],
        },
      ),
    ],
  },
);

function explained(objects: MeshObjects, client: string, authority: string, target: string) {
  const model = modelOf(objects);
  const source = model.workloads.get(`default/${client}`);
  assert.ok(source !== undefined);
  return explain({
    ...{ source, view: viewFor(model, source), claims: undefined, sourcePrincipal: undefined },
    request: { method: "GET", authority, target, scheme: "http", headers: [] },
    isRedirected: false,
    dataPlane: createDataPlane(() => false, 0),
    healthOf: () => undefined,
  });
}

const outcomesOf = ({ outcomes }: Explanation): readonly string[] =>
  outcomes.map(({ sharePercent, status, workload }) =>
    [sharePercent, status ?? "closed", workload ?? "-"].join(" "),
  );

const ROWS: readonly (readonly [string, RegExp, readonly string[]])[] = [
  ["/reviews/1", /^rule reviews of HTTPRoute default\/shop is the first/, ["application"]],
  ["/reviewsfold", /^rule 0 of HTTPRoute default\/shop/, ["100 application productpage-v1"]],
  ["/none", /^rule 3 of HTTPRoute default\/shop/, ["100 500 -"]],
  ["/half", /^rule 2 of HTTPRoute/, ["50 application productpage-v1", "50 500 -"]],
];
for (const host of ["shop.example.com", "other.example.com"]) {
  for (const [target, reason, outcomes] of ROWS) {
    test(`a request for ${host}${target} at a Gateway of Gateway API`, () => {
      const found = explained(OBJECTS, GATEWAY_POD.name, host, target);
      assert.match(found.route.reason, reason);
      assert.equal(found.route.virtualService, "default/shop");
      const all = outcomesOf(found);
      if (outcomes[0] === "application") assert.match(all.join(), /application reviews-v1/);
      else assert.deepEqual([...all].sort(), [...outcomes].sort());
    });
  }
}

test("a match by whole segments in words", () => {
  const found = explained(OBJECTS, GATEWAY_POD.name, "shop.example.com", "/reviewsfold");
  const tried = found.route.tried.find(({ match }) => match.startsWith("rule reviews"));
  assert.deepEqual(tried?.reasons, ['path is /reviews or below it (found "/reviewsfold")']);
});

test("a route of a Service", () => {
  const client = "productpage-v1-6b4c8d7f9-qwert";
  const found = explained(OBJECTS, client, "reviews:9080", "/reviews/1");
  assert.match(found.route.reason, /^rule 0 of HTTPRoute default\/inside is the first/);
  assert.deepEqual(outcomesOf(found), ["100 application productpage-v1"]);
  const none = explained(OBJECTS, client, "reviews:9080", "/other");
  assert.match(none.route.reason, /^no rule of HTTPRoute default\/inside matches/);
});
