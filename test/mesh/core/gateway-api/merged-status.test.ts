import assert from "node:assert/strict";
import { test } from "node:test";
import { condition } from "../../../../src/mesh/core/gateway-api/conditions.ts";
import { mergedStatus } from "../../../../src/mesh/core/gateway-api/merged-status.ts";
import type { StatusBody } from "../../../../src/mesh/core/gateway-api/wanted-status.ts";

const NOW = "2026-11-24T00:00:00Z";
const THEN = "2026-01-01T00:00:00Z";
const OURS = "serin.dev/gateway-controller";
const good = { reason: "Accepted", message: "m" };
const accepted = condition("Accepted", 2, good, undefined);
const refused = condition("Accepted", 2, good, { reason: "NoMatchingParent", message: "none" });
const route = (...conditions: readonly (typeof accepted)[]): StatusBody => ({
  kind: "route",
  parents: [{ parentRef: { name: "web" }, controllerName: OURS, conditions }],
});
const written = (body: StatusBody, current: unknown = {}, now = THEN) =>
  JSON.parse(JSON.stringify(mergedStatus(current, body, now))) as {
    readonly parents: readonly { readonly conditions: readonly { lastTransitionTime: string }[] }[];
  };

test("what is there already is not written, in whatever order its fields are", () => {
  const status = written(route(accepted));
  assert.equal(mergedStatus(status, route(accepted), NOW), undefined);
  const turned = {
    parents: status.parents.map((parent) => Object.fromEntries(Object.entries(parent).reverse())),
  };
  assert.equal(mergedStatus(turned, route(accepted), NOW), undefined);
  assert.equal(mergedStatus({}, { kind: "route", parents: [] }, NOW), undefined);
});

test("the time of the last change is that of the status, not of its reason or generation", () => {
  const before = written(route(accepted));
  const timeOf = (body: StatusBody) =>
    written(body, before, NOW).parents[0]?.conditions[0]?.lastTransitionTime;
  assert.equal(timeOf(route({ ...accepted, observedGeneration: 3, message: "other" })), THEN);
  assert.equal(timeOf(route(refused)), NOW);
});

test("parents of other controllers and conditions of other types stay; ours that are gone go", () => {
  const foreign = { controllerName: "x.io/y", parentRef: { name: "web" }, conditions: [] };
  const stale = { controllerName: OURS, parentRef: { name: "old" }, conditions: [] };
  const own = { type: "Theirs", status: "True" };
  const current = {
    parents: [
      foreign,
      stale,
      { controllerName: OURS, parentRef: { name: "web" }, conditions: [own] },
    ],
  };
  const { parents } = written(route(accepted), current, NOW);
  assert.deepEqual(parents, [
    foreign,
    {
      parentRef: { name: "web" },
      controllerName: OURS,
      conditions: [{ ...accepted, lastTransitionTime: NOW }, own],
    },
  ]);
  assert.deepEqual(mergedStatus(current, { kind: "route", parents: [] }, NOW), {
    parents: [foreign],
  });
});

test("a Gateway: listeners keep their times by name", () => {
  const listener = (name: string) => ({
    ...{ name, attachedRoutes: 1, supportedKinds: [] },
    conditions: [accepted],
  });
  const body = (...names: readonly string[]): StatusBody => ({
    ...{ kind: "gateway", addresses: [], conditions: [accepted] },
    listeners: names.map(listener),
  });
  const before = mergedStatus({}, body("a"), THEN);
  const after = mergedStatus(before, body("b", "a"), NOW) as {
    readonly listeners: readonly { conditions: readonly { lastTransitionTime: string }[] }[];
  };
  assert.deepEqual(
    after.listeners.map(({ conditions }) => conditions[0]?.lastTransitionTime),
    [NOW, THEN],
  );
  assert.equal(mergedStatus(before, body("a"), NOW), undefined);
});
