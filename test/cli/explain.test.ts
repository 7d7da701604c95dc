import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { parseClaims, parseHeaders, parseTarget, tokensIn } from "../../src/cli/explain/request.ts";
import { readManifests } from "../../src/cli/manifests.ts";
import { bookinfo } from "../mesh/core/support/objects.ts";
import { startCluster } from "./cluster.ts";
import { runCommand } from "./run-command.ts";

function file(t: TestContext, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-explain-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "file.yaml");
  writeFileSync(path, text);
  return path;
}

test("reads what is asked for", () => {
  assert.deepEqual(parseTarget("reviews:9080", "/a?b=1"), {
    authority: "reviews:9080",
    target: "/a?b=1",
    scheme: "http",
  });
  assert.deepEqual(parseTarget("https://reviews:9080/a?b=1", "/"), {
    authority: "reviews:9080",
    target: "/a?b=1",
    scheme: "https",
  });
  assert.equal(parseTarget("svc/reviews", "/").authority, "reviews");
  assert.deepEqual(parseHeaders(["User=jason", "x-a: b=c"]), [
    ["user", "jason"],
    ["x-a", "b=c"],
  ]);
  assert.deepEqual(parseClaims(["role=dev", "role=admin", "a.b=c"]), {
    role: ["dev", "admin"],
    a: { b: "c" },
  });
  assert.equal(parseClaims([]), undefined);
  assert.deepEqual(tokensIn(["Bearer a.b.c", "text", "/p?access_token=a.b.c"]), ["a.b.c"]);
});

test("reads documents and Lists, and says which document is none", (t) => {
  const one = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\n";
  const list =
    "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Pod, metadata: { name: b } }\n";
  const names = readManifests(file(t, `${one}---\n---\n${list}`)).map(
    ({ metadata }) => metadata.name,
  );
  assert.deepEqual(names, ["a", "b"]);
  assert.throws(() => readManifests(file(t, `${one}---\nkind: Pod\n`)), /document 2: apiVersion/);
  assert.throws(() => readManifests(file(t, "a: [")), /document 1: /);
  assert.throws(() => readManifests("/does/not/exist"), /cannot read \/does\/not\/exist/);
});

for (const [args, message] of [
  [["--to", "reviews"], /--from is missing/],
  [["--from", "a"], /--to is missing/],
  [["--from", "a", "--to", "b c"], /--to must be HOST/],
  [["--from", "a", "--to", "b:99999"], /--to must be HOST/],
  [["--from", "a", "--to", "b", "--path", "x"], /--path must begin with \//],
  [["--from", "a", "--to", "b", "--header", "x"], /--header must be NAME=VALUE/],
  [["--from", "a", "--to", "b", "--header", "host=x"], /the host is --to/],
  [["--from", "a", "--to", "b", "--claim", "x"], /--claim must be NAME=VALUE/],
  [["--from", "a", "--to", "b", "--claim", "x=y", "--jwt", "a.b.c"], /either --jwt or --claim/],
  [["--from", "a", "--to", "b", "-o", "xml"], /--output must be/],
  [["--from", "a", "--to", "b", "--with-policy", "/no/file"], /cannot read \/no\/file/],
] as const) {
  test(`wrong usage exits 2: serin explain ${args.join(" ")}`, async () => {
    const { code, stderr } = await runCommand(["explain", ...args]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  });
}

test("explains with policies that are not applied, and is strict when asked to be", async (t) => {
  const { store, kubeconfigPath } = await startCluster(t);
  const { services, pods, endpointSlices } = bookinfo();
  const created = async (type: (typeof RESOURCES)["pod"], object: KubeObject): Promise<void> => {
    const { status, ...rest } = object;
    // Owners are not there, and would have them collected.
    const { ownerReferences: _, ...metadata } = rest.metadata;
    const spec = rest["spec"] as { readonly containers?: readonly object[] } | undefined;
    const containers = spec?.containers?.map((each) => ({ image: "x", ...each }));
    const made = await store.create(type, {
      ...rest,
      metadata,
      ...(containers === undefined ? {} : { spec: { ...spec, containers } }),
    });
    if (status !== undefined)
      await store.update(type, { ...made, status }, { subresource: "status" });
  };
  for (const each of services) await created(RESOURCES.service, each);
  for (const each of pods) await created(RESOURCES.pod, each);
  for (const each of endpointSlices) await created(RESOURCES.endpointSlice, each);
  const ask = (...args: readonly string[]) =>
    runCommand(
      ["explain", "--from", "productpage", "--to", "reviews:9080", "--path", "/reviews/1", ...args],
      { KUBECONFIG: kubeconfigPath },
    );
  const plain = await ask();
  assert.equal(plain.code, 0, plain.stderr);
  assert.match(plain.stdout, /^Request: GET http:\/\/reviews:9080\/reviews\/1$/m);
  assert.match(plain.stdout, /^Route: no VirtualService is for reviews\.default/m);
  assert.equal(plain.stdout.match(/^ {2}33\.33% answered by reviews-/gm)?.length, 3);
  assert.match(plain.stderr, /health is what Kubernetes says of the pods, because /);

  const policies = file(
    t,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-all }
spec: {}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews }
spec:
  host: reviews
  trafficPolicy: { outlierDetection: { consecutiveErrors: 3 } }
`,
  );
  const dry = await ask("--with-policy", policies);
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, /answered 403 for reviews-/);
  assert.match(dry.stdout, /^Warnings:\n/m);
  assert.equal((await ask("--with-policy", policies, "--strict")).code, 1);
  assert.equal((await ask("--strict")).code, 0, "what was only thought of is forgotten");
  const json = JSON.parse((await ask("--with-policy", policies, "-o", "json")).stdout);
  assert.equal(json.warnings.length, 3);

  const foreign = file(t, "apiVersion: v1\nkind: Banana\nmetadata: { name: a }\n");
  const invalid = file(
    t,
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: a }\nspec: { hosts: reviews }\n",
  );
  const refusals = [await ask("--with-policy", foreign), await ask("--with-policy", invalid)];
  assert.deepEqual(
    refusals.map(({ code }) => code),
    [2, 2],
  );
  assert.match(refusals[0]?.stderr ?? "", /Banana a \(v1\) is no part of the mesh/);
  assert.match(refusals[1]?.stderr ?? "", /spec\.hosts/);
  const nobody = await runCommand(["explain", "--from", "nobody", "--to", "reviews"], {
    KUBECONFIG: kubeconfigPath,
  });
  assert.deepEqual(
    [nobody.code, /no pod, Deployment or application .* nobody/.test(nobody.stderr)],
    [1, true],
  );
});
