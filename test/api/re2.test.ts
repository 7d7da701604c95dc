import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRe2 } from "../../src/api/istio/re2.ts";

/** What Go's regexp.Compile, which Istio asks, says of each. */
const TAKEN = [
  ...["", "a", "a|", "^*", "$+", "a*?", "a{2}", "a{2,}", "a{1,1000}", "a{,2}", "{", "}", "]", "a{"],
  ...["(?i)a", "(?i:a)", "(?i-s:a)", "(?P<n>a)", "(?<n>a)", "()", "(|a)", "[]a]", "[^]a]", "[a-z]"],
  ...["[[:alpha:]]", "[[:^digit:]-]", "[\\w-]", "[a\\]]", "[:alpha:]", "\\d\\W\\b\\B\\A\\z", "\\."],
  ...["\\x41", "\\x{1F600}", "\\pL", "\\p{Greek}", "\\p{^Greek}", "\\07", "\\123", "\\Qa(b\\E*"],
  ...["é", "[é]", "/\\/", "\\a\\f\\n\\r\\t\\v"],
];
const REFUSED = [
  ...[
    "*",
    "a**",
    "a{2}{3}",
    "a{1001}",
    "a{3,1}",
    "|*",
    "(",
    ")",
    "(a",
    "a)",
    "[",
    "[]",
    "[^]",
    "[a",
  ],
  ...["[z-a]", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", "(?P>n)", "(?P=n)", "(?x)a", "(?"],
  ...[
    "\\",
    "\\1",
    "\\8",
    "\\k<n>",
    "\\Z",
    "\\G",
    "\\u0041",
    "\\cA",
    "\\x4",
    "\\é",
    "[\\1]",
    "\\q",
    "\\C",
  ],
];
for (const [patterns, isTaken] of [[TAKEN, true] as const, [REFUSED, false] as const]) {
  for (const pattern of patterns) {
    test(`RE2 ${isTaken ? "takes" : "refuses"} ${JSON.stringify(pattern)}`, () => {
      assert.equal(isRe2(pattern), isTaken);
    });
  }
}

test("whatever the text, there is an answer, and quoting makes it an expression", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      assert.equal(typeof isRe2(text), "boolean");
      assert.ok(isRe2(`\\Q${text.replaceAll("\\", "")}\\E`));
    }),
  );
});
