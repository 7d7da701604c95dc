import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileHeaderMutation } from "../../../src/proxy/core/compile/header-mutation.ts";
import { createScope, type Findings } from "../../../src/proxy/core/compile/scope.ts";
import { trustedRemoteIp } from "../../../src/proxy/core/forwarded-for.ts";
import { compileHeaderFormat } from "../../../src/proxy/core/header-format.ts";
import { HeaderBlock } from "../../../src/proxy/core/http1/header-block.ts";
import { canonicalIp } from "../../../src/proxy/core/ip-range.ts";
import { compileTimeFormat } from "../../../src/proxy/core/time-format.ts";
import { mutateHeaders } from "../../../src/proxy/http1/header-mutation.ts";
import { record } from "../telemetry/record.ts";

const options = { timeOriginMs: 0, environment: () => undefined };
const none = (message: string): never => assert.fail(message);

/** What compiling one level found wrong, by path. */
function problems(option: object, remove: readonly string[] = []): readonly string[] {
  const findings: Findings = { issues: [], warnings: [] };
  const scope = createScope(findings);
  const level = { add: [option], remove, scope, addField: "add", removeField: "remove" };
  compileHeaderMutation([level], options);
  return findings.issues.map(({ path }) => path);
}

/** The fields that are left of `before` after each level, and the route's own words for it. */
function mutated(before: readonly (readonly [string, string])[], ...levels: readonly object[]) {
  const headers = new HeaderBlock();
  for (const [name, value] of before) headers.add(name, value);
  const scope = createScope({ issues: [], warnings: [] });
  const mutation = compileHeaderMutation(
    levels.map((level) => ({ add: [], scope, addField: "add", removeField: "remove", ...level })),
    options,
  );
  const requestHeader = (name: string) => headers.first(name);
  if (mutation !== undefined) mutateHeaders(headers, mutation, record({ requestHeader }));
  return headers.entries().map(([name, value]) => `${name}: ${value}`);
}

const add = (key: string, value: string, append_action = 0, more: object = {}) => ({
  header: { key, value },
  append_action,
  ...more,
});
const [APPEND, IF_ABSENT, OVERWRITE, IF_PRESENT] = [0, 1, 2, 3];

test("what is wrong with a header is told with its place", () => {
  const value = "add[0].header.value";
  assert.deepEqual(problems(add("x", "%NO_SUCH%")), [value]);
  assert.deepEqual(problems(add("x", "50%")), [value]);
  assert.deepEqual(problems(add("x", "%REQ(x")), [value]);
  assert.deepEqual(problems(add("x", "%REQ%")), [value]);
  assert.deepEqual(problems(add("x", "%PROTOCOL:3%")), [value]);
  assert.deepEqual(problems(add("x", "a\r\nb: c")), [value]);
  assert.deepEqual(problems(add("x", "%START_TIME(%Q)%")), [value]);
  assert.deepEqual(problems(add(":path", "x")), ["add[0].header.key"]);
  assert.deepEqual(problems(add("a b", "x")), ["add[0].header.key"]);
  assert.deepEqual(problems(add("x", "y"), ["Host"]), ["remove[0]"]);
  assert.deepEqual(problems(add("x", "y", OVERWRITE, { append: { value: true } })), [
    "add[0].append",
  ]);
  assert.deepEqual(problems(add("x", "100%% %REQ(a)%")), []);
});

const THERE = [["x", "old"]] as const;
const ACTIONS = [
  [APPEND, [], ["x: new"]],
  [APPEND, THERE, ["x: old", "x: new"]],
  [IF_ABSENT, [], ["x: new"]],
  [IF_ABSENT, THERE, ["x: old"]],
  [OVERWRITE, [], ["x: new"]],
  [OVERWRITE, THERE, ["x: new"]],
  [IF_PRESENT, [], []],
  [IF_PRESENT, THERE, ["x: new"]],
] as const;
for (const [action, before, after] of ACTIONS) {
  test(`action ${action} on ${before.length} fields`, () =>
    assert.deepEqual(mutated(before, { add: [add("x", "new", action)] }), after));
}

test("a level removes, then overwrites, then adds; its values are of the time before", () => {
  const level = {
    remove: ["X-Gone"],
    add: [
      add("x", "%REQ(Y)%"),
      add("y", "second", OVERWRITE),
      add("x", "first", OVERWRITE),
      add("x-gone", "%REQ(X-GONE)%back"),
    ],
  };
  assert.deepEqual(
    mutated(
      [
        ["x", "old"],
        ["y", "before"],
        ["x-gone", "1"],
      ],
      level,
    ),
    ["y: second", "x: first", "x: before", "x-gone: back"],
  );
});

