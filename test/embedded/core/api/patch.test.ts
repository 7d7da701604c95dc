import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { builtInSchema } from "../../../../src/embedded/api-server/built-in-schemas.ts";
import { applyJsonPatch, PatchError } from "../../../../src/embedded/core/api/json-patch.ts";
import { applyMergePatch } from "../../../../src/embedded/core/api/merge-patch.ts";
import { applyStrategicMerge } from "../../../../src/embedded/core/api/strategic-merge.ts";

const seed = Date.now() % 2_147_483_647;
test("seed", (t) => t.diagnostic(`fast-check seed ${seed}`));

// RFC 6902 appendix A, and its traps.
const JSON_PATCHES: readonly (readonly [string, unknown, unknown, unknown])[] = [
  ["adds a field", { a: 1 }, [{ op: "add", path: "/b", value: 2 }], { a: 1, b: 2 }],
  [
    "inserts into an array",
    { a: [1, 3] },
    [{ op: "add", path: "/a/1", value: 2 }],
    { a: [1, 2, 3] },
  ],
  ["appends with -", { a: [1] }, [{ op: "add", path: "/a/-", value: [2] }], { a: [1, [2]] }],
  ["removes from an array", { a: [1, 2, 3] }, [{ op: "remove", path: "/a/1" }], { a: [1, 3] }],
  ["replaces the whole", { a: 1 }, [{ op: "replace", path: "", value: [] }], []],
  ["replaces with null", { a: 1 }, [{ op: "replace", path: "/a", value: null }], { a: null }],
  [
    "moves",
    { a: { b: 1 }, c: {} },
    [{ op: "move", from: "/a/b", path: "/c/d" }],
    { a: {}, c: { d: 1 } },
  ],
  [
    "moves within an array",
    { a: [1, 2, 3] },
    [{ op: "move", from: "/a/0", path: "/a/2" }],
    { a: [2, 3, 1] },
  ],
  [
    "copies deeply",
    { a: { b: [1] } },
    [
      { op: "copy", from: "/a", path: "/c" },
      { op: "add", path: "/c/b/-", value: 2 },
    ],
    { a: { b: [1] }, c: { b: [1, 2] } },
  ],
  [
    "tests without order of fields",
    { a: { x: 1, y: [2] } },
    [{ op: "test", path: "/a", value: { y: [2], x: 1 } }],
    { a: { x: 1, y: [2] } },
  ],
  [
    "unescapes ~1 and ~0",
    { "a/b": 1, "m~n": 2 },
    [
      { op: "replace", path: "/a~1b", value: 3 },
      { op: "remove", path: "/m~0n" },
    ],
    { "a/b": 3 },
  ],
  [
    "keeps __proto__ a plain field",
    {},
    [{ op: "add", path: "/__proto__", value: { x: 1 } }],
    JSON.parse('{"__proto__":{"x":1}}'),
  ],
];
for (const [name, document, patch, expected] of JSON_PATCHES) {
  test(`a JSON patch ${name}`, () => {
    const before = structuredClone(document);
    assert.deepEqual(applyJsonPatch(document, patch), expected);
    assert.deepEqual(document, before, "the old document is not touched");
  });
}

const BAD_JSON_PATCHES: readonly (readonly [string, unknown])[] = [
  ["not an array", { op: "add" }],
  ["no such field", [{ op: "remove", path: "/x" }]],
  ["replace of nothing", [{ op: "replace", path: "/x", value: 1 }]],
  ["index out of range", [{ op: "add", path: "/list/5", value: 1 }]],
  ["index with a leading zero", [{ op: "remove", path: "/list/00" }]],
  ["- is no element", [{ op: "remove", path: "/list/-" }]],
  ["into a string", [{ op: "add", path: "/text/a", value: 1 }]],
  ["into itself", [{ op: "move", from: "/object", path: "/object/inner" }]],
  ["failed test", [{ op: "test", path: "/text", value: "other" }]],
  ["no value", [{ op: "add", path: "/x" }]],
  ["not a pointer", [{ op: "add", path: "x", value: 1 }]],
  ["bad escape", [{ op: "add", path: "/~2", value: 1 }]],
  ["unknown operation", [{ op: "merge", path: "/x", value: 1 }]],
  ["inherited field", [{ op: "copy", from: "/constructor", path: "/x" }]],
];
for (const [name, patch] of BAD_JSON_PATCHES) {
  test(`a JSON patch is refused: ${name}`, () => {
    const document = { list: [1], text: "t", object: {} };
    assert.throws(() => applyJsonPatch(document, patch), PatchError);
  });
}

// RFC 7396 appendix A.
const MERGES: readonly (readonly [unknown, unknown, unknown])[] = [
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [
    ["a", "b"],
    ["c", "d"],
    ["c", "d"],
  ],
  [{ a: "b" }, ["c"], ["c"]],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: "b", c: null }, { a: "b" }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];
for (const [document, patch, expected] of MERGES) {
  test(`merge of ${JSON.stringify(patch)} into ${JSON.stringify(document)}`, () => {
    assert.deepEqual(applyMergePatch(document, patch), expected);
  });
}

const json = fc.jsonValue({ maxDepth: 4 });
test("a merge patch applied twice is applied once, and leaves no null it brought", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), json),
      fc.dictionary(fc.string(), json),
      (document, patch) => {
        const once = applyMergePatch(document, patch);
        assert.deepEqual(applyMergePatch(once, patch), once);
      },
    ),
    { seed },
  );
});

