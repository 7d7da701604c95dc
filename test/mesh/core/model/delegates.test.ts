import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshVirtualService } from "../../../../src/mesh/core/model-virtual-services.ts";
import { bookinfo, mesh, virtualService } from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

const route = [{ destination: { host: "reviews" } }];
const build = (root: object, own: object, spec: object = {}, namespace = "default") =>
  modelOf(
    mesh(bookinfo(), {
      virtualServices: [
        virtualService(
          { name: "root" },
          { hosts: ["a.com"], http: [{ ...root, delegate: { name: "own", namespace } }] },
        ),
        virtualService({ name: "own", namespace }, { http: [{ route, ...own }], ...spec }),
      ],
    }),
  );
const rootOf = (all: readonly MeshVirtualService[]) => all.find(({ name }) => name === "root");
const matched = (root: object | undefined, own: object | undefined) =>
  build(root === undefined ? {} : { match: [root] }, own === undefined ? {} : { match: [own] })
    .virtualServices.find(({ name }) => name === "root")
    ?.http.map(({ match }) => match?.map(({ uri }) => uri));

for (const [what, root, own, expected] of [
  ["the root's alone", { uri: { prefix: "/a" } }, undefined, [[{ prefix: "/a" }]]],
  ["the delegate's alone", undefined, { uri: { prefix: "/b" } }, [[{ prefix: "/b" }]]],
  [
    "a longer prefix",
    { uri: { prefix: "/a" } },
    { uri: { prefix: "/a/b" } },
    [[{ prefix: "/a/b" }]],
  ],
  ["an exact path", { uri: { prefix: "/a" } }, { uri: { exact: "/a/b" } }, [[{ exact: "/a/b" }]]],
  ["another prefix", { uri: { prefix: "/a" } }, { uri: { prefix: "/b" } }, []],
  ["a wider prefix", { uri: { prefix: "/a/b" } }, { uri: { prefix: "/a" } }, []],
  ["a prefix of an exact path", { uri: { exact: "/a" } }, { uri: { prefix: "/a" } }, []],
  ["an expression", { uri: { prefix: "/a" } }, { uri: { regex: "/a.*" } }, []],
  ["other things", { uri: { prefix: "/a" } }, { method: { exact: "GET" } }, [[{ prefix: "/a" }]]],
  ["another port", { port: 80 }, { port: 81 }, []],
  ["another label", { sourceLabels: { a: "1" } }, { sourceLabels: { a: "2" } }, []],
  [
    "a header's other value",
    { headers: { a: { exact: "1" } } },
    { headers: { a: { exact: "2" } } },
    [],
  ],
] as const) {
  test(`a delegate's match within the root's: ${what}`, () => {
    assert.deepEqual(matched(root, own), expected);
  });
}

test("headers of both must match; names and policies come from the root where the delegate has none", () => {
  const { virtualServices, problems } = build(
    {
      name: "r",
      match: [{ headers: { a: { exact: "1" } } }],
      timeout: "1s",
      retries: { attempts: 3 },
    },
    { name: "d", match: [{ headers: { b: { exact: "2" } } }], timeout: "2s" },
  );
  const [merged] = rootOf(virtualServices)?.http ?? [];
  assert.equal(merged?.name, "r-d");
  assert.deepEqual(merged?.match?.[0]?.headers, { a: { exact: "1" }, b: { exact: "2" } });
  assert.equal(merged?.timeout, "2s");
  assert.equal(merged?.retries?.attempts, 3);
  assert.deepEqual(problems, []);
});

test("a delegate's short names are of its own namespace; it is not served by itself", () => {
  const { virtualServices } = build({}, {}, {}, "team");
  const own = virtualServices.find(({ name }) => name === "own");
  assert.deepEqual(own?.gateways, []);
  const host = rootOf(virtualServices)?.http[0]?.route?.[0]?.destination.host;
  assert.equal(host, "reviews.team.svc.cluster.local");
});

test("a delegate that is not exported to the root's namespace is as good as missing", () => {
  const { virtualServices, problems } = build({}, {}, { exportTo: ["."] }, "team");
  assert.deepEqual(rootOf(virtualServices)?.http, []);
  assert.match(problems[0]?.message ?? "", /no VirtualService team\/own without hosts/);
});
