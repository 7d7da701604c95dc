import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  fieldsMatch,
  parseFieldSelector,
} from "../../../../src/embedded/core/api/field-selector.ts";
import {
  labelsMatch,
  parseLabelSelector,
} from "../../../../src/embedded/core/api/label-selector.ts";
import { StatusError } from "../../../../src/embedded/core/api/status-error.ts";

const seed = Date.now() % 2_147_483_647;

const LABELS = { app: "web", tier: "front", level: "5", "example.com/a": "" };
const MATCHES: readonly (readonly [string, boolean])[] = [
  ["", true],
  ["app=web", true],
  ["app==web", true],
  ["app=api", false],
  ["app!=api", true],
  ["missing!=x", true],
  ["app", true],
  ["!app", false],
  ["!missing", true],
  ["app in (web,api)", true],
  ["app in ( web , api ),tier notin (back)", true],
  ["tier notin (front)", false],
  ["missing notin (a)", true],
  ["level>4", true],
  ["level>5", false],
  ["level<6,level>4", true],
  ["app>4", false],
  ["example.com/a=", true],
  ["example.com/a in (,x)", true],
  ["app=web,tier=back", false],
];
for (const [selector, expected] of MATCHES) {
  test(`label selector ${JSON.stringify(selector)} is ${expected}`, () => {
    assert.equal(labelsMatch(parseLabelSelector(selector), LABELS), expected);
  });
}

for (const bad of [
  "a in b",
  "a in (",
  "a in ()b",
  "=x",
  "a=b,",
  "a b",
  "a>x",
  "a=b c",
  "!",
  "-a=b",
  "a/b/c=d",
  `a=${"x".repeat(64)}`,
  "a=b)",
]) {
  test(`label selector ${JSON.stringify(bad)} is refused`, () => {
    assert.throws(
      () => parseLabelSelector(bad),
      (error) => error instanceof StatusError && error.code === 400,
    );
  });
}

test("any text is a selector or a 400", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "=", "!", "(", ")", ",", " ", ">", "in", " in ") }),
      (text) => {
        try {
          parseLabelSelector(text);
        } catch (error) {
          assert.ok(error instanceof StatusError && error.code === 400, String(error));
        }
      },
    ),
    { seed, numRuns: 1000 },
  );
});

const POD = { group: "", kind: "Pod" };
const object = {
  metadata: { name: "p", namespace: "n" },
  spec: { nodeName: "x" },
  status: { phase: "Running" },
};
const FIELDS: readonly (readonly [string, boolean])[] = [
  ["", true],
  ["metadata.name=p", true],
  ["metadata.name!=p", false],
  ["spec.nodeName=x,status.phase!=Failed,status.phase!=Succeeded", true],
  ["status.phase==Pending", false],
  ["status.podIP=", true],
];
for (const [selector, expected] of FIELDS) {
  test(`field selector ${JSON.stringify(selector)} is ${expected}`, () => {
    assert.equal(fieldsMatch(parseFieldSelector(selector, POD), object), expected);
  });
}
test("a field that the kind cannot be selected by is named", () => {
  assert.throws(
    () => parseFieldSelector("spec.color=red", POD),
    /field label not supported: spec\.color/,
  );
  assert.throws(
    () => parseFieldSelector("status.phase=x", { group: "", kind: "ConfigMap" }),
    /field label not supported/,
  );
});
