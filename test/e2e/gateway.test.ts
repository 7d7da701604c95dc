import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer as createHttpsServer, request as httpsRequest } from "node:https";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { createAuthority, type TestCertificate } from "../support/certificates.ts";
import { gatewayDeployment } from "../support/gateway-pod.ts";
import { type Answer, answerTo, becomes, startOutsider } from "../support/mesh-client.ts";
import { kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const CLOSED = { status: 0, body: "", headers: {} };
const ports = [{ number: 80, name: "http", protocol: "HTTP" }];

test("a gateway: TLS of every mode, rotation, passthrough, TCP, redirects, delegates, merged hosts", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const authority = await createAuthority("clients");
  const certificate = (host: string) => authority.issue(`spiffe://x,DNS:${host}`);
  const one = await startOutsider(t, "one");
  const two = await startOutsider(t, "two");
  const applyObject = async (object: object): Promise<void> => {
    const file = join(dataDir, "object.json");
    writeFileSync(file, JSON.stringify(object));
    await kubectl("apply", "-f", file);
  };
  const apply = (kind: string, name: string, spec: object): Promise<void> =>
    applyObject({ apiVersion: "networking.istio.io/v1", kind, metadata: { name }, spec });
  const tlsSecret = (name: string, pair: TestCertificate, more: Record<string, string> = {}) =>
    applyObject({
      ...{ apiVersion: "v1", kind: "Secret", type: "Opaque", metadata: { name } },
      stringData: { "tls.crt": pair.certificatePem, "tls.key": pair.keyPem, ...more },
    });
  const external = (name: string, port: number, host = `${name}.internal`) =>
    apply("ServiceEntry", name, {
      ...{ hosts: [host], ports, resolution: "STATIC" },
      endpoints: [{ address: "127.0.0.1", ports: { http: port } }],
    });
  const to = (name: string) => [{ destination: { host: `${name}.internal` } }];

  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  await kubectl("rollout", "status", "deployment/ratings-v1", "--timeout=90s");
  await external("one", one);
  await external("two", two);
  const tls = (hosts: readonly string[], name: string, more: object) => ({
    port: { number: 8443, name, protocol: "HTTPS" },
    hosts,
    tls: more,
  });
  await apply("Gateway", "gw", {
    selector: { istio: "ingressgateway" },
    servers: [
      { port: { number: 8080, name: "http", protocol: "HTTP" }, hosts: ["*"] },
      {
        port: { number: 8081, name: "redirect", protocol: "HTTP" },
        hosts: ["a.example.com"],
        tls: { httpsRedirect: true },
      },
      tls(["a.example.com"], "https-a", { mode: "SIMPLE", credentialName: "a" }),
      tls(["e.example.com"], "https-e", { mode: "SIMPLE", credentialName: "torn" }),
      tls(["b.example.com"], "https-b", { mode: "MUTUAL", credentialName: "b" }),
      tls(["d.example.com"], "https-d", {
        ...{ mode: "SIMPLE", credentialName: "a", minProtocolVersion: "TLSV1_3" },
      }),
      {
        port: { number: 8443, name: "tls-c", protocol: "TLS" },
        hosts: ["c.example.com"],
        tls: { mode: "PASSTHROUGH" },
      },
      { port: { number: 9000, name: "tcp", protocol: "TCP" }, hosts: ["*"] },
    ],
  });
  const first = await certificate("a.example.com");
  // A key that is not the certificate's: nobody else on the port may suffer.
  const torn = await certificate("e.example.com");
  await tlsSecret("torn", { ...torn, keyPem: first.keyPem });
  await tlsSecret("a", first);
  await apply("VirtualService", "web", {
    hosts: ["a.example.com", "b.example.com", "d.example.com", "e.example.com"],
    gateways: ["gw"],
    http: [{ route: to("one") }],
  });
  await applyObject(await gatewayDeployment(kubectl, "ratings"));
  await kubectl("rollout", "status", "deployment/gateway", "--timeout=90s");
  const gateway = await podIp(kubectl, "gateway");

  const plain =
    (port: number, host: string, path = "/") =>
    (): Promise<Answer> =>
      answerTo(request({ host: gateway, port, path, headers: { host, connection: "close" } }));
  let seen: PeerCertificate | undefined;
  const secure =
    (host: string, more: object = {}) =>
    (): Promise<Answer> => {
      const outgoing = httpsRequest({
        ...{ host: gateway, port: 8443, path: "/s", servername: host, agent: false as const },
        ...{ headers: { host }, ca: authority.certificatePem, ...more },
      });
      outgoing.on("response", ({ socket }) => {
        seen = (socket as TLSSocket).getPeerCertificate();
      });
      return answerTo(outgoing);
    };
  const says =
    (text: string) =>
    ({ body }: Answer): boolean =>
      body === text;

  await t.test("SIMPLE with a credential, replaced while it runs", async () => {
    await becomes("SIMPLE", secure("a.example.com"), says("one a.example.com /s"));
    const before = seen?.serialNumber;
    await tlsSecret("a", await certificate("a.example.com"));
    await becomes("rotated", secure("a.example.com"), () => seen?.serialNumber !== before);
  });

  await t.test("a key that is not the certificate's, put right", async () => {
    assert.deepEqual(await secure("e.example.com")(), CLOSED);
    await tlsSecret("torn", torn);
    await becomes("put right", secure("e.example.com"), ({ status }) => status === 200);
  });

  await t.test("minProtocolVersion", async () => {
    const anyName = { checkServerIdentity: () => undefined };
    await becomes("TLS 1.3", secure("d.example.com", anyName), says("one d.example.com /s"));
    const old = await secure("d.example.com", { ...anyName, maxVersion: "TLSv1.2" })();
    assert.equal(old.status, 0);
    const other = await secure("a.example.com", { maxVersion: "TLSv1.2" })();
    assert.equal(other.status, 200, "the floor is that server's own");
  });

  await t.test(
    "MUTUAL: nothing without its Secret; with it, clients of its authority",
    async () => {
      assert.deepEqual(await secure("b.example.com")(), CLOSED);
      const ca = { "ca.crt": authority.certificatePem };
      await tlsSecret("b", await certificate("b.example.com"), ca);
      const client = await authority.issue("spiffe://client");
      const shown = { cert: client.certificatePem, key: client.keyPem };
      await becomes("MUTUAL", secure("b.example.com", shown), says("one b.example.com /s"));
      assert.deepEqual(await secure("b.example.com")(), CLOSED, "no certificate");
      const stranger = await (await createAuthority("strangers")).issue("spiffe://client");
      const wrong = { cert: stranger.certificatePem, key: stranger.keyPem };
      assert.deepEqual(await secure("b.example.com", wrong)(), CLOSED, "another authority");
    },
  );

  await t.test("PASSTHROUGH by server name: the backend's own certificate", async () => {
    const own = await certificate("c.example.com");
    const backend = createHttpsServer(
      { cert: own.certificatePem, key: own.keyPem },
      (_, response) => response.end("the backend itself"),
    );
    await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      backend.close();
      backend.closeAllConnections();
    });
    await apply("ServiceEntry", "c", {
      ...{ hosts: ["c.internal"], resolution: "STATIC" },
      ports: [{ number: 443, name: "tls", protocol: "TLS" }],
      endpoints: [
        { address: "127.0.0.1", ports: { tls: (backend.address() as AddressInfo).port } },
      ],
    });
    await apply("VirtualService", "c", {
      hosts: ["c.example.com"],
      gateways: ["gw"],
      tls: [{ match: [{ sniHosts: ["c.example.com"] }], route: to("c") }],
    });
    await becomes("PASSTHROUGH", secure("c.example.com"), says("the backend itself"));
  });

  await t.test("TCP", async () => {
    const echo = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
    t.after(() => echo.close());
    await apply("ServiceEntry", "echo", {
      ...{ hosts: ["echo.internal"], resolution: "STATIC" },
      ports: [{ number: 7, name: "tcp", protocol: "TCP" }],
      endpoints: [{ address: "127.0.0.1", ports: { tcp: (echo.address() as AddressInfo).port } }],
    });
    await apply("VirtualService", "echo", {
      hosts: ["*"],
      gateways: ["gw"],
      tcp: [{ match: [{ port: 9000 }], route: to("echo") }],
    });
    const ask = (): Promise<Answer> =>
      new Promise((resolve) => {
        const socket = connect(9000, gateway, () => socket.write("hello"));
        socket.on("error", () => resolve(CLOSED));
        socket.on("close", () => resolve(CLOSED));
        socket.once("data", (bytes) => {
          resolve({ status: 200, body: String(bytes), headers: {} });
          socket.destroy();
        });
      });
    await becomes("TCP", ask, says("hello"));
  });

  await t.test("httpsRedirect", async () => {
    const sent = await becomes("301", plain(8081, "a.example.com", "/x"), (a) => a.status === 301);
    assert.equal(sent.headers.location, "https://a.example.com/x");
  });

  await t.test("several VirtualServices on one host, what catches all last", async () => {
    await apply("VirtualService", "all-1", {
      ...{ hosts: ["m.example.com"], gateways: ["gw"], http: [{ route: to("one") }] },
    });
    await apply("VirtualService", "all-2", {
      hosts: ["m.example.com"],
      gateways: ["gw"],
      http: [{ match: [{ uri: { prefix: "/two" } }], route: to("two") }],
    });
    await becomes("merged", plain(8080, "m.example.com", "/two"), says("two m.example.com /two"));
    await becomes("rest", plain(8080, "m.example.com", "/x"), says("one m.example.com /x"));
    const nobody = await plain(8080, "nobody.example.com")();
    assert.equal(nobody.status, 404);
  });

  await t.test("delegates: within the root's match; one that is missing is said", async () => {
    await apply("VirtualService", "root", {
      hosts: ["r.example.com"],
      gateways: ["gw"],
      http: [
        { match: [{ uri: { prefix: "/team" } }], delegate: { name: "team" } },
        { match: [{ uri: { prefix: "/gone" } }], delegate: { name: "gone" } },
        { route: to("one") },
      ],
    });
    await apply("VirtualService", "team", {
      http: [
        { match: [{ uri: { prefix: "/elsewhere" } }], route: to("two") },
        { match: [{ uri: { prefix: "/team/two" } }], route: to("two") },
      ],
    });
    const path = (at: string) => plain(8080, "r.example.com", at);
    await becomes("team", path("/team/two"), says("two r.example.com /team/two"));
    await becomes("not a part", path("/elsewhere"), says("one r.example.com /elsewhere"));
    const status = await kubectl("get", "virtualservice", "root", "-o", "jsonpath={.status}");
    assert.match(status, /there is no VirtualService default\/gone/);
  });
});
