import assert from "node:assert/strict";
import { test } from "node:test";
import {
  distributionOf,
  type TrackedResource,
  trackResources,
} from "../../../../src/mesh/core/distribution.ts";
import { blamedFor } from "../../../../src/mesh/core/distribution-blame.ts";
import { mentions } from "../../../../src/mesh/core/session-rejection.ts";
import { encode, ROUTE_TYPE } from "../../../../src/xds/index.ts";
import { virtualService } from "../support/objects.ts";

const resource = (over: Partial<TrackedResource> = {}): TrackedResource => ({
  uid: "u",
  namespace: "default",
  name: "reviews",
  generation: 4,
  sincePush: 7,
  hosts: ["reviews"],
  problems: [],
  isLeftOut: false,
  ...over,
});
const proxy = (ackedPush: number, ...problems: readonly string[]) => ({
  nodeId: `n${ackedPush}`,
  ackedPush,
  problems,
});

test("reconciled once every connected proxy has a push with the generation", () => {
  const table = [
    [[], true, "0/0 proxies up to date"],
    [[proxy(7), proxy(9)], true, "2/2 proxies up to date"],
    [[proxy(6), proxy(7)], false, "1/2 proxies up to date"],
    [[proxy(0)], false, "0/1 proxies up to date"],
    [[proxy(6, "rds: bad"), proxy(7)], false, "1/2 proxies up to date; n6: rds: bad"],
    [[proxy(7, "cds: of another push")], true, "1/1 proxies up to date"],
  ] as const;
  for (const [proxies, isReconciled, message] of table) {
    const status = distributionOf(resource(), proxies);
    assert.deepEqual(status, { observedGeneration: 4, isReconciled, message });
  }
});

test("problems are told; those that leave it out keep it from being reconciled", () => {
  const warned = distributionOf(resource({ problems: ["no such host"] }), []);
  assert.deepEqual(warned, {
    observedGeneration: 4,
    isReconciled: true,
    message: "0/0 proxies up to date; no such host",
  });
  const out = distributionOf(resource({ problems: ["bad"], isLeftOut: true }), [proxy(9)]);
  assert.equal(out.isReconciled, false);
  const long = distributionOf(resource({ problems: ["x".repeat(5000)] }), []);
  assert.equal(long.message.length, 1024);
});

test("a generation counts from the first push that has it; a new object of the name starts anew", () => {
  const noProblems = () => ({ messages: [], isLeftOut: false });
  const object = (uid: string, generation: number) => {
    const made = virtualService({ name: "reviews" }, { hosts: ["reviews"] });
    return { ...made, metadata: { ...made.metadata, uid, generation } };
  };
  const first = trackResources(new Map(), [object("u", 1)], 1, noProblems);
  const same = trackResources(first, [object("u", 1)], 2, noProblems);
  assert.equal(same.get("u")?.sincePush, 1);
  const next = trackResources(same, [object("u", 2)], 3, noProblems);
  assert.equal(next.get("u")?.sincePush, 3);
  const again = trackResources(next, [object("v", 2)], 4, noProblems);
  assert.deepEqual([...again.keys()], ["v"]);
  assert.equal(again.get("v")?.sincePush, 4);
});

test("a refusal is blamed on the VirtualService of the virtual host or cluster it names", () => {
  const host = (name: string) => ({
    name,
    domains: [`${name}.default.svc.cluster.local`, name],
    routes: [],
  });
  const body = encode("envoy.config.route.v3.RouteConfiguration", {
    name: "http_proxy",
    virtual_hosts: [host("reviews"), host("ratings")],
  });
  const route = { typeUrl: ROUTE_TYPE, name: "http_proxy", version: "1", body } as const;
  const resources = new Map([[ROUTE_TYPE, new Map([["http_proxy", route]])]] as const);
  const all = [
    resource({ uid: "reviews" }),
    resource({ uid: "ratings", hosts: ["ratings"] }),
    resource({ uid: "elsewhere", namespace: "b" }),
  ];
  const table = [
    ["RouteConfiguration http_proxy: virtual_hosts[1].routes[0].match: empty", ["ratings"]],
    ["RouteConfiguration other: virtual_hosts[1].routes[0].match: empty", []],
    ["Cluster outbound|9080|v1|reviews.b.svc.cluster.local: bad", ["elsewhere"]],
    ["Only unique values for domains: reviews.default.svc.cluster.local.", ["reviews"]],
    ["something is wrong", []],
  ] as const;
  for (const [message, uids] of table) {
    const blamed = blamedFor(message, resources, all).map((each) => each.uid);
    assert.deepEqual(blamed, uids, message);
  }
});

test("an error mentions whole words only", () => {
  const table = [
    ["Cluster a: bad", "a", true],
    ["bad", "a", false],
    ["outbound|80||ab", "outbound|80||a", false],
    ["no a.", "a", true],
    ["no a.b", "a", false],
    ["x-a and a", "a", true],
  ] as const;
  for (const [message, name, expected] of table) {
    assert.equal(mentions(message, name), expected, `${message} / ${name}`);
  }
});