test("the level that comes last wins", () => {
  const levels = ["route", "host", "table"].map((name) => ({
    add: [add("x", name, OVERWRITE), add("all", name)],
  }));
  assert.deepEqual(mutated([], ...levels), ["all: route", "all: host", "x: table", "all: table"]);
  assert.deepEqual(
    mutated([], { add: [add("x", "route")] }, { remove: ["x"] }),
    [],
    "what one level adds another may remove",
  );
});

test("an empty value is written only where it is to be kept", () => {
  assert.deepEqual(mutated(THERE, { add: [add("x", "", OVERWRITE)] }), ["x: old"]);
  assert.deepEqual(mutated(THERE, { add: [add("x", "%REQ(NO)%", OVERWRITE)] }), ["x: old"]);
  for (const value of ["", "%REQ(NO)%"]) {
    const kept = add("x", value, OVERWRITE, { keep_empty_value: true });
    assert.deepEqual(mutated(THERE, { add: [kept] }), ["x: "]);
  }
});

test("what a token claims cannot end the line, and is UTF-8", () => {
  const format = compileHeaderFormat("é%DYNAMIC_METADATA(jwt:sub)%", options, none);
  assert.ok(typeof format === "function");
  const metadata = new Map([["jwt", { sub: "eve\r\nx-admin: 1\0€" }]]);
  assert.equal(format(record({ metadata })), "Ã©eve  x-admin: 1 \xe2\x82\xac");
});

const DYNAMIC = [
  ["a:b", "text"],
  ["a:n", "1"],
  ["a:o", '{"p":[1,null]}'],
  ["a:o:p", "[1,null]"],
  ["a:none", ""],
  ["none", ""],
  ["a:b:c", ""],
] as const;
for (const [path, expected] of DYNAMIC) {
  test(`metadata ${path} prints ${expected || "nothing"}`, () => {
    const format = compileHeaderFormat(`%DYNAMIC_METADATA(${path})%`, options, none);
    assert.ok(typeof format === "function");
    const metadata = new Map([["a", { b: "text", n: 1, o: { p: [1, null] } }]]);
    assert.equal(format(record({ metadata })), expected);
  });
}

test("times are as JavaScript's own calendar has them", () => {
  const format = compileTimeFormat("%Y-%m-%dT%H:%M:%S.%3fZ %w %s %j", none);
  const fromYear1 = -62_135_596_800_000;
  fc.assert(
    fc.property(fc.integer({ min: fromYear1, max: 253_402_300_799_999 }), (epochMs) => {
      const date = new Date(epochMs);
      const start = Date.UTC(date.getUTCFullYear(), 0, 1);
      const january =
        date.getUTCFullYear() < 100 ? new Date(start).setUTCFullYear(date.getUTCFullYear()) : start;
      const dayOfYear = Math.floor((epochMs - january) / 86_400_000) + 1;
      const year = String(date.getUTCFullYear());
      assert.equal(
        format(epochMs),
        `${year}${date.toISOString().slice(4)} ${date.getUTCDay()} ${Math.floor(epochMs / 1000)} ${String(dayOfYear).padStart(3, "0")}`,
      );
    }),
    { numRuns: 2000 },
  );
});

const TIMES = [
  ["%f", "003000000"],
  ["%1f|%6f", "0|003000"],
  ["%e %I %p %y %b %B %a %A", " 2 03 PM 06 Jan January Mon Monday"],
  ["%D %R %T %F", "01/02/06 15:04 15:04:05 2006-01-02"],
  ["%u %z %Z %C %h %%", "1 +0000 UTC 20 Jan %"],
] as const;
for (const [format, expected] of TIMES) {
  test(`${format} prints ${expected}`, () =>
    assert.equal(compileTimeFormat(format, none)(Date.UTC(2006, 0, 2, 15, 4, 5, 3)), expected));
}

test("an address is written as URLs write it", () => {
  const group = fc.constantFrom("0", "0000", "1", "0A0", "ffff", "Db8");
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const text = groups.join(":");
      assert.equal(`[${canonicalIp(text)}]`, new URL(`http://[${text}]/`).hostname);
    }),
    { numRuns: 2000 },
  );
});

const EDGE = { useRemoteAddress: true, xffTrustedHops: 1 };
const FORWARDED = [
  ["9.9.9.9", "9.9.9.9"],
  ["8.8.8.8, 9.9.9.9", "9.9.9.9"],
  ["9.9.9.9:80", "10.0.0.1"],
  ["09.9.9.9", "10.0.0.1"],
  ["9.9.9", "10.0.0.1"],
  ["[2001:db8::1]", "10.0.0.1"],
  ["2001:DB8:0::1", "2001:db8::1"],
  ["9.9.9.9,", "10.0.0.1"],
  ["", "10.0.0.1"],
] as const;
for (const [field, expected] of FORWARDED) {
  test(`x-forwarded-for ${JSON.stringify(field)} of a trusted hop says ${expected}`, () =>
    assert.equal(trustedRemoteIp("10.0.0.1", field, EDGE), expected));
}
