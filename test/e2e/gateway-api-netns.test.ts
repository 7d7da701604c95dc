import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { curl, skipWithoutNamespaces } from "../support/namespaces.ts";
import { eventually, kubectlOf, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const NAMESPACE = "{.items[0].metadata.annotations.embedded\\.serin\\.dev/network-namespace}";
/** Answers in a row that must be right. */
const IN_A_ROW = 15;

test("Gateway API with redirected traffic: HTTP and TCP routes of Services, a gateway from outside", {
  skip: skipWithoutNamespaces() || skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir, "netns");
  const apply = async (object: object): Promise<void> => {
    const file = join(dataDir, "object.json");
    writeFileSync(file, JSON.stringify(object));
    await kubectl("apply", "-f", file);
  };
  const route = (kind: string, name: string, spec: object): Promise<void> =>
    apply({
      apiVersion: `gateway.networking.k8s.io/${kind === "TCPRoute" ? "v1alpha2" : "v1"}`,
      ...{ kind, metadata: { name }, spec },
    });
  const service = (name: string, portName: string, selector: object): Promise<void> =>
    apply({
      ...{ apiVersion: "v1", kind: "Service", metadata: { name } },
      spec: { selector, ports: [{ name: portName, port: 9080 }] },
    });
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/reviews.yaml");
  // The same pods by a port of which the mesh knows only that it is TCP.
  await service("raw", "tcp-raw", { app: "reviews" });
  for (const version of ["v1", "v2"]) {
    await service(`reviews-${version}`, "http", { app: "reviews", version });
    await service(`raw-${version}`, "tcp-raw", { app: "reviews", version });
  }
  await route("Gateway", "web", {
    gatewayClassName: "istio",
    listeners: [{ name: "http", port: 80, protocol: "HTTP" }],
  });
  for (const name of ["ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=120s");
  }
  const client = await kubectl("get", "pods", "-l", "app=ratings", "-o", `jsonpath=${NAMESPACE}`);
  const versionAt = async (host: string): Promise<string> => {
    const { status, body } = await curl(client, `http://${host}:9080/reviews/0`);
    return status === 200 ? (/"version":"(v\d)"/.exec(body)?.[1] ?? body) : String(status);
  };
  const becomes = async (host: string, version: string): Promise<void> => {
    let inARow = 0;
    await eventually(`${host} is ${version}`, async () => {
      inARow = (await versionAt(host)) === version ? inARow + 1 : 0;
      return inARow >= IN_A_ROW;
    });
  };
  const parent = (name: string) => ({ group: "", kind: "Service", name });

  await t.test("an HTTPRoute of a Service, for an application that knows of no proxy", async () => {
    for (const version of ["v1", "v2"]) {
      await route("HTTPRoute", "reviews", {
        parentRefs: [parent("reviews")],
        rules: [{ backendRefs: [{ name: `reviews-${version}`, port: 9080 }] }],
      });
      await becomes("reviews", version);
    }
  });

  await t.test("a TCPRoute of a Service", async () => {
    const seen = new Set<string>();
    await eventually(
      "every version answers",
      async () => seen.add(await versionAt("raw")).size >= 3,
    );
    await route("TCPRoute", "raw", {
      parentRefs: [parent("raw")],
      rules: [
        {
          backendRefs: [
            { name: "raw-v2", port: 9080 },
            { name: "raw-v1", port: 9080, weight: 0 },
          ],
        },
      ],
    });
    await becomes("raw", "v2");
  });

  await t.test("a gateway of its own, from the machine", async () => {
    await route("HTTPRoute", "web", {
      parentRefs: [{ name: "web" }],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/shop" } }],
          filters: [
            {
              type: "URLRewrite",
              urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/reviews" } },
            },
          ],
          backendRefs: [{ name: "reviews-v1", port: 9080 }],
        },
      ],
    });
    await kubectl("wait", "--for=condition=Programmed", "gtw/web", "--timeout=90s");
    const address = await kubectl(
      "get",
      "gtw",
      "web",
      "-o",
      "jsonpath={.status.addresses[0].value}",
    );
    await eventually("it answers", async () => {
      const response = await fetch(`http://${address}/shop/0`).catch(() => undefined);
      return response?.status === 200 && /"version":"v1"/.test(await response.text());
    });
    assert.equal((await fetch(`http://${address}/shopping/0`)).status, 404);
  });
});
