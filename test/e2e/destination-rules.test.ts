import { writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createAuthority } from "../support/certificates.ts";
import { type Answer, askThrough, becomes, startOutsider } from "../support/mesh-client.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

test("DestinationRules: failover between localities, shares, TLS with credentials, with real traffic", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const near = await startOutsider(t, "near");
  const far = await startOutsider(t, "far");
  const applyObject = async (object: object): Promise<void> => {
    const file = join(dataDir, "object.json");
    writeFileSync(file, JSON.stringify(object));
    await kubectl("apply", "-f", file);
  };
  const apply = (kind: string, name: string, spec: object): Promise<void> =>
    applyObject({ apiVersion: "networking.istio.io/v1", kind, metadata: { name }, spec });
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  const place = '{"spec":{"template":{"metadata":{"labels":{"istio-locality":"r1.z1"}}}}}';
  await kubectl("patch", "deployment", "ratings-v1", "-p", place);
  await kubectl("rollout", "status", "deployment/ratings-v1", "--timeout=90s");
  await eventually("the pod of before is gone", async () => {
    const names = await kubectl("get", "pods", "-l", "app=ratings", "-o", "name");
    return names.trim().split("\n").length === 1;
  });
  const pod = await podIp(kubectl, "ratings");
  const ask =
    (host = "api.example.com") =>
    () =>
      askThrough(pod, `http://${host}/`);
  const says =
    (text: string) =>
    ({ body }: Answer): boolean =>
      body.startsWith(text);
  const entry = (nearPort: number) =>
    apply("ServiceEntry", "api", {
      hosts: ["api.example.com"],
      ports: [{ number: 80, name: "http", protocol: "HTTP" }],
      resolution: "STATIC",
      endpoints: [
        { address: "127.0.0.1", ports: { http: far }, locality: "r2/z1" },
        { address: "127.0.0.1", ports: { http: nearPort }, locality: "r1/z1" },
      ],
    });
  await entry(near);

  await t.test("the client's own region first, and the other one when it is ill", async () => {
    await apply("DestinationRule", "api", {
      host: "api.example.com",
      trafficPolicy: {
        outlierDetection: {
          ...{ consecutive5xxErrors: 1, interval: "1s", baseEjectionTime: "60s" },
          maxEjectionPercent: 100,
        },
      },
    });
    const counts = { near: 0, far: 0 };
    await becomes("near only", ask(), says("near"));
    for (let i = 0; i < 40; i += 1)
      counts[(await ask()()).body.startsWith("near") ? "near" : "far"] += 1;
    if (counts.far > 0) throw new Error(`the far region got ${counts.far} of 40`);
    // Nobody listens on port 1: the first failure ejects it.
    await entry(1);
    await becomes("far", ask(), says("far"));
  });

  await t.test("distribute: all of it to the other region", async () => {
    await entry(near);
    await apply("DestinationRule", "api", {
      host: "api.example.com",
      trafficPolicy: {
        loadBalancer: {
          localityLbSetting: { distribute: [{ from: "r1/*", to: { "r2/*": 100 } }] },
        },
      },
    });
    await becomes("far", ask(), says("far"));
  });

  await t.test("TLS origination with a client certificate from a Secret", async () => {
    const authority = await createAuthority();
    const own = await authority.issue("spiffe://server,DNS:secure.example.com");
    const client = await authority.issue("spiffe://the-client");
    const server = createServer(
      {
        ...{ cert: own.certificatePem, key: own.keyPem, ca: authority.certificatePem },
        ...{ requestCert: true, rejectUnauthorized: true },
      },
      (_, response) => response.end("secure"),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    await apply("ServiceEntry", "secure", {
      hosts: ["secure.example.com"],
      ports: [{ number: 80, name: "http", protocol: "HTTP" }],
      resolution: "STATIC",
      endpoints: [
        { address: "127.0.0.1", ports: { http: (server.address() as AddressInfo).port } },
      ],
    });
    await applyObject({
      ...{ apiVersion: "v1", kind: "Secret", type: "Opaque", metadata: { name: "client" } },
      stringData: {
        ...{ "tls.crt": client.certificatePem, "tls.key": client.keyPem },
        "ca.crt": authority.certificatePem,
      },
    });
    const rule = (tls: object) =>
      apply("DestinationRule", "secure", {
        host: "secure.example.com",
        workloadSelector: { matchLabels: { app: "ratings" } },
        trafficPolicy: { tls },
      });
    const secure = ask("secure.example.com");
    await rule({ mode: "SIMPLE", insecureSkipVerify: true });
    await becomes("without a certificate", secure, ({ status }) => status === 503);
    await rule({ mode: "MUTUAL", credentialName: "client" });
    await becomes("with one", secure, says("secure"));
    await rule({ mode: "MUTUAL", credentialName: "nobody" });
    await becomes("no such Secret", secure, ({ status }) => status === 503);
    await rule({
      mode: "MUTUAL",
      credentialName: "client",
      subjectAltNames: ["other.example.com"],
    });
    await becomes("a name it has not", secure, ({ status }) => status === 503);
  });
});
