import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { parse, parseAllDocuments } from "yaml";
import { documentParts } from "../../src/cli/inject/document-parts.ts";
import { injectStream } from "../../src/cli/inject/inject-stream.ts";
import { runCommand } from "./run-command.ts";

const SETTINGS = {
  proxyImage: "docker.io/serin/proxy:0.1.0",
  xdsAddress: "istiod.istio-system.svc:15010",
  interceptionMode: "REDIRECT",
  clusterId: "Kubernetes",
  audience: "istio-ca",
} as const;

const dir = mkdtempSync(join(tmpdir(), "serin-inject-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}
const config = (): string => file("config.yaml", JSON.stringify(SETTINGS));
const inject = (text: string, namespace = "default") =>
  injectStream(text, "test", { namespace, settings: SETTINGS });

const TEMPLATE = `
      metadata: { labels: { app: web } }
      spec:
        containers:
        - { name: web, image: web:1, ports: [{ containerPort: 8080 }] }`;
const deep = (spaces: number): string => TEMPLATE.replaceAll("\n", `\n${" ".repeat(spaces)}`);
const pod = (spec: string): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec:\n${spec}`;

type Container = { readonly name: string; readonly env?: readonly Record<string, string>[] };
interface Template {
  readonly metadata: { readonly annotations: Record<string, string> };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
  };
}

const KINDS: readonly (readonly [string, string, readonly string[], string])[] = [
  ["Deployment", "apps/v1", ["spec", "template"], "deployments/web"],
  ["ReplicaSet", "apps/v1", ["spec", "template"], "replicasets/web"],
  ["StatefulSet", "apps/v1", ["spec", "template"], "statefulsets/web"],
  ["DaemonSet", "apps/v1", ["spec", "template"], "daemonsets/web"],
  ["Job", "batch/v1", ["spec", "template"], "jobs/web"],
  ["CronJob", "batch/v1", ["spec", "jobTemplate", "spec", "template"], "cronjobs/web"],
];
for (const [kind, apiVersion, path, owner] of KINDS) {
  test(`the pods of a ${kind} get a sidecar that knows whose they are, and no second one`, () => {
    const spec =
      kind === "CronJob"
        ? `schedule: "* * * * *"\n  jobTemplate:\n    spec:\n      template:${deep(2)}`
        : `template:${deep(0)}`;
    const text = `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: web, namespace: shop }\nspec:\n  ${spec}\n`;
    const { text: once } = inject(text);
    const template = path.reduce((at, key) => at[key], parse(once)) as Template;
    const names = template.spec.containers.map(({ name }) => name);
    assert.deepEqual(names, ["web", "istio-proxy"]);
    assert.deepEqual(
      template.spec.initContainers?.map(({ name }) => name),
      ["istio-init"],
    );
    const env = template.spec.containers[1]?.env ?? [];
    const said = env.find(({ name }) => name === "ISTIO_META_OWNER")?.["value"];
    assert.equal(said, `kubernetes://apis/${apiVersion}/namespaces/shop/${owner}`);
    assert.ok(template.metadata.annotations["sidecar.istio.io/status"]);
    assert.equal(inject(once).text, once, "idempotent");
  });
}

test("everything else of a stream passes byte for byte, and comments stay where they are", () => {
  const before = "# the shop\n---\n";
  const service = "apiVersion: v1\nkind: Service   # odd   spacing\nmetadata: {name: web}\n";
  const deployment = `---
# serves the web
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # the name
spec:
  template:
    metadata:
      labels:
        app: web # the label
    spec:
      containers:
      # the application
      - name: web
        image: "web:1" # quoted
`;
  const after = "---\napiVersion: example.com/v1\nkind: Widget\nspec: {a: [1,2]}\n";
  const { text } = inject(before + service + deployment + after);
  assert.ok(text.startsWith(before + service));
  assert.ok(text.endsWith(after));
  for (const line of deployment.trimEnd().split("\n")) assert.ok(text.includes(`${line}\n`), line);
  assert.equal(parseAllDocuments(text).length, 3);
});

