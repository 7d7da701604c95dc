import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Session,
  type SessionRequest,
  type SessionResponse,
} from "../../../../src/mesh/core/session.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
} from "../../../../src/xds/index.ts";
import { cluster, endpoints, listener, routes, served, setOf } from "./resources.ts";

const delta = (
  typeUrl: ResourceTypeUrl,
  over: {
    readonly subscribe?: readonly string[];
    readonly unsubscribe?: readonly string[];
    readonly initialVersions?: Record<string, string>;
    readonly nonce?: string;
    readonly error?: string;
  } = {},
): SessionRequest => ({
  typeUrl,
  nonce: over.nonce ?? "",
  error: over.error,
  subscription: {
    protocol: "delta",
    subscribe: over.subscribe ?? [],
    unsubscribe: over.unsubscribe ?? [],
    initialVersions: over.initialVersions ?? {},
  },
});

const sotw = (typeUrl: ResourceTypeUrl, names: readonly string[], nonce = ""): SessionRequest => ({
  typeUrl,
  nonce,
  error: undefined,
  subscription: { protocol: "sotw", names },
});

const start = (protocol: "delta" | "sotw") => new Session({ protocol, noncePrefix: "s" });
const brief = (responses: readonly SessionResponse[]) =>
  responses.map(({ typeUrl, resources, removed }) => [
    typeUrl.split(".").at(-1),
    resources.map((resource) => resource.name),
    removed,
  ]);

test("wildcards: none named, `*`, names beside it, and the end of each", () => {
  const table: readonly (readonly [readonly SessionRequest[], readonly unknown[]])[] = [
    [[delta(CLUSTER_TYPE)], [["Cluster", ["a", "b"], []]]],
    [[delta(CLUSTER_TYPE, { subscribe: ["*"] })], [["Cluster", ["a", "b"], []]]],
    [[delta(CLUSTER_TYPE, { subscribe: ["b"] })], [["Cluster", ["b"], []]]],
    [[delta(CLUSTER_TYPE, { subscribe: ["nope"] })], [["Cluster", [], ["nope"]]]],
    [[delta(ENDPOINT_TYPE)], []],
    [
      [delta(CLUSTER_TYPE, { initialVersions: { a: "1", gone: "1" } }), delta(LISTENER_TYPE)],
      [
        ["Listener", [], []],
        // `gone` waits for the listeners: they might name it.
      ],
    ],
    [[sotw(CLUSTER_TYPE, [])], [["Cluster", ["a", "b"], []]]],
    [[sotw(CLUSTER_TYPE, ["*"])], [["Cluster", ["a", "b"], []]]],
    [[sotw(CLUSTER_TYPE, ["a"])], [["Cluster", ["a"], []]]],
    [[sotw(ENDPOINT_TYPE, [])], []],
  ];
  for (const [requests, expected] of table) {
    const session = start(requests[0]?.subscription.protocol ?? "delta");
    session.update(setOf(...served("a", "b")), 1);
    const responses = requests.map((request) => session.receive(request)).at(-1) ?? [];
    assert.deepEqual(brief(responses), expected, JSON.stringify(requests));
  }
});

test("a stale state-of-the-world request is ignored, the current one counts", () => {
  const session = start("sotw");
  session.update(setOf(...served("a", "b")), 1);
  const [first] = session.receive(sotw(ENDPOINT_TYPE, ["a"]));
  session.receive(sotw(ENDPOINT_TYPE, ["a"], first?.nonce));
  session.update(setOf(cluster("a"), endpoints("a", "2"), ...served("b")), 2);
  assert.deepEqual(session.receive(sotw(ENDPOINT_TYPE, [], first?.nonce)), []);
  const progress = session.progress()[0];
  assert.equal(progress?.isInFlight, true);
  const more = session.receive(sotw(ENDPOINT_TYPE, ["a", "b"], progress?.nonceSent));
  assert.deepEqual(brief(more), [["ClusterLoadAssignment", ["b"], []]]);
});

test("make before break: cluster, endpoints, routes, and only then the old cluster goes", () => {
  const session = start("delta");
  const order: unknown[] = [];
  const acknowledge = (responses: readonly SessionResponse[]): void => {
    for (const { typeUrl, nonce, resources, removed } of responses) {
      const names = resources.map((resource) => resource.name);
      order.push([typeUrl.split(".").at(-1), ...names, ...removed.map((name) => `-${name}`)]);
      if (typeUrl === CLUSTER_TYPE && names.length > 0) {
        acknowledge(session.receive(delta(ENDPOINT_TYPE, { subscribe: names })));
      }
      if (typeUrl === CLUSTER_TYPE && removed.length > 0) {
        acknowledge(session.receive(delta(ENDPOINT_TYPE, { unsubscribe: removed })));
      }
      if (typeUrl === LISTENER_TYPE) {
        acknowledge(session.receive(delta(ROUTE_TYPE, { subscribe: ["r"] })));
      }
      acknowledge(session.receive(delta(typeUrl, { nonce })));
    }
  };
  const l = listener("l", { routes: "r" });
  session.update(setOf(...served("a"), l, routes("r", ["a"])), 1);
  acknowledge(session.receive(delta(CLUSTER_TYPE)));
  acknowledge(session.receive(delta(LISTENER_TYPE)));
  assert.equal(session.ackedPush(), 1);
  order.length = 0;
  acknowledge(session.update(setOf(...served("b"), l, routes("r", ["b"])), 2));
  assert.deepEqual(order, [
    ["Cluster", "b"],
    ["ClusterLoadAssignment", "b"],
    ["RouteConfiguration", "r"],
    ["Cluster", "-a"],
  ]);
  assert.equal(session.ackedPush(), 2);
});

test("a changed cluster gets its endpoints again", () => {
  for (const protocol of ["delta", "sotw"] as const) {
    const session = start(protocol);
    const ask = (typeUrl: ResourceTypeUrl, names: readonly string[], nonce = "") =>
      protocol === "sotw"
        ? sotw(typeUrl, names, nonce)
        : delta(typeUrl, nonce === "" ? { subscribe: names } : { nonce });
    session.update(setOf(...served("a")), 1);
    const [c] = session.receive(ask(CLUSTER_TYPE, []));
    const [e] = session.receive(ask(ENDPOINT_TYPE, ["a"]));
    session.receive(ask(CLUSTER_TYPE, [], c?.nonce));
    session.receive(ask(ENDPOINT_TYPE, ["a"], e?.nonce));
    const again = session.update(setOf(cluster("a", "2"), endpoints("a")), 2);
    assert.deepEqual(brief(again), [
      ["Cluster", ["a"], []],
      ["ClusterLoadAssignment", ["a"], []],
    ]);
  }
});
