import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parse } from "yaml";
import { RESOURCES } from "../../src/api/index.ts";
import { ANALYZERS, MESSAGES } from "../../src/mesh/index.ts";
import { startCluster } from "./cluster.ts";
import { runCommand } from "./run-command.ts";

const dir = mkdtempSync(join(tmpdir(), "serin-analyze-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const NO_HOST = `# the shop
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: web
spec:
  hosts: [web]
  http:
  - route:
    - destination:
        host: web
`;
const NO_PROTOCOL = `apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  ports:
  - { port: 80 }
`;
const POLICY = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: none, namespace: shop }
spec: {}
`;
const offline = (...args: readonly string[]) =>
  runCommand(["analyze", "--use-kube=false", ...args]);

test("a finding stands on a line of its own with resource, file and the line of the field", async () => {
  const path = file("vs.yaml", NO_HOST);
  const { code, stdout, stderr } = await offline(path);
  assert.equal(code, 79);
  assert.equal(
    stdout,
    `Error [IST0101] (VirtualService default/web ${path}:11) Referenced host not found: "web.default.svc.cluster.local"\n`,
  );
  assert.match(stderr, /^Error: found issues when analyzing .*vs\.yaml/);
});

test("nothing found says so and exits 0", async () => {
  const both = `${NO_HOST}---\n${NO_PROTOCOL.replace("{ port: 80 }", "{ port: 80, name: http }")}`;
  const { code, stdout, stderr } = await offline(file("fine.yaml", both));
  assert.deepEqual({ code, stdout }, { code: 0, stdout: "" });
  assert.match(stderr, /^✔ No validation issues found when analyzing .*fine\.yaml\.$/m);
});

test("thresholds decide what is printed and what fails", async () => {
  const path = file("info.yaml", NO_PROTOCOL);
  const plain = await offline(path);
  assert.equal(plain.code, 0);
  assert.match(plain.stdout, /^Info \[IST0118\]/);
  assert.equal((await offline(path, "--failure-threshold", "Info")).code, 79);
  const quiet = await offline(path, "--output-threshold", "warning");
  assert.deepEqual([quiet.code, quiet.stdout], [0, ""]);
});

test("json and yaml have code, name, level, origin, reference and message", async () => {
  const path = file("policy.yaml", POLICY);
  const json = await offline(path, "-o", "json");
  const expected = {
    code: "SRN0005",
    name: "PolicyWithoutRules",
    level: "Warning",
    origin: "AuthorizationPolicy shop/none",
    reference: `${path}:4`,
  };
  const [{ message, ...rest }] = JSON.parse(json.stdout);
  assert.deepEqual(rest, expected);
  assert.match(message, /denied/);
  const yaml = await offline(path, "-o", "yaml");
  assert.deepEqual(parse(yaml.stdout), JSON.parse(json.stdout));
});

test("findings are suppressed by code and name, with wildcards", async () => {
  const path = file("both.yaml", `${NO_HOST}---\n${POLICY}`);
  for (const [suppressions, count] of [
    [["IST0101=VirtualService web.default"], 1],
    [["IST0101=VirtualService web.default", "SRN0005=AuthorizationPolicy *.shop"], 0],
    [["IST0101=*", "SRN0005=AuthorizationPolicy other.*"], 1],
  ] as const) {
    const flags = suppressions.flatMap((each) => ["-S", each]);
    const { stdout } = await offline(path, "-o", "json", ...flags);
    assert.equal(JSON.parse(stdout).length, count, suppressions.join());
  }
});

test("folders are read, those below them with --recursive", async () => {
  const folder = join(dir, "folder");
  mkdirSync(join(folder, "below"), { recursive: true });
  writeFileSync(join(folder, "vs.yaml"), NO_HOST);
  writeFileSync(join(folder, "notes.txt"), "not: [yaml");
  writeFileSync(join(folder, "below", "policy.json"), JSON.stringify(parse(POLICY)));
  const codes = async (...args: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await offline(folder, "-o", "json", ...args);
    return JSON.parse(stdout).map(({ code }: { code: string }) => code);
  };
  assert.deepEqual(await codes(), ["IST0101"]);
  assert.deepEqual(await codes("-R"), ["IST0101", "SRN0005"]);
});

test("what cannot be read exits 65, and the rest is analyzed nevertheless", async () => {
  const path = file("broken.yaml", `${POLICY}---\na: [\n---\nkind: Nothing\n`);
  const { code, stdout, stderr } = await offline(path);
  assert.equal(code, 65);
  assert.match(stdout, /SRN0005/);
  assert.match(stderr, /broken\.yaml: document 2: /);
  assert.match(stderr, /broken\.yaml:8: no Kubernetes object: apiVersion, metadata\.name missing/);
  assert.equal((await offline("/does/not/exist")).code, 65);
});

for (const [args, message] of [
  [["--use-kube=false"], /nothing to analyze/],
  [["--failure-threshold", "bad"], /--failure-threshold must be Info, Warning, Error/],
  [["-o", "table"], /--output must be log, json or yaml/],
  [["--suppress", "IST0101"], /--suppress must be CODE=KIND NAME/],
  [["--suppress", "IST9999=*"], /unknown code IST9999/],
  [["--nonsense"], /--nonsense/],
] as const) {
  test(`wrong usage exits 64: ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await runCommand(["analyze", ...args]);
    assert.equal(code, 64);
    assert.equal(stdout, "");
    assert.match(stderr, message);
  });
}

test("a cluster is analyzed alone, by namespace, and as if files were applied", async (t) => {
  const { store, kubeconfigPath } = await startCluster(t);
  const kube = ["--kubeconfig", kubeconfigPath];
  const analyze = async (...args: readonly string[]) => {
    const ran = await runCommand(["analyze", ...kube, "-o", "json", ...args]);
    const found = JSON.parse(ran.stdout || "[]") as { code: string; origin: string }[];
    return { ...ran, found: found.map(({ code, origin }) => `${code} ${origin}`) };
  };
  assert.deepEqual((await analyze()).found, ["IST0102 Namespace default"]);
  const object = parse(NO_HOST);
  object.metadata.namespace = "default";
  await store.create(RESOURCES.virtualService, object);
  const alone = await analyze();
  assert.equal(alone.code, 79);
  assert.deepEqual(alone.found, [
    "IST0101 VirtualService default/web",
    "IST0102 Namespace default",
  ]);
  assert.deepEqual((await analyze("-n", "other")).found, []);
  assert.equal((await analyze("-A")).found.length, 2);
  const named = NO_PROTOCOL.replace("{ port: 80 }", "{ port: 80, name: http }");
  const applied = await analyze(file("svc.yaml", named));
  assert.equal(applied.code, 0);
  assert.deepEqual(applied.found, ["IST0102 Namespace default"]);
});

test("a kubeconfig that cannot be read exits 65, an API that is away 1, with one sentence", async (t) => {
  const none = await runCommand(["analyze", "--kubeconfig", "/does/not/exist"]);
  assert.equal(none.code, 65);
  const { kubeconfigPath, stop } = await startCluster(t);
  await stop();
  const away = await runCommand(["analyze", "--kubeconfig", kubeconfigPath]);
  assert.equal(away.code, 1);
  for (const { stderr } of [none, away]) assert.match(stderr, /^serin: [^\n]+\n$/);
});

test("-L lists every code, and so does the reference", async () => {
  const { stdout } = await runCommand(["analyze", "-L"]);
  const reference = readFileSync("docs/reference/analyze.md", "utf8");
  const codes = new Set(ANALYZERS.flatMap((analyzer) => analyzer.codes));
  assert.deepEqual([...codes].sort(), Object.keys(MESSAGES).sort());
  for (const [code, { name, level, when }] of Object.entries(MESSAGES)) {
    assert.ok(stdout.includes(`${code} ${name}: ${when}`), code);
    assert.ok(
      reference.includes(`| ${code} | ${name} | ${level} | ${when} |`),
      `${code} in the reference`,
    );
  }
});