test("documents cut apart are the stream again", () => {
  const line = fc.constantFrom(
    "---\n",
    "--- # x\n",
    "a: 1\n",
    "# c\n",
    "\n",
    "  b: |\n",
    "---x: 1\n",
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const stream = lines.join("");
      const parts = documentParts(stream).map(({ separator, text }) => separator + text);
      assert.equal(parts.join(""), stream);
    }),
  );
});

test("Lists are looked into", () => {
  const list = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: { name: kept }
- ${pod("  containers: [{ name: web, image: web }]").replaceAll("\n", "\n  ")}
`;
  const { items } = parse(inject(list).text) as { items: [unknown, Template] };
  assert.deepEqual(items[0], { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "kept" } });
  assert.equal(items[1].spec.containers.length, 2);
});

for (const [what, text, warning] of [
  [
    "the host's network",
    pod("  hostNetwork: true\n  containers: [{ name: web, image: web }]\n"),
    /Pod default\/web: pods on the host's network/,
  ],
  [
    "a refusal",
    pod("  containers: [{ name: web, image: web }]\n").replace(
      "{ name: web }",
      '{ name: web, labels: { sidecar.istio.io/inject: "false" } }',
    ),
    undefined,
  ],
  [
    "a namespace of Kubernetes",
    pod("  containers: [{ name: web, image: web }]\n").replace(
      "{ name: web }",
      "{ name: web, namespace: kube-system }",
    ),
    undefined,
  ],
] as const) {
  test(`left alone: ${what}`, () => {
    const result = inject(text);
    assert.equal(result.text, text);
    assert.equal(result.warnings.length, warning === undefined ? 0 : 1);
    if (warning !== undefined) assert.match(result.warnings[0] ?? "", warning);
  });
}

test("a native sidecar stands before the pod's own init containers, and after the redirection", () => {
  const text = `apiVersion: v1
kind: Pod
metadata: { name: web, annotations: { sidecar.istio.io/nativeSidecar: "true" } }
spec:
  initContainers: [{ name: migrate, image: migrate }]
  containers: [{ name: web, image: web }]
`;
  const { text: once } = inject(text);
  const { spec } = parse(once) as Template;
  const names = (list: readonly Container[] = []): string[] => list.map(({ name }) => name);
  assert.deepEqual(names(spec.initContainers), ["istio-init", "istio-proxy", "migrate"]);
  assert.deepEqual(names(spec.containers), ["web"]);
  const proxy = spec.initContainers?.[1] as unknown as Record<string, unknown>;
  assert.equal(proxy["restartPolicy"], "Always");
  assert.ok(proxy["startupProbe"], "the application waits for it");
  assert.equal(inject(once).text, once, "idempotent");
});

test("serin inject writes to a file, and kube-inject is the same command", async () => {
  const path = file("pod.yaml", pod("  containers: [{ name: web, image: web }]\n"));
  const out = join(dir, "out.yaml");
  const flags = ["--injectConfigFile", config()];
  const first = await runCommand(["inject", "-f", path, "-o", out, ...flags]);
  assert.deepEqual(first, { code: 0, stdout: "", stderr: "" });
  const second = await runCommand(["kube-inject", "-f", path, ...flags]);
  assert.equal(second.stdout, readFileSync(out, "utf8"));
});

for (const [what, args, message] of [
  ["no file", () => ["--injectConfigFile", config()], /--filename is missing/],
  [
    "no such file",
    () => ["-f", "/does/not/exist", "--injectConfigFile", config()],
    /cannot read \/does\/not\/exist/,
  ],
  [
    "broken YAML",
    () => ["-f", file("bad.yaml", "a: 1\n---\nb: [\n"), "--injectConfigFile", config()],
    /bad\.yaml: document 2: /,
  ],
  [
    "settings that are none",
    () => ["-f", config(), "--injectConfigFile", file("s.yaml", "xdsAddress: nowhere")],
    /s\.yaml: .*xdsAddress: must be host:port/,
  ],
  [
    "no cluster",
    () => ["-f", config(), "--kubeconfig", "/does/not/exist"],
    /without a cluster give --injectConfigFile/,
  ],
] as const) {
  test(`refused with one sentence and exit code 2: ${what}`, async () => {
    const { code, stdout, stderr } = await runCommand(["inject", ...args()]);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, message);
  });
}
