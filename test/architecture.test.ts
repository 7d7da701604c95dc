import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

/** Which areas of src/ an area may import besides itself. docs/architecture.md explains each edge. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  runtime: ["base"],
  api: ["base"],
  xds: ["base"],
  kube: ["base", "runtime", "api"],
  embedded: ["base", "runtime", "api"],
  analysis: ["base", "runtime", "api"],
  controller: ["base", "runtime", "api", "kube", "analysis"],
  mesh: ["base", "runtime", "api", "xds", "kube"],
  proxy: ["base", "runtime", "xds"],
  dashboard: ["base", "runtime", "api", "kube"],
  cli: [
    ...["base", "runtime", "api", "xds", "kube", "embedded"],
    ...["analysis", "controller", "mesh", "proxy", "dashboard"],
  ],
};
/** Areas that are pure as a whole, and the libraries they may use. */
const PURE_AREAS: Record<string, readonly string[]> = {
  base: ["zod"],
  api: ["zod"],
  xds: ["protobufjs/minimal.js", "zod"],
};
/** What a core/ may import besides its own area's core. */
const CORE_MAY_IMPORT = ["base", "api", "xds"];
/** The files of an area that other areas may import. */
const DOORS = ["index.ts"];
const EXTRA_DOORS = ["kube/store.ts", "analysis/core/verdict.ts"];

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((f) => f.endsWith(".ts") && !f.includes("generated"))
  .map((f) => normalize(f));
const areaOf = (path: string): string => path.split("/")[0] ?? "";
const isCore = (path: string): boolean => path.split("/")[1] === "core";

test("every area of src/ is in the import table", () => {
  const areas = readdirSync("src", { withFileTypes: true }).filter((d) => d.isDirectory());
  assert.deepEqual(
    areas.map((d) => d.name).filter((name) => MAY_IMPORT[name] === undefined),
    [],
  );
});

for (const file of files) {
  const source = readFileSync(join("src", file), "utf8");
  const specifiers = [
    ...source.matchAll(/^(?:import|export)\b[^;]*?[\s}]from\s*"([^"]+)"/gms),
    ...source.matchAll(/\bimport\s*\(\s*"([^"]+)"/g),
    ...source.matchAll(/^import\s*"([^"]+)"/gm),
  ].map((m) => m[1] ?? "");
  const local = specifiers
    .filter((s) => s.startsWith("."))
    .map((s) => normalize(join(dirname(file), s)));
  const area = areaOf(file);

  test(`${file} imports only areas it may`, () => {
    const allowed = [area, ...(MAY_IMPORT[area] ?? [])];
    assert.deepEqual(
      local.filter((target) => !allowed.includes(areaOf(target))),
      [],
    );
  });

  test(`${file} enters other areas by their door`, () => {
    const foreign = local.filter((target) => areaOf(target) !== area);
    assert.deepEqual(
      foreign.filter(
        (target) =>
          !EXTRA_DOORS.includes(target) &&
          !DOORS.includes(target.slice(areaOf(target).length + 1)) &&
          existsSync(join("src", areaOf(target), "index.ts")),
      ),
      [],
    );
  });

  const pureArea = PURE_AREAS[area];
  if (!isCore(file) && pureArea === undefined) continue;
  test(`${file} is pure`, () => {
    if (isCore(file)) {
      const foreignToCore = local.filter(
        (target) =>
          !(areaOf(target) === area && isCore(target)) &&
          !CORE_MAY_IMPORT.includes(areaOf(target)) &&
          !(area === "controller" && target === "analysis/core/verdict.ts"),
      );
      assert.deepEqual(foreignToCore, []);
    }
    const libraries = specifiers.filter((s) => !s.startsWith("."));
    assert.deepEqual(
      libraries.filter((s) => !(pureArea ?? ["zod"]).includes(s)),
      [],
    );
    assert.doesNotMatch(source, /Math\.random|\bDate\.now|\bawait\b|\bprocess\./);
  });
}
