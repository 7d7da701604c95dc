import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normalizeHost } from "../../../src/proxy/core/host-normalization.ts";
import {
  mergeSlashes,
  normalizeRequestTarget,
  normalizeTarget,
} from "../../../src/proxy/core/path-normalization.ts";

const NORMAL = [
  ["/a/b?c=/../d", "/a/b?c=/../d"],
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/../../etc", "/etc"],
  ["/a/..", "/"],
  ["/a/b/.", "/a/b/"],
  ["/%61%2e%2e/%2E%2e/b", "/b"],
  ["/a%2fb", "/a%2fb"],
  ["/a\\b", "/a/b"],
  ["/a//b", "/a//b"],
  ["/a%00b", undefined],
  // As Envoy 1.40 answers with normalize_path.
  ["/a;b/..;/c", "/c"],
  ["/a/..;x=1/b", "/b"],
  ["/a/.;/b", "/a/b"],
  ["/a/..%3b/b", "/a/..%3b/b"],
  ["/%4%41", "/%4A"],
  ["/%zz%4", "/%zz%4"],
  ["/a%c0%af", "/a%c0%af"],
  ['/[]{}|^`"<>', "/[]%7B%7D%7C%5E%60%22%3C%3E"],
  ["/a?{}|", "/a?{}|"],
  // Envoy leaves this as `/a/..;/b`, which some servers read as `/b`: resolved here.
  ["/a/%2e%2e;/b", "/b"],
] as const;
for (const [target, expected] of NORMAL) {
  test(`${target} is normalized to ${expected}`, () =>
    assert.equal(normalizeTarget(target), expected));
}

test("slashes are merged only when asked", () => {
  assert.equal(mergeSlashes("//a///b?c//d"), "/a/b?c//d");
  for (const [target, merged] of [
    ["//", "//"],
    ["///", "//"],
    ["//a//", "/a/"],
  ] as const) {
    assert.equal(mergeSlashes(target), merged, target);
  }
});

test("normalizing twice changes nothing more, and no dot segment is left", () => {
  const part = fc.constantFrom("a", ".", "..", "", "%2e", "%2E%2e", "b.c", "%2f", "\\");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.boolean(), (parts, merge) => {
      const normalize = (target: string): string => {
        const normal = normalizeTarget(target) ?? "";
        return merge ? mergeSlashes(normal) : normal;
      };
      const once = normalize(`/${parts.join("/")}`);
      assert.ok(once.startsWith("/"));
      assert.ok(!/\/\.\.?(?:\/|$)/.test(once), once);
      assert.equal(normalize(once), once);
    }),
    { numRuns: 1000 },
  );
});

const ESCAPED = [
  ["keep", "/a%2Fb%5c", "accepted", "/a%2Fb%5c"],
  ["reject", "/a%2Fb", "rejected", "/a/b"],
  ["reject", "/a?b=%2F", "accepted", "/a?b=%2F"],
  ["redirect", "/a%2Fb", "redirected", "/a/b"],
  ["redirect", "/a/b?%2f", "accepted", "/a/b?%2f"],
  ["decode", "/a%2f..%5Cb?%2f", "accepted", "/b?%2f"],
  ["decode", "/a%252fb", "accepted", "/a%252fb"],
  ["redirect", "/a%2f/b%00", "rejected", "/a//b%00"],
] as const;
for (const [escapedSlashes, target, kind, expected] of ESCAPED) {
  test(`escaped slashes, ${escapedSlashes}: ${target} is ${kind}`, () => {
    const result = normalizeRequestTarget(target, {
      isNormalized: true,
      mergesSlashes: true,
      escapedSlashes,
    });
    assert.equal(result.kind, kind);
    assert.equal(result.target, expected);
  });
}

test("each step is its own option", () => {
  const as = (options: object, target: string) =>
    normalizeRequestTarget(target, {
      isNormalized: false,
      mergesSlashes: false,
      escapedSlashes: "keep",
      ...options,
    });
  assert.deepEqual(as({ mergesSlashes: true }, "/a//../%61"), {
    kind: "accepted",
    target: "/a/../%61",
  });
  assert.deepEqual(as({ escapedSlashes: "decode" }, "/a%2f%5c../%61"), {
    kind: "accepted",
    target: "/a/\\../%61",
  });
  assert.deepEqual(as({ isNormalized: true }, "/a//../%61%2f"), {
    kind: "accepted",
    target: "/a/a%2f",
  });
});

/** The path as the laxest of servers reads it: everything decoded twice over, slashes merged. */
function asLaxServersRead(target: string): string {
  let path = (target.split("?")[0] ?? "").replaceAll(/%2f/gi, "/").replaceAll(/%5c|\\/gi, "/");
  path = path.replaceAll(/%2e/gi, ".").replaceAll(/%61/g, "a");
  const out: string[] = [];
  for (const segment of path.split("/")) {
    const name = segment.split(";")[0] ?? "";
    if (name === "..") out.pop();
    else if (name !== "." && segment !== "") out.push(segment);
  }
  return `/${out.join("/")}`;
}

test("decoded, normalized and merged, no path is /admin to a lax server that is not to a matcher", () => {
  const part = fc.constantFrom(
    ...["admin", "%61dmin", "x", ".", "..", "", "%2e", "%2E%2e", "..;y", "x;y", "?q=/admin"],
  );
  const slash = fc.constantFrom("/", "//", "%2f", "%2F", "\\", "%5c", "/./");
  const targets = fc.array(fc.tuple(slash, part), { minLength: 1, maxLength: 7 });
  let admins = 0;
  fc.assert(
    fc.property(targets, (pieces) => {
      const target = `/${pieces.flat().join("")}`;
      const result = normalizeRequestTarget(target, {
        isNormalized: true,
        mergesSlashes: true,
        escapedSlashes: "decode",
      });
      assert.ok(result.kind === "accepted");
      const isAdmin = /^\/admin(\/|$)/.test(asLaxServersRead(result.target));
      if (isAdmin) admins += 1;
      if (isAdmin) assert.match(result.target, /^\/admin(\/|\?|$)/, target);
    }),
    { numRuns: 5000 },
  );
  assert.ok(admins > 100, `only ${admins} targets were about /admin`);
});

const HOSTS = [
  ["no", false, "a.test.:80", "a.test.:80"],
  ["any", false, "a.test:81", "a.test"],
  ["matching", false, "a.test:81", "a.test:81"],
  ["matching", false, "a.test:80", "a.test"],
  ["matching", false, "a.test:080", "a.test"],
  ["any", false, "a.test:", "a.test:"],
  ["any", false, "a.test:x", "a.test:x"],
  ["any", false, "a.test:99999999999", "a.test:99999999999"],
  ["any", false, "[::1]", "[::1]"],
  ["any", false, "[::1]:80", "[::1]"],
  ["no", true, "a.test.", "a.test"],
  ["no", true, "a.test.:80", "a.test:80"],
  ["any", true, "a.test.:80", "a.test"],
  ["any", false, "a.test.:80", "a.test."],
  ["no", true, "a.test..", "a.test."],
] as const;
for (const [stripsPort, stripsTrailingDot, authority, expected] of HOSTS) {
  test(`${authority}, port ${stripsPort}, dot ${stripsTrailingDot}: ${expected}`, () =>
    assert.equal(normalizeHost(authority, { stripsPort, stripsTrailingDot }, 80), expected));
}
