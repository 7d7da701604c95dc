import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isSameTemplate,
  templateHash,
} from "../../../../src/embedded/core/controllers/template-hash.ts";

const template = (image: string, labels: Record<string, string> = {}) => ({
  metadata: { labels: { app: "web", ...labels } },
  spec: { containers: [{ name: "web", image }] },
});

test("the hash depends on content, not on the order of fields", () => {
  const { metadata, spec } = template("a");
  assert.equal(templateHash({ spec, metadata }, 0), templateHash({ metadata, spec }, 0));
  assert.notEqual(templateHash(template("a"), 0), templateHash(template("b"), 0));
  assert.notEqual(templateHash(template("a"), 0), templateHash(template("a"), 1));
  assert.match(templateHash(template("a"), 0), /^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/);
});

test("templates are compared without the hash label", () => {
  assert.ok(isSameTemplate(template("a"), template("a", { "pod-template-hash": "x" })));
  assert.ok(!isSameTemplate(template("a"), template("a", { version: "v1" })));
});
