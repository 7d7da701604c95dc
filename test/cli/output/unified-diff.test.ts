import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { unifiedDiff } from "../../../src/cli/output/unified-diff.ts";

const NAMES = ["a", "b"] as const;
const letters = (text: string): readonly string[] => [...text];

const ROWS: readonly (readonly [what: string, before: string, after: string, hunks: string])[] = [
  ["equal texts have no diff", "abc", "abc", ""],
  [
    "a line in the middle",
    "abcdefgh",
    "abcdXfgh",
    "@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+X\n f\n g\n h",
  ],
  ["something from nothing", "", "ab", "@@ -0,0 +1,2 @@\n+a\n+b"],
  ["nothing from something", "a", "", "@@ -1 +0,0 @@\n-a"],
  [
    "changes far apart have hunks of their own",
    "a1234567z",
    "b1234567y",
    "@@ -1,4 +1,4 @@\n-a\n+b\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-z\n+y",
  ],
  [
    "changes close together share one",
    "a123z",
    "b123y",
    "@@ -1,5 +1,5 @@\n-a\n+b\n 1\n 2\n 3\n-z\n+y",
  ],
];

for (const [what, before, after, hunks] of ROWS) {
  test(what, () => {
    const expected = hunks === "" ? "" : `--- a\n+++ b\n${hunks}\n`;
    assert.equal(unifiedDiff(letters(before), letters(after), NAMES), expected);
  });
}

/** What `patch` makes of a text and a diff. */
function patched(before: readonly string[], diff: string): readonly string[] {
  const out: string[] = [];
  let at = 0;
  for (const line of diff.split("\n").slice(2, -1)) {
    const start = /^@@ -(\d+)(?:,(\d+))? /.exec(line);
    if (start !== null) {
      const from = Number(start[1]) - (start[2] === "0" ? 0 : 1);
      out.push(...before.slice(at, from));
      at = from;
    } else if (line.startsWith("+")) out.push(line.slice(1));
    else {
      assert.equal(before[at], line.slice(1), `line ${at + 1} of the text`);
      if (line.startsWith(" ")) out.push(line.slice(1));
      at += 1;
    }
  }
  return [...out, ...before.slice(at)];
}

test("whoever applies the diff gets the other text", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 30 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      assert.deepEqual(patched(before, unifiedDiff(before, after, NAMES)), after);
    }),
  );
});

test("texts that have little in common are shown as replaced, without search", () => {
  const lines = (prefix: string) => Array.from({ length: 3000 }, (_, i) => `${prefix}${i}`);
  const diff = unifiedDiff(lines("x"), lines("y"), NAMES);
  assert.deepEqual(patched(lines("x"), diff), lines("y"));
});
