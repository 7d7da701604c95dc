import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse } from "yaml";
import { canaryColumns } from "../../src/cli/output/canary-columns.ts";
import { formatDocument, listOf } from "../../src/cli/output/document.ts";
import { columnWidths, formatTable } from "../../src/cli/output/table.ts";
import { canaryObject } from "./cluster.ts";

test("columns are as wide as their widest cell, and later rows keep the widths", () => {
  const rows = [
    ["NAME", "STATUS"],
    ["a-long-name", ""],
  ];
  assert.equal(formatTable(rows), "NAME          STATUS\na-long-name\n");
  assert.equal(formatTable([["b", "x"]], columnWidths(rows)), "b             x\n");
  assert.equal(formatTable([]), "");
});

test("an object without a status, and one with nonsense in it, is a row all the same", () => {
  const { headers, row } = canaryColumns({ isWide: false, hasNamespace: true });
  assert.deepEqual(headers, ["NAMESPACE", "NAME", "STATUS", "WEIGHT", "LASTTRANSITIONTIME"]);
  const object = canaryObject("cart");
  assert.deepEqual(row(object), ["default", "cart", "", "", ""]);
  assert.deepEqual(row({ ...object, status: null }), ["default", "cart", "", "", ""]);
  const status = { phase: { a: 1 }, canaryWeight: 0 };
  assert.deepEqual(row({ ...object, status }), ["default", "cart", '{"a":1}', "0", ""]);
});

for (const text of [
  "2026-01-02T03:04:05Z",
  "yes",
  "on",
  "1e3",
  "0777",
  "null",
  "~",
  "1:20",
  "{}",
]) {
  test(`YAML quotes ${text}: a reader of YAML 1.1 must see a string too`, () => {
    assert.match(formatDocument({ text }, "yaml"), /^text: ["'].*["']\n$/);
  });
}

test("both formats are read back as what was printed", (t) => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  // No object of Kubernetes has these fields: YAML 1.1 merges by the one, JavaScript sets the other.
  const value = fc
    .dictionary(fc.string({ minLength: 1 }), fc.jsonValue())
    .filter((each) => !/"(?:<<|__proto__)"/.test(JSON.stringify(each)));
  const property = fc.property(value, (object) => {
    // As an answer of the API: JSON knows no negative zero.
    const plain: unknown = JSON.parse(JSON.stringify(object));
    assert.deepEqual(JSON.parse(formatDocument(plain, "json")), plain);
    assert.deepEqual(parse(formatDocument(plain, "yaml"), { version: "1.1" }), plain);
  });
  fc.assert(property, { seed, numRuns: 500 });
});

test("several objects are kubectl's List", () => {
  const list = listOf([canaryObject("a")]);
  assert.match(
    formatDocument(list, "yaml"),
    /^apiVersion: v1\nitems:\n- apiVersion: serin.dev\/v1\n/,
  );
});
