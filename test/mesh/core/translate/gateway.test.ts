import assert from "node:assert/strict";
import { test } from "node:test";
import { LISTENER_TYPE, ROUTE_TYPE } from "../../../../src/xds/index.ts";
import { findTool, skipWithout } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, namesOf, resourceJson } from "../support/accept.ts";
import { bookinfo, gateway, mesh, service, virtualService } from "../support/objects.ts";
import { type Json, nodeOf, translated } from "../support/translated.ts";

const POD = "istio-ingressgateway-7d9-x";
const NODE = nodeOf(
  POD,
  "127.16.0.9",
  { NAMESPACE: "istio-system", LABELS: { istio: "ingressgateway" }, HTTP_PROXY_PORT: "" },
  "router",
);
const server = (hosts: readonly string[], more: object = {}) => ({
  port: { number: 80, name: "http", protocol: "HTTP" },
  hosts,
  ...more,
});
const of = (servers: readonly object[], name = "bookinfo-gateway", namespace = "default") =>
  gateway({ name, namespace }, { selector: { istio: "ingressgateway" }, servers });
const bookinfoService = virtualService(
  { name: "bookinfo" },
  {
    hosts: ["*"],
    gateways: ["bookinfo-gateway"],
    http: [
      {
        match: [{ uri: { exact: "/productpage" } }, { uri: { prefix: "/static" } }],
        route: [{ destination: { host: "productpage", port: { number: 9080 } } }],
      },
    ],
  },
);
const routes = (set: ReturnType<typeof translated>, name = "http.80") =>
  resourceJson(set, "envoy.config.route.v3.RouteConfiguration", name) as {
    virtual_hosts?: { domains: string[]; routes: Json[] }[];
  };

test("the textbook's gateway: productpage and its static files from outside", async () => {
  const set = translated(
    mesh(bookinfo(), { gateways: [of([server(["*"])])], virtualServices: [bookinfoService] }),
    NODE,
  );
  assert.deepEqual(namesOf(set, LISTENER_TYPE), ["127.16.0.9_80"]);
  assert.deepEqual(namesOf(set, ROUTE_TYPE), ["http.80"]);
  const [host] = routes(set).virtual_hosts ?? [];
  assert.deepEqual(host?.domains, ["*"]);
  assert.deepEqual(
    host?.routes.map((route) => [route["match"], (route["route"] as Json)["cluster"]]),
    [
      [{ path: "/productpage" }, "outbound|9080||productpage.default.svc.cluster.local"],
      [{ prefix: "/static" }, "outbound|9080||productpage.default.svc.cluster.local"],
    ],
  );
  const text = JSON.stringify(
    resourceJson(set, "envoy.config.listener.v3.Listener", "127.16.0.9_80"),
  );
  assert.match(text, /"use_remote_address":true/);
  assert.match(text, /"forward_client_cert_details":"SANITIZE_SET"/);
  acceptedByOurProxy(set);
  const envoy = findTool("envoy");
  if (envoy !== undefined) await acceptedByEnvoy(envoy, set);
});

test("a pod that the selector does not name serves nothing", () => {
  const other = nodeOf("egress-1-x", "127.16.0.10", { LABELS: { istio: "egress" } }, "router");
  const set = translated(mesh(bookinfo(), { gateways: [of([server(["*"])])] }), other);
  assert.deepEqual(namesOf(set, ROUTE_TYPE), ["http_proxy"]);
});

test("the listener is on the port that the gateway's Service leads to", () => {
  const set = translated(
    mesh(
      service({
        name: "istio-ingressgateway",
        namespace: "istio-system",
        ports: [{ port: 80, targetPort: 8080, name: "http2" }],
        pods: [{ name: POD, namespace: "istio-system", ip: "127.16.0.9" }],
      }),
      { gateways: [of([server(["*"])])] },
    ),
    NODE,
  );
  assert.deepEqual(namesOf(set, LISTENER_TYPE), ["127.16.0.9_8080"]);
  assert.deepEqual(namesOf(set, ROUTE_TYPE), ["http.80"]);
});

test("with redirection the listener is on every address", () => {
  const node = { ...NODE, interceptionMode: "REDIRECT" as const };
  const set = translated(mesh({ gateways: [of([server(["*"])])] }), node);
  assert.deepEqual(namesOf(set, LISTENER_TYPE), ["0.0.0.0_80"]);
});

const HOSTS: readonly (readonly [
  string,
  readonly string[],
  readonly string[],
  readonly string[],
])[] = [
  ["any server", ["*"], ["a.example.com"], ["a.example.com"]],
  ["the server is more exact", ["a.example.com"], ["*"], ["a.example.com"]],
  ["a suffix", ["*.example.com"], ["a.example.com", "example.com"], ["a.example.com"]],
  ["another host", ["b.example.com"], ["a.example.com"], []],
  ["the gateway's namespace", ["./*"], ["a.example.com"], ["a.example.com"]],
  ["another namespace", ["shop/*"], ["a.example.com"], []],
];
for (const [what, servers, hosts, expected] of HOSTS) {
  test(`hosts of a VirtualService on a server: ${what}`, () => {
    const set = translated(
      mesh(bookinfo(), {
        gateways: [of([server(servers)])],
        virtualServices: [
          virtualService(
            { name: "v" },
            {
              hosts,
              gateways: ["default/bookinfo-gateway"],
              http: [{ route: [{ destination: { host: "productpage" } }] }],
            },
          ),
        ],
      }),
      NODE,
    );
    const domains = (routes(set).virtual_hosts ?? []).flatMap((host) => host.domains);
    assert.deepEqual(domains, expected);
  });
}

test("VirtualServices of one host are merged, what catches everything comes last", () => {
  const part = (name: string, match: object, createdAt: string) =>
    virtualService(
      { name, createdAt },
      {
        hosts: ["shop.example.com"],
        gateways: ["bookinfo-gateway"],
        http: [{ name, ...match, route: [{ destination: { host: "productpage" } }] }],
      },
    );
  const set = translated(
    mesh(bookinfo(), {
      gateways: [of([server(["*"])])],
      virtualServices: [
        part("all", {}, "2026-01-01T00:00:00Z"),
        part("cart", { match: [{ uri: { prefix: "/cart" } }] }, "2026-02-01T00:00:00Z"),
      ],
    }),
    NODE,
  );
  const [host] = routes(set).virtual_hosts ?? [];
  assert.deepEqual(
    host?.routes.map((route) => route["name"]),
    ["cart", "all"],
  );
});

test("httpsRedirect answers with a redirect", () => {
  const set = translated(
    mesh(bookinfo(), {
      gateways: [of([server(["*"], { tls: { httpsRedirect: true } })])],
      virtualServices: [bookinfoService],
    }),
    NODE,
  );
  const [host] = routes(set).virtual_hosts ?? [];
  assert.deepEqual(
    host?.routes.map((route) => route["redirect"]),
    [{ https_redirect: true }],
  );
});

test("Envoy accepts a gateway without routes", { skip: skipWithout("envoy") }, async () => {
  const set = translated(mesh({ gateways: [of([server(["*"])])] }), NODE);
  await acceptedByEnvoy(findTool("envoy") ?? "", set);
});
