import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runCommand } from "../cli/run-command.ts";
import { eventually, kubectlOf, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

interface Pod {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly spec: { readonly containers: readonly Record<string, unknown>[] };
}

/** What of a sidecar does not depend on whose it is. */
function sidecarOf({ spec }: Pod) {
  const sidecar = spec.containers.find(({ name }) => name === "istio-proxy") ?? {};
  const { image, args, ports, resources, securityContext, readinessProbe } = sidecar;
  const env = (sidecar["env"] as readonly { name: string }[] | undefined)?.map(({ name }) => name);
  return { image, args, ports, resources, securityContext, readinessProbe, env };
}

test("inject, check, analyze, dashboard and bug-report on a living mesh", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const env = { ...process.env, KUBECONFIG: `${dataDir}/kubeconfig` };
  const serin = (...args: readonly string[]) => runCommand(args, env);
  const apply = async (manifest: string): Promise<void> => {
    const path = join(dataDir, "applied.yaml");
    writeFileSync(path, manifest);
    await kubectl("apply", "-f", path);
  };
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: manual }\n");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");

  // By hand, in a namespace where the webhook does nothing.
  const injected = await serin("inject", "-f", "examples/bookinfo/ratings.yaml");
  assert.equal(injected.code, 0, injected.stderr);
  const byHand = join(dataDir, "ratings.yaml");
  writeFileSync(byHand, injected.stdout);
  await kubectl("apply", "-n", "manual", "-f", byHand);
  const podOf = async (namespace: string): Promise<Pod> => {
    const rollout = ["rollout", "status", "-n", namespace, "deployment/ratings-v1"];
    await kubectl(...rollout, "--timeout=120s");
    const text = await kubectl("get", "pods", "-n", namespace, "-l", "app=ratings", "-o", "json");
    const [pod] = (JSON.parse(text) as { readonly items: readonly Pod[] }).items;
    assert.ok(pod);
    return pod;
  };
  const [automatic, manual] = [await podOf("default"), await podOf("manual")];
  assert.deepEqual(sidecarOf(manual), sidecarOf(automatic));
  for (const name of ["canonical-name", "canonical-revision"]) {
    const label = `service.istio.io/${name}`;
    assert.equal(manual.metadata.labels[label], automatic.metadata.labels[label]);
  }

  // Both sidecars are connected, and the mesh is well.
  await eventually("the mesh is well", async () => (await serin("check")).code === 0);
  const { stdout: checks } = await serin("check");
  assert.match(checks, /^✔ Control plane: answers; 2 proxies are connected$/m);
  assert.doesNotMatch(checks, /^[✘!]/m);

  // Probes go through the sidecar, which asks the application.
  const container = {
    name: "ratings",
    readinessProbe: { httpGet: { path: "/health", port: 9080 } },
  };
  const annotations = { "sidecar.istio.io/rewriteAppHTTPProbers": "true" };
  const template = { metadata: { annotations }, spec: { containers: [container] } };
  const patch = JSON.stringify({ spec: { template } });
  await kubectl("patch", "deployment", "ratings-v1", "-p", patch);
  const path = "/app-health/ratings/readyz";
  await eventually("the pod with the new probe is ready, and the only one", async () => {
    const found = await kubectl("get", "pods", "-l", "app=ratings", "-o", "json");
    const { items } = JSON.parse(found) as { readonly items: readonly Pod[] };
    return items.length === 1 && JSON.stringify(items[0]).includes(path);
  });
  await kubectl("rollout", "status", "deployment/ratings-v1", "--timeout=120s");
  await eventually("the new proxy is connected", async () => (await serin("check")).code === 0);

  const healthy = await serin("analyze", "-A", "-o", "json");
  assert.equal(healthy.code, 0, healthy.stdout);
  await kubectl("label", "namespace", "manual", "istio-injection=enabled");
  await apply(`apiVersion: v1
kind: Pod
metadata: { name: bare, namespace: manual, labels: { sidecar.istio.io/inject: "false" } }
spec: { containers: [{ name: any, image: any }] }
`);
  await kubectl("label", "pod", "bare", "-n", "manual", "sidecar.istio.io/inject-");
  const missing = await serin("analyze", "-n", "manual");
  assert.match(missing.stdout, /^Warning \[IST0103\] \(Pod manual\/bare\) /m);

  const page = await serin(
    "dashboard",
    "proxy",
    manual.metadata.name,
    "-n",
    "manual",
    "--no-browser",
  );
  assert.equal(page.code, 0, page.stderr);
  const stats = await fetch(`${page.stdout.trim()}/stats`);
  assert.ok(stats.ok);
  const debug = await serin("dashboard", "control-plane", "--browser=false");
  assert.ok((await fetch(debug.stdout.trim())).ok);
  const nobody = await serin("dashboard", "grafana", "--no-browser");
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /no pod of grafana runs in namespace istio-system/);

  const archive = join(dataDir, "report.tar.gz");
  const report = await serin("bug-report", "--filename", archive, "--exclude", "default");
  assert.equal(report.code, 0, report.stderr);
  execFileSync("tar", ["-xzf", archive, "-C", dataDir]);
  const root = join(dataDir, "bug-report");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" });
  const pod = `pods/manual/${manual.metadata.name}`;
  for (const path of [
    "versions.txt",
    "cluster/pod.yaml",
    "cluster/virtualService.yaml",
    "control-plane/syncz.json",
    `${pod}/ratings.log`,
    `${pod}/istio-proxy.log`,
    `${pod}/proxy-config_dump.txt`,
  ]) {
    assert.ok(files.includes(path), path);
  }
  assert.ok(!files.some((path) => path.includes("secret.yaml") || path.startsWith("pods/default")));
  const all = files
    .filter((path) => /\.\w+$/.test(path))
    .map((path) => readFileSync(join(root, path), "utf8"))
    .join("\n");
  assert.doesNotMatch(all, /BEGIN [A-Z ]*PRIVATE KEY/);
  assert.match(all, /BEGIN CERTIFICATE/, "what is public stays");
});
