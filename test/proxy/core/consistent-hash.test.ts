import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createBalancer as createMaglev } from "../../../src/proxy/core/balance/maglev.ts";
import { createBalancer as createRingHash } from "../../../src/proxy/core/balance/ring-hash.ts";
import { xxHash64 } from "../../../src/proxy/core/balance/xx-hash.ts";
import { type HashPolicy, requestHash } from "../../../src/proxy/core/hash-policy.ts";

// The xxHash specification's and other implementations' published values, seed 0.
const VECTORS = [
  ["", 0xef46db3751d8e999n],
  ["a", 0xd24ec4f1a98c6e5bn],
  ["abc", 0x44bc2cf5ad770999n],
  ["Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1n],
] as const;
for (const [text, expected] of VECTORS) {
  test(`XXH64 of ${JSON.stringify(text)}`, () => assert.equal(xxHash64(text), expected));
}

const host = (index: number, weight = 1) => ({
  hashKey: `10.0.0.${index}:8080`,
  weight,
  activeRequests: 0,
});
const KEYS = Array.from({ length: 5000 }, (_, i) => xxHash64(`user-${i}`));

for (const [name, createBalancer] of [
  ["ring hash", createRingHash],
  ["maglev", createMaglev],
] as const) {
  test(`${name}: hosts get their share by weight`, () => {
    const hosts = [host(1, 1), host(2, 2), host(3, 5)];
    const balancer = createBalancer(hosts);
    const counts = new Map(hosts.map((each) => [each, 0]));
    for (const key of KEYS) {
      const picked = balancer.pick(key, 0);
      assert.ok(picked !== undefined);
      counts.set(picked, (counts.get(picked) ?? 0) + 1);
    }
    for (const [each, count] of counts) {
      const share = count / KEYS.length;
      assert.ok(Math.abs(share - each.weight / 8) < 0.06, `${each.hashKey}: ${share}`);
    }
  });

  test(`${name}: a host that goes moves few other requests`, () => {
    const hosts = Array.from({ length: 10 }, (_, i) => host(i));
    const before = createBalancer(hosts);
    const after = createBalancer(hosts.slice(1));
    let moved = 0;
    for (const key of KEYS) {
      const was = before.pick(key, 0);
      if (was !== hosts[0] && after.pick(key, 0) !== was) moved += 1;
    }
    assert.ok(moved / KEYS.length < 0.15, `${moved} of ${KEYS.length} moved`);
  });

  test(`${name}: nobody to pick`, () => assert.equal(createBalancer([]).pick(1n, 0), undefined));

  test(`${name}: the same hash meets the same host; a host passed over is left`, () => {
    const hosts = [host(1), host(2), host(3)];
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (hash) => {
        const balancer = createBalancer(hosts);
        const first = balancer.pick(hash, 0);
        assert.equal(createBalancer(hosts).pick(hash, 0), first);
        const others = Array.from({ length: 100 }, (_, i) => balancer.pick(hash, i + 1));
        assert.ok(others.some((other) => other !== first));
      }),
      { numRuns: 20 },
    );
  });
}

const source = (more: { cookie?: string; user?: string; target?: string } = {}) => ({
  header: (name: string) =>
    new Map<string, string | undefined>([
      ["cookie", more.cookie],
      ["x-user", more.user],
    ]).get(name),
  target: more.target ?? "/",
  remoteIp: "10.1.2.3",
  connection: "10.0.0.1:8010.1.2.3:5555",
});
const byHeader: HashPolicy = { kind: "header", name: "x-user", isTerminal: false };
const byCookie: HashPolicy = {
  kind: "cookie",
  name: "session",
  ttlSeconds: 60,
  path: "/",
  attributes: [["SameSite", "Lax"]],
  isTerminal: false,
};

test("no policy that finds anything: no hash", () => {
  assert.deepEqual(requestHash([byHeader], source()), { hash: undefined, setCookie: undefined });
});

test("policies are joined in their order; a terminal one that finds something ends them", () => {
  const byIp: HashPolicy = { kind: "sourceIp", isTerminal: false };
  const from = source({ user: "jason" });
  const one = xxHash64("jason");
  const two = xxHash64("10.1.2.3");
  const rotated = BigInt.asUintN(64, (one << 1n) | (one >> 63n));
  assert.equal(requestHash([byHeader, byIp], from).hash, rotated ^ two);
  assert.equal(requestHash([{ ...byHeader, isTerminal: true }, byIp], from).hash, one);
  assert.equal(requestHash([{ ...byHeader, isTerminal: true }, byIp], source()).hash, two);
});

test("a client without the cookie gets one, and is placed by it from then on", () => {
  const first = requestHash([byCookie], source());
  const value = /^session="([0-9a-f]+)"; Max-Age=60; Path=\/; SameSite=Lax; HttpOnly$/.exec(
    first.setCookie ?? "",
  )?.[1];
  assert.ok(value !== undefined, `no such cookie: ${first.setCookie}`);
  const second = requestHash([byCookie], source({ cookie: `x=y; session="${value}"` }));
  assert.deepEqual(second, { hash: first.hash, setCookie: undefined });
});

test("a query parameter is taken by its first value", () => {
  const policy: HashPolicy = { kind: "queryParameter", name: "id", isTerminal: false };
  assert.equal(requestHash([policy], source({ target: "/?a=1&id=7&id=8" })).hash, xxHash64("7"));
});
