import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runCommand } from "./run-command.ts";

const dir = mkdtempSync(join(tmpdir(), "serin-validate-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}
const validate = (...args: readonly string[]) => runCommand(["validate", ...args]);

const RULE = `apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: { name: web }
spec:
  host: web
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
`;

test("a valid file is said to be valid", async () => {
  const path = file("rule.yaml", RULE);
  const result = await validate("-f", path);
  assert.deepEqual(result, { code: 0, stdout: `"${path}" is valid\n`, stderr: "" });
});

type Row = readonly [what: string, text: string, code: number, message: RegExp];
const ROWS: readonly Row[] = [
  [
    "an unknown field, with the one that was meant",
    RULE.replace("simple:", "simpel:"),
    1,
    /:\d+: DestinationRule default\/web: spec\.trafficPolicy\.loadBalancer\.simpel: unknown field, did you mean simple\?/,
  ],
  [
    "a value that there is not",
    RULE.replace("ROUND_ROBIN", "FASTEST"),
    1,
    /:8: DestinationRule default\/web: spec\.trafficPolicy\.loadBalancer\.simple: /,
  ],
  ["a required field", RULE.replace("  host: web\n", ""), 1, /:5: .*spec\.host: /],
  [
    "a version that there is not",
    RULE.replace("v1beta1", "v9"),
    1,
    /:1: .*v1, v1beta1, v1alpha3 \(found v9\)/,
  ],
  [
    "a slip in the kind",
    RULE.replace("DestinationRule", "DestinationRules"),
    1,
    /:2: .*did you mean DestinationRule\?/,
  ],
  [
    "a name that cannot be one",
    RULE.replace("name: web", "name: Web_1"),
    1,
    /:3: .*metadata\.name: /,
  ],
  [
    "a kind that nothing reads is a warning",
    "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: { name: x }\n",
    0,
    /Warning: .*EnvoyFilter of networking\.istio\.io is not known here and has no effect/,
  ],
  [
    "a field that does nothing is a warning",
    `${RULE}    tunnel: { targetHost: a, targetPort: 80 }\n`,
    0,
    /Warning: .*spec\.trafficPolicy\.tunnel has no effect/,
  ],
  [
    "pods that metrics cannot tell apart are a warning",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { template: { metadata: { labels: { app: web } } } }\n",
    0,
    /Warning: .*no label version/,
  ],
  ["broken YAML", "a: [\n", 2, /document 1: /],
  ["no object", "a: 1\n", 2, /no Kubernetes object: apiVersion, kind, metadata\.name missing/],
];
for (const [i, [what, text, code, message]] of ROWS.entries()) {
  test(what, async () => {
    const result = await validate("-f", file(`row-${i}.yaml`, text));
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stdout === "", code !== 0);
  });
}

test("every bad field has a line of its own", async () => {
  const text = RULE.replace("  host: web\n", "").replace(
    "simple: ROUND_ROBIN",
    "simple: X\n      more: 1",
  );
  const { stderr } = await validate("-f", file("many.yaml", text));
  assert.equal(stderr.trimEnd().split("\n").length, 3, stderr);
});

test("--strict makes errors of warnings; json has them as objects", async () => {
  const path = file("warned.yaml", `${RULE}    tunnel: { targetHost: a, targetPort: 80 }\n`);
  assert.equal((await validate("-f", path, "--strict")).code, 1);
  const { stdout } = await validate("-f", path, "-o", "json");
  const [problem] = JSON.parse(stdout);
  assert.equal(problem.level, "Warning");
  assert.equal(problem.line, 9);
});

test("wrong usage and unreadable files exit 2", async () => {
  for (const args of [[], ["-f", "/does/not/exist"], ["-f", dir, "-o", "table"], ["--nonsense"]]) {
    assert.equal((await validate(...args)).code, 2, args.join(" "));
  }
});

test("the examples of this repository are valid", async () => {
  const examples = readdirSync("examples", { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".yaml"))
    .map((path) => join("examples", path))
    .filter((path) => /^kind:/m.test(readFileSync(path, "utf8")));
  assert.ok(examples.length > 0);
  const { code, stderr } = await validate(...examples.flatMap((path) => ["-f", path]));
  assert.equal(code, 0, stderr);
});
