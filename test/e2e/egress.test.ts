import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { type Answer, askThrough, becomes, startOutsider } from "../support/mesh-client.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

test("egress: unknown hosts, ServiceEntries of every resolution, WorkloadEntries, with real traffic", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const one = await startOutsider(t, "one");
  const two = await startOutsider(t, "two");
  const applyObject = async (object: object): Promise<void> => {
    const file = join(dataDir, "object.json");
    writeFileSync(file, JSON.stringify(object));
    await kubectl("apply", "-f", file);
  };
  const apply = (kind: string, name: string, spec: object): Promise<void> =>
    applyObject({ apiVersion: "networking.istio.io/v1", kind, metadata: { name }, spec });
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  await kubectl("rollout", "status", "deployment/ratings-v1", "--timeout=90s");
  const pod = await podIp(kubectl, "ratings");
  const says =
    (text: string) =>
    ({ body }: Answer): boolean =>
      body === text;
  const ask = (url: string) => () => askThrough(pod, url);

  await t.test("a host that nobody knows is passed on, by name or address", async () => {
    await becomes("by name", ask(`http://localhost:${one}/a`), says(`one localhost:${one} /a`));
    await becomes("by ip", ask(`http://127.0.0.1:${two}/b`), says(`two 127.0.0.1:${two} /b`));
    const nowhere = await askThrough(pod, "http://nowhere.invalid/");
    assert.equal(nowhere.status, 503);
    const itself = await askThrough(pod, `http://${pod}:15001/`);
    assert.equal(itself.status, 503, "asking the proxy for itself does not go round in circles");
  });

  const ports = [{ number: 80, name: "http", protocol: "HTTP" }];
  await t.test("STATIC", async () => {
    await apply("ServiceEntry", "api", {
      ...{ hosts: ["api.example.com"], ports, resolution: "STATIC" },
      endpoints: [{ address: "127.0.0.1", ports: { http: one } }],
    });
    await becomes("STATIC", ask("http://api.example.com/x"), says("one api.example.com /x"));
  });

  await t.test("a VirtualService between two of them", async () => {
    await apply("ServiceEntry", "new-api", {
      ...{ hosts: ["new.example.com"], ports, resolution: "DNS" },
      endpoints: [{ address: "localhost", ports: { http: two } }],
    });
    await apply("VirtualService", "api", {
      hosts: ["api.example.com"],
      http: [
        {
          match: [{ uri: { prefix: "/new" } }],
          rewrite: { uri: "/", authority: "new.example.com" },
          route: [{ destination: { host: "new.example.com" } }],
        },
        { route: [{ destination: { host: "api.example.com" } }] },
      ],
    });
    await becomes("new", ask("http://api.example.com/new"), says("two new.example.com /"));
    await becomes("old", ask("http://api.example.com/old"), says("one api.example.com /old"));
  });

  await t.test(
    "REGISTRY_ONLY: 502 for hosts nobody knows, NONE for one that is known",
    async () => {
      await apply("Sidecar", "default", { outboundTrafficPolicy: { mode: "REGISTRY_ONLY" } });
      const url = `http://127.0.0.1:${one}/w`;
      await becomes("closed", ask(url), ({ status }) => status === 502);
      await apply("ServiceEntry", "local", {
        ...{ hosts: ["local.example.com"], addresses: ["127.0.0.1"] },
        ports: [{ number: one, name: "http", protocol: "HTTP" }],
      });
      await becomes("NONE", ask(url), says(`one 127.0.0.1:${one} /w`));
      await becomes(
        "closed still",
        ask(`http://127.0.0.1:${two}/`),
        ({ status }) => status === 502,
      );
    },
  );

  await t.test("WorkloadEntries behind a selector", async () => {
    await apply("WorkloadEntry", "vm", {
      ...{ address: "127.0.0.1", labels: { app: "legacy" }, ports: { http: two } },
    });
    await apply("ServiceEntry", "legacy", {
      ...{ hosts: ["legacy.internal"], ports, location: "MESH_INTERNAL", resolution: "STATIC" },
      workloadSelector: { labels: { app: "legacy" } },
    });
    await becomes("vm", ask("http://legacy.internal/"), says("two legacy.internal /"));
    await kubectl("delete", "workloadentry", "vm");
    await becomes("gone", ask("http://legacy.internal/"), ({ status }) => status === 503);
  });

  await t.test("a Sidecar imports hosts, and where their VirtualServices lead", async () => {
    await apply("ServiceEntry", "third", {
      ...{ hosts: ["third.example.com"], ports, resolution: "STATIC" },
      endpoints: [{ address: "127.0.0.1", ports: { http: one } }],
    });
    await becomes("before", ask("http://third.example.com/"), says("one third.example.com /"));
    await apply("Sidecar", "default", {
      outboundTrafficPolicy: { mode: "REGISTRY_ONLY" },
      egress: [{ hosts: ["./api.example.com"] }],
    });
    await becomes("not imported", ask("http://third.example.com/"), (a) => a.status === 502);
    await becomes("led to", ask("http://api.example.com/new"), says("two new.example.com /"));
  });

  await t.test("a Sidecar of the workload comes before the namespace's; ingress", async () => {
    await apply("Sidecar", "ratings", {
      workloadSelector: { labels: { app: "ratings" } },
      ingress: [
        {
          port: { number: 9999, protocol: "HTTP", name: "http" },
          defaultEndpoint: "127.0.0.1:9080",
        },
      ],
      egress: [{ hosts: ["./third.example.com"] }],
    });
    await becomes("its own", ask("http://third.example.com/"), says("one third.example.com /"));
    const inbound = async (): Promise<Answer> => {
      try {
        const response = await fetch(`http://${pod}:9999/ratings/0`);
        return { status: response.status, body: await response.text(), headers: {} };
      } catch {
        return { status: 0, body: "", headers: {} };
      }
    };
    await becomes("ingress", inbound, ({ status }) => status === 200);
  });

  await t.test("the mesh's own settings, from the ConfigMap istio", async () => {
    await kubectl("delete", "sidecars", "--all");
    const url = `http://localhost:${two}/`;
    await becomes("open", ask(url), says(`two localhost:${two} /`));
    await applyObject({
      ...{ apiVersion: "v1", kind: "ConfigMap" },
      metadata: { name: "istio", namespace: "istio-system" },
      data: { mesh: "outboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n" },
    });
    await becomes("closed", ask(url), ({ status }) => status === 502);
    await kubectl("delete", "configmap", "istio", "-n", "istio-system");
    await becomes("open again", ask(url), says(`two localhost:${two} /`));
  });

  await t.test("a key set outside of the mesh", async () => {
    const { privateKey, publicKey } = await generateKeyPair("RS256");
    const key = { ...(await exportJWK(publicKey)), kid: "k", alg: "RS256" };
    const keys = createServer((_, response) => response.end(JSON.stringify({ keys: [key] })));
    await new Promise<void>((resolve) => keys.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      keys.close();
      keys.closeAllConnections();
    });
    await applyObject({
      ...{ apiVersion: "security.istio.io/v1", kind: "RequestAuthentication" },
      metadata: { name: "outside" },
      spec: {
        jwtRules: [
          {
            issuer: "https://issuer.example.com",
            jwksUri: `http://127.0.0.1:${(keys.address() as AddressInfo).port}/keys`,
          },
        ],
      },
    });
    const token = (issuer: string): Promise<string> =>
      new SignJWT({})
        .setProtectedHeader({ alg: "RS256", kid: "k" })
        .setIssuer(issuer)
        .setSubject("alice")
        .setExpirationTime("1h")
        .sign(privateKey);
    const inbound = (bearer: string) => async (): Promise<Answer> => {
      const headers = { authorization: `Bearer ${bearer}` };
      const response = await fetch(`http://${pod}:9080/ratings/0`, { headers }).catch(() => {});
      return { status: response?.status ?? 0, body: (await response?.text()) ?? "", headers: {} };
    };
    const [good, bad] = [await token("https://issuer.example.com"), await token("other")];
    await becomes("another issuer", inbound(bad), ({ status }) => status === 401);
    await becomes("a token of its keys", inbound(good), ({ status }) => status === 200);
  });

  await t.test("the root certificate is published in every namespace, and put right", async () => {
    const read = async (namespace: string): Promise<string> => {
      const path = "jsonpath={.data['root-cert\\.pem']}";
      try {
        return await kubectl("get", "cm", "istio-ca-root-cert", "-n", namespace, "-o", path);
      } catch {
        return "";
      }
    };
    const isThere = (namespace: string) => async () =>
      (await read(namespace)).startsWith("-----BEGIN CERTIFICATE-----");
    await eventually("default has it", isThere("default"));
    await applyObject({ apiVersion: "v1", kind: "Namespace", metadata: { name: "late" } });
    await eventually("a new namespace has it", isThere("late"));
    await kubectl("delete", "configmap", "istio-ca-root-cert", "-n", "late");
    await eventually("it is there again", isThere("late"));
    const wrong = '{"data":{"root-cert.pem":"nonsense"}}';
    await kubectl("patch", "configmap", "istio-ca-root-cert", "-n", "late", "-p", wrong);
    await eventually("it is right again", isThere("late"));
    assert.equal(await read("late"), await read("default"));
  });

  await t.test("what cannot be is refused at the door", async () => {
    await assert.rejects(
      apply("ServiceEntry", "bad", { hosts: ["*"], ports, resolution: "STATIC" }),
      /invalid host \*[\s\S]*endpoints must be provided/,
    );
  });
});
