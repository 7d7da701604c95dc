import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bundledImageMap } from "../../src/cli/image-map.ts";
import { startCluster } from "../../src/embedded/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { serin } from "../support/cli.ts";
import { askThrough, becomes } from "../support/mesh-client.ts";
import { closedPort } from "../support/proxy-fixture.ts";
import { eventually, kubectlOf, podIp, temporary } from "../support/serin-cluster.ts";
import { type SerinProcess, startSerin } from "../support/serin-process.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const LEASE = ["get", "lease", "serin-control-plane-leader", "-n", "istio-system", "-o"];
const HOLDER = "jsonpath={.spec.holderIdentity}";
const REVIEWS = "http://reviews:9080/reviews/0";

test("serin control-plane serves a cluster that has none, over TLS; another one takes over", {
  skip: skipWithout("kubectl"),
  timeout: 400_000,
}, async (t) => {
  const dataDir = temporary();
  process.env["ENVOY_BIN"] ??= findTool("envoy");
  // The embedded API and node, and no control plane: to it this is any Kubernetes cluster.
  const cluster = await startCluster({
    dataDir,
    apiPort: 0,
    imageMap: bundledImageMap(undefined),
    network: "loopback",
    logger: createLogger("embedded", "error"),
    clock: systemClock,
  });
  t.after(() => cluster.stop());
  const kubectl = kubectlOf(dataDir);
  await kubectl("create", "-f", "crds/");
  const namespace = join(dataDir, "namespace.yaml");
  writeFileSync(namespace, "apiVersion: v1\nkind: Namespace\nmetadata: { name: istio-system }\n");
  await kubectl("apply", "-f", namespace);

  const start = async (name: string): Promise<SerinProcess> => {
    const [secure, debug, webhook] = [await closedPort(), await closedPort(), await closedPort()];
    const running = startSerin(t, [
      ...["control-plane", "--kubeconfig", cluster.kubeconfigPath, "--name", name],
      ...["--xds-port", "0", "--secure-port", String(secure), "--monitoring-port", String(debug)],
      ...["--webhook-port", String(webhook), "--interception-mode", "NONE"],
      ...["--discovery-address", `localhost:${secure}`],
    ]);
    await running.printed(/^ready$/m);
    return running;
  };
  const first = await start("first");
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/reviews.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/productpage.yaml");
  for (const name of ["reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
  }
  const page = await podIp(kubectl, "productpage");
  const ask = () => askThrough(page, REVIEWS);
  const goesTo = (version: string) =>
    becomes(`reviews ${version}`, ask, ({ status, body }) => {
      return status === 200 && body.includes(`"version":"${version}"`);
    });

  await t.test("pods are injected, and their sidecars ask over TLS", async () => {
    const pod = await kubectl("get", "pods", "-l", "app=productpage", "-o", "yaml");
    assert.match(pod, /SERIN_XDS_CA_PATH/);
    assert.match(pod, /name: istio-ca-root-cert/);
    await kubectl("apply", "-f", "examples/bookinfo/networking/destinationrule-reviews.yaml");
    await kubectl("apply", "-f", "examples/bookinfo/networking/virtualservice-reviews-header.yaml");
    await goesTo("v1");
    const jason = await askThrough(page, REVIEWS, { user: "jason" });
    assert.match(jason.body, /"version":"v2"/);
  });

  await t.test("what is wrong is refused", async () => {
    const file = join(dataDir, "broken.yaml");
    writeFileSync(
      file,
      `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: broken }
spec: { hosts: [reviews], http: [{ match: [{ uri: { prefix: / } }] }] }
`,
    );
    await assert.rejects(kubectl("apply", "-f", file), (error: { readonly stderr: string }) => {
      assert.match(error.stderr, /admission webhook "rev.validation.istio.io" denied the request/);
      return true;
    });
  });

  await t.test(
    "real Envoy's agent asks over TLS, too",
    { skip: skipWithout("envoy") },
    async () => {
      const engine = { "proxy.serin.dev/engine": "envoy" };
      const patch = { spec: { template: { metadata: { annotations: engine } } } };
      await kubectl("patch", "deployment", "reviews-v2", "-p", JSON.stringify(patch));
      await kubectl("rollout", "status", "deployment/reviews-v2", "--timeout=90s");
      await becomes(
        "v2 behind Envoy",
        () => askThrough(page, REVIEWS, { user: "jason" }),
        ({ status, body }) => status === 200 && body.includes('"version":"v2"'),
      );
    },
  );

  await t.test("commands find it", async () => {
    const { code, stdout } = await serin(dataDir, "proxy-status");
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^productpage-v1-\S+\.default +Kubernetes( +SYNCED){5} +first /m);
  });

  await t.test("a second one serves; when the first is killed it leads", async () => {
    const second = await start("second");
    assert.equal(await kubectl(...LEASE, HOLDER), "first");
    await first.kill("SIGKILL");
    await goesTo("v1");
    await eventually("the second one leads", async () => {
      return (await kubectl(...LEASE, HOLDER)) === "second";
    });
    await second.kill("SIGTERM");
    assert.equal(await second.exited, 0);
    assert.equal(await kubectl(...LEASE, HOLDER), "", "the lease is given back");
    await goesTo("v1");
  });
});

test("serin control-plane waits for an API server that is away", async (t) => {
  const port = await closedPort();
  const dataDir = temporary();
  const named = { cluster: "away", user: "away" };
  const kubeconfig = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "away" },
    clusters: [{ name: "away", cluster: { server: `https://127.0.0.1:${port}` } }],
    contexts: [{ name: "away", context: named }],
    users: [{ name: "away", user: { token: "t" } }],
  };
  writeFileSync(`${dataDir}/kubeconfig`, JSON.stringify(kubeconfig));
  const running = startSerin(t, ["control-plane", "--kubeconfig", `${dataDir}/kubeconfig`]);
  await running.printed(/not started, will try again[\s\S]*not started, will try again/);
  await running.kill("SIGTERM");
  assert.equal(await running.exited, 0);
});
