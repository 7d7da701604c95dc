import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../../../src/proxy/core/cidr.ts";
import { parseHostPort } from "../../../src/proxy/core/original-dst.ts";

const RANGES = [
  ["10.0.0.0", 8, "10.255.0.1", true],
  ["10.0.0.0", 8, "11.0.0.1", false],
  ["10.1.2.3", 32, "10.1.2.3", true],
  ["10.1.2.3", 32, "10.1.2.2", false],
  ["10.1.2.0", 23, "10.1.3.9", true],
  ["10.1.2.0", 23, "10.1.4.9", false],
  ["0.0.0.0", 0, "8.8.8.8", true],
  ["0.0.0.0", 0, "::1", false],
  ["0.0.0.0", 0, "::ffff:1.2.3.4", true],
  ["fd00::", 8, "fdff::1", true],
  ["fd00::", 8, "fe80::1", false],
  ["2001:db8::", 33, "2001:db8:7fff::", true],
  ["2001:db8::", 33, "2001:db8:8000::", false],
  ["::", 0, "1.2.3.4", false],
] as const;
for (const [prefix, bits, address, isInside] of RANGES) {
  test(`${address} is ${isInside ? "" : "not "}in ${prefix}/${bits}`, () => {
    const range = parseCidr(prefix, bits);
    assert.ok(range !== undefined);
    assert.equal(range.contains(address), isInside);
  });
}

test("what is no range is refused", () => {
  for (const text of [
    "",
    "1.2.3",
    "1.2.3.256",
    "1.2.3.4.5",
    "a.b.c.d",
    ":::",
    "1::2::3",
    "::g",
    "1:2",
  ]) {
    assert.equal(parseCidr(text, 0), undefined, text);
  }
  assert.equal(parseCidr("10.0.0.0", 33), undefined);
});

test("a host of the original destination header is an address and a port", () => {
  assert.deepEqual(parseHostPort("10.0.0.1:80"), { address: "10.0.0.1", port: 80 });
  assert.deepEqual(parseHostPort("[::1]:80"), { address: "::1", port: 80 });
  for (const text of [
    "",
    "10.0.0.1",
    "localhost:80",
    "10.0.0.1:65536",
    "::1:80",
    "10.0.0.1:80:80",
  ]) {
    assert.equal(parseHostPort(text), undefined, text);
  }
});
