import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { startLoadClient } from "../../src/cli/demo/load-client.ts";
import { systemClock } from "../../src/runtime/index.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { startSerin } from "../support/serin-process.ts";
import { skipWithout } from "../support/tools.ts";

const skip = skipWithout("kubectl");

test("serin up runs the textbook's application with sidecars and survives kill -9 in the middle of a rollout", {
  skip,
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  const first = await up(t, dataDir);
  assert.match(first.stdout(), new RegExp(`^KUBECONFIG=${dataDir}/kubeconfig\nready\n$`));

  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/details.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/productpage.yaml");
  await kubectl("apply", "-f", "examples/canaries/reviews.yaml");
  await kubectl(
    "wait",
    "--for=jsonpath={.status.phase}=Initialized",
    "canary/reviews",
    "--timeout=90s",
  );
  await kubectl("rollout", "status", "deployment/productpage-v1", "--timeout=60s");
  const pods = await kubectl("get", "pods");
  assert.match(pods, /^productpage-v1-\S+ +2\/2 +Running/m, pods);

  const load = startLoadClient({
    url: `http://${await podIp(kubectl, "productpage")}:9080/api/v1/products/0/reviews`,
    requestsPerSecond: 40,
    clock: systemClock,
  });
  t.after(() => load.stop());
  const image = "reviews=docker.io/istio/examples-bookinfo-reviews-v2:1.17.0";
  await kubectl("set", "image", "deployment/reviews", image);
  await eventually("the canary gets traffic", async () => {
    const weight = await kubectl("get", "canary/reviews", "-o", "jsonpath={.status.canaryWeight}");
    return Number(weight) > 0;
  });

  await first.kill("SIGKILL");
  await up(t, dataDir);
  await kubectl("rollout", "status", "deployment/productpage-v1", "--timeout=90s");
  load.retarget(`http://${await podIp(kubectl, "productpage")}:9080/api/v1/products/0/reviews`);
  await kubectl(
    "wait",
    "--for=jsonpath={.status.phase}=Succeeded",
    "canary/reviews",
    "--timeout=120s",
  );
  const primary = await kubectl(
    ...["get", "deployment/reviews-primary", "-o"],
    "jsonpath={.spec.template.spec.containers[0].image}",
  );
  assert.match(primary, /reviews-v2/);
});

test("serin up refuses a broken manifest with the path of the field, before anything is stored", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const path = join(dataDir, "broken.yaml");
  writeFileSync(
    path,
    `apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: { name: broken, namespace: default }
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: { host: reviews }
      weight: -1
`,
  );
  await assert.rejects(kubectl("apply", "-f", path), /spec\.http\[0\]\.route\[0\]\.weight/);
  assert.equal((await kubectl("get", "virtualservices", "-o", "name")).trim(), "");
});

test("a taken port and an unusable data directory are one sentence and exit code 2", {
  timeout: 120_000,
}, async (t) => {
  const { server, port } = await occupiedPort();
  t.after(() => server.close());
  const onTakenPort = startSerin(t, [
    ...["up", "--data-dir", temporary(), "--api-port", String(port), "--network", "loopback"],
  ]);
  assert.equal(await onTakenPort.exited, 2, onTakenPort.output());
  assert.match(onTakenPort.output(), new RegExp(`^serin: .*${port}.*$`, "m"));
  assert.doesNotMatch(onTakenPort.output(), /\n\s+at /);

  const file = join(temporary(), "a-file");
  writeFileSync(file, "not a directory");
  const onFile = startSerin(t, ["up", "--data-dir", file, "--api-port", "0"]);
  assert.equal(await onFile.exited, 2, onFile.output());
  assert.match(onFile.output(), /^serin: .*a-file.*$/m);
  assert.doesNotMatch(onFile.output(), /\n\s+at /);
});

async function occupiedPort(): Promise<{ server: Server; port: number }> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { server, port: address.port };
}
