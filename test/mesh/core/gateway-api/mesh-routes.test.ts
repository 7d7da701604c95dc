import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptedByOurProxy } from "../support/accept.ts";
import { bookinfo, gatewayApi, mesh, service, virtualService } from "../support/objects.ts";
import { type Json, modelOf, nodeOf, translated, virtualHostJson } from "../support/translated.ts";

const VERSIONS = ["v1", "v2"].map((version) =>
  service({ name: `reviews-${version}`, ports: [{ port: 9080, name: "http" }], pods: [] }),
);
const PARENT = { group: "", kind: "Service", name: "reviews" };
const to = (version: string, weight?: number) => ({
  name: `reviews-${version}`,
  port: 9080,
  ...(weight === undefined ? {} : { weight }),
});
const route = (
  name: string,
  rules: readonly object[],
  parent: object = {},
  namespace = "default",
) =>
  gatewayApi("HTTPRoute", { name, namespace }, { parentRefs: [{ ...PARENT, ...parent }], rules });
const meshOf = (...httpRoutes: ReturnType<typeof route>[]) =>
  mesh(bookinfo(), ...VERSIONS, { httpRoutes });
const clusterOf = (version: string) =>
  `outbound|9080||reviews-${version}.default.svc.cluster.local`;

/** Where the requests of each route of reviews:9080 go. */
function targetsOf(objects: ReturnType<typeof mesh>, ...client: Parameters<typeof nodeOf> | []) {
  const set = client.length === 0 ? translated(objects) : translated(objects, nodeOf(...client));
  acceptedByOurProxy(set);
  const domain = "reviews.default.svc.cluster.local:9080";
  const { routes } = virtualHostJson(set, domain) as { readonly routes: readonly Json[] };
  return routes.map(({ route, direct_response }) => {
    const { cluster, weighted_clusters } = (route ?? {}) as Json & {
      weighted_clusters?: { clusters: readonly { name: string; weight: number }[] };
    };
    const weighted = weighted_clusters?.clusters.map(({ name, weight }) => `${weight} ${name}`);
    return weighted ?? cluster ?? direct_response;
  });
}

test("an HTTPRoute of a Service splits its requests by weight", () => {
  const objects = meshOf(route("split", [{ backendRefs: [to("v1", 90), to("v2", 10)] }]));
  assert.deepEqual(targetsOf(objects), [[`90 ${clusterOf("v1")}`, `10 ${clusterOf("v2")}`]]);
  assert.deepEqual(modelOf(objects).problems, []);
});

test("several routes of a Service are one table in order of precedence", () => {
  const objects = meshOf(
    route("rest", [{ backendRefs: [to("v1")] }]),
    route("jason", [
      { matches: [{ headers: [{ name: "user", value: "jason" }] }], backendRefs: [to("v2")] },
    ]),
  );
  assert.deepEqual(targetsOf(objects), [clusterOf("v2"), clusterOf("v1")]);
});

test("a route of one port leaves the others as they are", () => {
  const own = "outbound|9080||reviews.default.svc.cluster.local";
  const two = service({
    name: "reviews",
    ports: [
      { port: 9080, name: "http" },
      { port: 81, name: "http-other" },
    ],
    pods: [],
  });
  const at = (port: number) =>
    mesh(two, ...VERSIONS, {
      httpRoutes: [route("r", [{ backendRefs: [to("v2")] }], { port })],
    });
  assert.deepEqual(targetsOf(at(9080)), [clusterOf("v2")]);
  assert.deepEqual(targetsOf(at(81)), [own]);
});

test("a consumer's route counts in its own namespace, in place of the producer's", () => {
  const objects = meshOf(
    route("producer", [{ backendRefs: [to("v1")] }]),
    route(
      "consumer",
      [{ backendRefs: [{ ...to("v2"), namespace: "default" }] }],
      { namespace: "default" },
      "client",
    ),
  );
  assert.deepEqual(targetsOf(objects), [clusterOf("v1")]);
  const client = ["curl-1-a", "127.16.0.8", { NAMESPACE: "client" }] as const;
  assert.deepEqual(targetsOf(objects, ...client), [clusterOf("v2")]);
});

test("without a backend requests get 500; a VirtualService of the host comes first", () => {
  const nowhere = route("r", [{ backendRefs: [{ name: "gone", port: 1 }] }]);
  assert.deepEqual(targetsOf(meshOf(nowhere)), [{ status: 500 }]);
  const both = mesh(meshOf(nowhere), {
    virtualServices: [
      virtualService(
        { name: "vs" },
        { hosts: ["reviews"], http: [{ route: [{ destination: { host: "reviews-v1" } }] }] },
      ),
    ],
  });
  assert.deepEqual(targetsOf(both), [clusterOf("v1")]);
});

test("a GRPCRoute and a TCPRoute of a Service", () => {
  const spec = { parentRefs: [PARENT] };
  const objects = mesh(meshOf(), {
    grpcRoutes: [
      gatewayApi(
        "GRPCRoute",
        { name: "g" },
        {
          ...spec,
          rules: [{ matches: [{ method: { service: "a.B" } }], backendRefs: [to("v2")] }],
        },
      ),
    ],
    tcpRoutes: [
      gatewayApi("TCPRoute", { name: "t" }, { ...spec, rules: [{ backendRefs: [to("v1")] }] }),
    ],
  });
  const [made] = modelOf(objects).virtualServices;
  assert.deepEqual(targetsOf(objects), [clusterOf("v2")]);
  assert.deepEqual(made?.tcp, [
    {
      route: [
        {
          destination: { host: "reviews-v1.default.svc.cluster.local", port: { number: 9080 } },
          weight: 1,
        },
      ],
    },
  ]);
});
