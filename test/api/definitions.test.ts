import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { allCustomResourceDefinitions, RESOURCES } from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";

type Node = Readonly<Record<string, unknown>>;

/** Every node of a structural schema has a type, or says that anything or int-or-string goes. */
function untyped(node: Node, path: string): readonly string[] {
  const isTyped = typeof node["type"] === "string" || node["x-kubernetes-int-or-string"] === true;
  const children = [
    ...Object.entries((node["properties"] ?? {}) as Node),
    ...(node["items"] === undefined ? [] : [["[]", node["items"]] as const]),
    ...(node["additionalProperties"] === undefined
      ? []
      : [["{}", node["additionalProperties"]] as const]),
  ];
  return [
    ...(isTyped ? [] : [path]),
    ...children.flatMap(([name, child]) => untyped(child as Node, `${path}.${name}`)),
  ];
}

for (const definition of allCustomResourceDefinitions()) {
  const spec = definition["spec"] as { readonly versions: readonly Node[] };
  test(`${definition.metadata.name} is structural, with one stored version`, () => {
    for (const version of spec.versions) {
      const schema = (version["schema"] as { readonly openAPIV3Schema: Node }).openAPIV3Schema;
      assert.deepEqual(untyped(schema, String(version["name"])), []);
      assert.doesNotMatch(JSON.stringify(schema), /"\$ref"|"anyOf"|"const"|"default"/);
    }
    assert.equal(spec.versions.filter((version) => version["storage"] === true).length, 1);
  });
}

test("the API server takes them, real kubectl applies the examples and is told of bad fields", {
  skip: skipWithout("kubectl"),
  timeout: 60_000,
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-crds-"));
  const api = await startApiServer({
    dataDir: join(dir, "data"),
    port: 0,
    logger: createLogger("test", "silent"),
    clock: systemClock,
  });
  t.after(async () => {
    await api.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  for (const definition of allCustomResourceDefinitions()) {
    await api.local.create(RESOURCES.customResourceDefinition, definition);
  }
  const env = { PATH: process.env["PATH"] ?? "", HOME: dir, KUBECONFIG: api.kubeconfigPath };
  const kubectl = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)(findTool("kubectl") ?? "kubectl", args, { env })).stdout;
  const apply = (yaml: string): Promise<string> => {
    const file = join(dir, "object.yaml");
    writeFileSync(file, yaml);
    return kubectl("apply", "-f", file);
  };
  await kubectl("apply", "-f", "examples/bookinfo/networking", "-f", "examples/canaries");
  assert.match(await kubectl("get", "vs"), /^reviews +\["reviews"\]/m);
  assert.match(
    await kubectl("get", "canary"),
    /^NAME +STATUS +WEIGHT +LASTTRANSITIONTIME\nreviews/,
  );
  assert.match(await kubectl("get", "canary", "-o", "wide"), /FAILEDCHECKS +INTERVAL/);
  // The same object in every served version.
  for (const version of ["v1", "v1beta1", "v1alpha3"]) {
    const hosts = await kubectl(
      "get",
      `virtualservices.${version}.networking.istio.io`,
      "-o",
      "jsonpath={.items[0].spec.hosts[0]}",
    );
    assert.equal(hosts, "reviews");
  }
  // Flagger's objects are taken as they are.
  await apply(`apiVersion: flagger.app/v1beta1
kind: Canary
metadata: { name: cart, namespace: default }
spec:
  targetRef: { apiVersion: apps/v1, kind: Deployment, name: cart }
  service: { port: 9898, targetPort: http, portDiscovery: true }
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 10
    metrics:
    - { name: request-success-rate, thresholdRange: { min: 99 }, interval: 1m }
    webhooks:
    - { name: load-test, url: "http://load/", timeout: 5s, metadata: { cmd: "hey" } }
`);
  // Exactly one ladder, as Flagger's oneOf has it.
  const ladders = (analysis: string): string => `apiVersion: flagger.app/v1beta1
kind: Canary
metadata: { name: ladders, namespace: default }
spec:
  targetRef: { apiVersion: apps/v1, kind: Deployment, name: cart }
  service: { port: 80 }
  analysis: { interval: 500ms, threshold: 5, ${analysis} }
`;
  await apply(ladders("stepWeights: [50, 10]"));
  await apply(ladders("iterations: 3, stepWeights: null"));
  await assert.rejects(
    apply(ladders("stepWeights: [10], stepWeight: 10")),
    /only one schema \(oneOf\)/,
  );
  await apply(ladders("stepWeight: 10, iterations: null, stepWeights: null"));
  const broken = `apiVersion: serin.dev/v1
kind: Canary
metadata: { name: broken, namespace: default }
spec:
  targetRef: { apiVersion: apps/v1, kind: Deployment, name: cart }
  service: { port: 99999 }
  analysis: { stepWeight: 130, interval: soon }
`;
  await assert.rejects(apply(broken), (error: Error) => {
    for (const path of [
      "spec.service.port",
      "spec.analysis.stepWeight",
      "spec.analysis.interval",
    ]) {
      assert.ok(error.message.includes(path), error.message);
    }
    return true;
  });
});
