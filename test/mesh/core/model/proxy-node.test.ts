import assert from "node:assert/strict";
import { test } from "node:test";
import { parseProxyNode } from "../../../../src/mesh/core/proxy-node.ts";
import { structFromJson } from "../../../../src/xds/index.ts";

const ID = "sidecar~127.16.0.3~reviews-v1-5d8f-abcde.default~default.svc.cluster.local";
const METADATA = {
  NAME: "reviews-v1-5d8f-abcde",
  NAMESPACE: "default",
  LABELS: { app: "reviews" },
  INTERCEPTION_MODE: "NONE",
  HTTP_PROXY_PORT: "15001",
  APPLICATION_ADDRESS: "127.48.0.3",
};

test("reads what the sidecar's bootstrap sends, as JSON or as protobuf Struct", () => {
  const expected = {
    id: ID,
    role: "sidecar",
    ipAddress: "127.16.0.3",
    name: "reviews-v1-5d8f-abcde",
    namespace: "default",
    labels: { app: "reviews" },
    interceptionMode: "NONE",
    httpProxyPort: 15001,
    applicationAddress: "127.48.0.3",
  };
  assert.deepEqual(parseProxyNode({ id: ID, metadata: METADATA }), expected);
  assert.deepEqual(parseProxyNode({ id: ID, metadata: structFromJson(METADATA) }), expected);
});

test("takes name and namespace from the id when the metadata is silent", () => {
  const node = parseProxyNode({ id: "router~10.0.0.1~gw.a.b.istio-system~x", metadata: null });
  assert.equal(node.role, "router");
  assert.equal(node.name, "gw.a.b");
  assert.equal(node.namespace, "istio-system");
  assert.equal(node.interceptionMode, "REDIRECT");
  assert.equal(node.httpProxyPort, undefined);
});

const REFUSED: readonly (readonly [string, object, RegExp])[] = [
  ["no id", {}, /node\.id: must be role~ip/],
  ["too few parts", { id: "sidecar~1.2.3.4~a.b" }, /node\.id: must be role~ip/],
  ["too many parts", { id: `${ID}~more` }, /node\.id: must be role~ip/],
  ["an unknown role", { id: ID.replace("sidecar", "ztunnel") }, /role must be sidecar or router/],
  ["no address", { id: ID.replace("127.16.0.3", "localhost") }, /must be an IP address/],
  ["no namespace", { id: "sidecar~1.2.3.4~pod~x" }, /third part must be pod\.namespace/],
  ["a path as name", { id: "sidecar~1.2.3.4~../x.default~y" }, /third part must be/],
  ["labels that are text", { id: ID, metadata: { LABELS: "a=b" } }, /metadata\.LABELS: must be/],
  ["a label that is no text", { id: ID, metadata: { LABELS: { a: 1 } } }, /metadata\.LABELS\.a/],
  ["a mode nobody knows", { id: ID, metadata: { INTERCEPTION_MODE: "none" } }, /NONE, REDIRECT/],
  ["a port out of range", { id: ID, metadata: { HTTP_PROXY_PORT: "70000" } }, /HTTP_PROXY_PORT/],
  [
    "a generator nobody knows",
    { id: ID, metadata: { GENERATOR: "api" } },
    /GENERATOR: must be grpc/,
  ],
  ["an address that is none", { id: ID, metadata: { APPLICATION_ADDRESS: "x" } }, /APPLICATION_AD/],
];

for (const [what, node, message] of REFUSED) {
  test(`refuses ${what}`, () => {
    assert.throws(() => parseProxyNode(node), { code: "SERIN_INVALID_XDS", message });
  });
}