test("any patch at all is applied or refused with PatchError", () => {
  const operation = fc.record({
    op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "x"),
    path: fc.constantFrom("", "/a", "/a/0", "/a/-", "/a/b", "/__proto__/x", "a", "/~"),
    from: fc.constantFrom("", "/a", "/a/0", "/b"),
    value: json,
  });
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom("a", "b"), json),
      fc.array(operation, { maxLength: 6 }),
      (document, patch) => {
        try {
          applyJsonPatch(document, patch);
        } catch (error) {
          assert.ok(error instanceof PatchError, String(error));
        }
        assert.equal(({} as { x?: unknown }).x, undefined);
      },
    ),
    { seed, numRuns: 500 },
  );
});

const podSchema = builtInSchema("V1Pod");
const pod = (spec: unknown): unknown => ({ metadata: { name: "p" }, spec });
const container = (name: string, extra: object = {}): object => ({
  name,
  image: `${name}:1`,
  ...extra,
});

// kubernetes/community sig-api-machinery strategic-merge-patch.md
const STRATEGIC: readonly (readonly [string, unknown, unknown, unknown])[] = [
  [
    "merges containers by name",
    { containers: [container("a"), container("b")] },
    { containers: [{ name: "b", image: "b:2" }] },
    { containers: [container("a"), container("b", { image: "b:2" })] },
  ],
  [
    "adds a container that is new",
    { containers: [container("a")] },
    { containers: [container("c")] },
    { containers: [container("a"), container("c")] },
  ],
  [
    "deletes an element by $patch",
    { containers: [container("a"), container("b")] },
    { containers: [{ name: "a", $patch: "delete" }] },
    { containers: [container("b")] },
  ],
  [
    "replaces a list by $patch",
    { containers: [container("a"), container("b")] },
    { containers: [{ $patch: "replace" }, container("z")] },
    { containers: [container("z")] },
  ],
  [
    "replaces an object by $patch",
    { securityContext: { runAsUser: 1, fsGroup: 2 } },
    { securityContext: { $patch: "replace", runAsGroup: 3 } },
    { securityContext: { runAsGroup: 3 } },
  ],
  [
    "deletes an object by $patch",
    { securityContext: { runAsUser: 1 } },
    { securityContext: { $patch: "delete" } },
    {},
  ],
  [
    "deletes a field by null",
    { nodeName: "n", hostname: "h" },
    { hostname: null },
    { nodeName: "n" },
  ],
  [
    "replaces lists without a key whole",
    { tolerations: [{ key: "a" }] },
    { tolerations: [{ key: "b" }] },
    { tolerations: [{ key: "b" }] },
  ],
  [
    "merges env by name and ports by containerPort",
    {
      containers: [
        container("a", {
          env: [{ name: "X", value: "1" }],
          ports: [{ containerPort: 1, name: "one" }],
        }),
      ],
    },
    {
      containers: [
        { name: "a", env: [{ name: "Y", value: "2" }], ports: [{ containerPort: 1, name: "uno" }] },
      ],
    },
    {
      containers: [
        container("a", {
          env: [
            { name: "X", value: "1" },
            { name: "Y", value: "2" },
          ],
          ports: [{ containerPort: 1, name: "uno" }],
        }),
      ],
    },
  ],
  [
    "keeps only $retainKeys",
    { volumes: [{ name: "v", emptyDir: {} }] },
    { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }] },
    { volumes: [{ name: "v", hostPath: { path: "/x" } }] },
  ],
  [
    "orders by $setElementOrder",
    { containers: [container("a"), container("b")] },
    {
      "$setElementOrder/containers": [{ name: "c" }, { name: "b" }, { name: "a" }],
      containers: [container("c")],
    },
    { containers: [container("c"), container("b"), container("a")] },
  ],
  [
    "leaves what only the server has in its place",
    { containers: [container("injected"), container("a")] },
    { "$setElementOrder/containers": [{ name: "a" }], containers: [{ name: "a", image: "a:2" }] },
    { containers: [container("injected"), container("a", { image: "a:2" })] },
  ],
];
for (const [name, before, patch, expected] of STRATEGIC) {
  test(`a strategic merge ${name}`, () => {
    const merged = applyStrategicMerge(pod(before), { spec: patch }, podSchema);
    assert.deepEqual(merged, pod(expected));
  });
}

test("lists of plain values: finalizers merge, and values are deleted from them by name", () => {
  const document = { metadata: { finalizers: ["a", "b"] } };
  assert.deepEqual(
    applyStrategicMerge(document, { metadata: { finalizers: ["c", "a"] } }, podSchema),
    {
      metadata: { finalizers: ["a", "b", "c"] },
    },
  );
  const patch = { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] } };
  assert.deepEqual(applyStrategicMerge(document, patch, podSchema), {
    metadata: { finalizers: ["b"] },
  });
});

test("a strategic merge that does not fit names the field", () => {
  const rows = [
    [
      { spec: { containers: [{ image: "x" }] } },
      /spec\.containers\[0\] does not contain declared merge key: name/,
    ],
    [{ spec: { containers: ["x"] } }, /spec\.containers\[0\] must be an object/],
    [{ spec: { $patch: "explode" } }, /spec: unknown \$patch "explode"/],
    [[], /must be an object/],
  ] as const;
  for (const [patch, message] of rows) {
    assert.throws(() => applyStrategicMerge(pod({}), patch, podSchema), message);
  }
});
