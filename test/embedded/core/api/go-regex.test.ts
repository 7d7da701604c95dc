import assert from "node:assert/strict";
import { test } from "node:test";
import { goRegex } from "../../../../src/embedded/core/api/go-regex.ts";

const ROWS: readonly (readonly [string, string, boolean | undefined])[] = [
  ["^a+$", "aaa", true],
  ["(?i)^abc$", "ABC", true],
  ["^(?P<year>\\d+)$", "2024", true],
  ["\\Ax\\z", "xx", false],
  ["^[\\w\\-]+$", "a-b", true],
  ["^.$", "😀", true],
  ["(", "", undefined],
  ["[a", "", undefined],
];
for (const [pattern, text, expected] of ROWS) {
  test(`${pattern} on ${JSON.stringify(text)}: ${expected}`, () => {
    assert.equal(goRegex(pattern)?.test(text), expected);
  });
}
