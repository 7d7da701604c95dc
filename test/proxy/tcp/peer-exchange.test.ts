import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { RuntimeConfig, TlsConfig } from "../../../src/proxy/config/runtime-config.ts";
import {
  PEER_EXCHANGE_PROTOCOL,
  PeerExchangeReader,
  peerExchangeFrame,
} from "../../../src/proxy/core/peer-exchange.ts";
import { peerMetadataHeaders } from "../../../src/proxy/core/peer-metadata.ts";
import { structFromJson } from "../../../src/xds/index.ts";
import { createAuthority, type TestAuthority } from "../../support/certificates.ts";
import {
  chain,
  cluster,
  endpoint,
  listener,
  portOf,
  rawClient,
  runtimeConfig,
  startProxy,
  startTcp,
  tcpTo,
  waitFor,
} from "../../support/proxy-fixture.ts";

const presentedAs = (workload: string) =>
  peerMetadataHeaders({
    id: `sidecar~127.0.0.1~${workload}-1.shop~shop.svc.cluster.local`,
    metadata: structFromJson({
      NAMESPACE: "shop",
      WORKLOAD_NAME: workload,
      LABELS: { app: workload, version: "v2" },
    }),
  });

async function tlsOf(
  authority: TestAuthority,
  account: string,
  alpnProtocols: readonly string[],
): Promise<TlsConfig> {
  const own = await authority.issue(`spiffe://cluster.local/ns/shop/sa/${account}`);
  return {
    certificateChainPem: own.certificatePem,
    privateKeyPem: own.keyPem,
    trustedCaPem: authority.certificatePem,
    subjectAltNames: [],
    requireClientCertificate: true,
    sni: undefined,
    alpnProtocols,
    version: `${account} ${alpnProtocols}`,
  };
}

type Presenting = Pick<RuntimeConfig, "peerMetadataHeaders"> | Record<string, never>;

/** The sidecar of a TCP server, which answers at `port`. */
async function startInbound(
  t: TestContext,
  authority: TestAuthority,
  port: number,
  presenting: Presenting,
) {
  const tls = await tlsOf(authority, "server", ["istio"]);
  const chains = [chain(tcpTo("app", { direction: "inbound" }), { tls })];
  return startProxy(t, {
    ...runtimeConfig([cluster("app", [endpoint(port)])], [listener(chains, { inspectTls: true })]),
    ...presenting,
  });
}

async function startPair(t: TestContext, port: number, client: Presenting, server: Presenting) {
  const authority = await createAuthority();
  const inbound = await startInbound(t, authority, port, server);
  // Where protocols are sniffed, HTTP's are offered for the same cluster.
  const tls = await tlsOf(authority, "client", ["istio-http/1.1", "istio", "http/1.1"]);
  const outbound = await startProxy(t, {
    ...runtimeConfig(
      [cluster("server", [endpoint(inbound.port)], { tlsFor: () => tls })],
      [listener([chain(tcpTo("server"))])],
    ),
    ...client,
  });
  return { inbound, outbound };
}

const CLIENT = { peerMetadataHeaders: presentedAs("checkout") };
const SERVER = { peerMetadataHeaders: presentedAs("database") };

for (const [name, client, server, expected] of [
  ["both sidecars present themselves", CLIENT, SERVER, "checkout"],
  ["only the client's does", CLIENT, {}, undefined],
  ["only the server's does", {}, SERVER, undefined],
] as const) {
  test(`${name}: bytes pass unchanged, the client is ${expected ?? "unknown"}`, async (t) => {
    const port = await startTcp(t, (socket) => {
      socket.write("server speaks first\n");
      socket.pipe(socket);
    });
    const { inbound, outbound } = await startPair(t, port, client, server);
    const app = await rawClient(t, outbound.port);
    const greeting = "server speaks first\n";
    assert.equal(await app.until(greeting), greeting);
    const sent = "0123456789".repeat(30_000);
    app.send(sent);
    app.socket.end();
    assert.equal(await app.closed(), greeting + sent);
    await waitFor(() => inbound.records.length === 1 && outbound.records.length === 1);
    assert.equal(inbound.opened.length, 1);
    const [seen] = inbound.opened;
    assert.equal(seen?.peer, expected);
    assert.deepEqual(outbound.opened[0]?.transferred, [sent.length, greeting.length + sent.length]);
  });
}

test("what was said of the workloads is not counted as the connection's bytes", async (t) => {
  const port = await startTcp(t, (socket) => socket.pipe(socket));
  const counts: (readonly number[] | undefined)[] = [];
  for (const presenting of [true, false]) {
    const pair = await startPair(t, port, presenting ? CLIENT : {}, presenting ? SERVER : {});
    const app = await rawClient(t, pair.outbound.port);
    app.send("x".repeat(1000));
    await app.until("x".repeat(1000));
    app.socket.end();
    await app.closed();
    await waitFor(() => pair.inbound.records.length === 1);
    counts.push(pair.inbound.opened[0]?.transferred);
  }
  assert.deepEqual(counts[0], counts[1]);
});

/** A client of the mesh that may say anything. */
async function startClient(t: TestContext) {
  const authority = await createAuthority();
  const port = await startTcp(t, (socket) => socket.pipe(socket));
  const inbound = await startInbound(t, authority, port, SERVER);
  const own = await authority.issue("spiffe://cluster.local/ns/shop/sa/stranger");
  const socket = connect({
    port: inbound.port,
    host: "127.0.0.1",
    cert: own.certificatePem,
    key: own.keyPem,
    rejectUnauthorized: false,
    ALPNProtocols: [PEER_EXCHANGE_PROTOCOL, "istio"],
  });
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  assert.equal(socket.alpnProtocol, PEER_EXCHANGE_PROTOCOL);
  const greeting = new PeerExchangeReader();
  let received = "";
  socket.on("data", (bytes: Buffer) => {
    received += greeting.take(bytes).toString("latin1");
  });
  return { socket, inbound, greeting, received: () => received };
}

const HOSTILE: readonly (readonly [name: string, bytes: Buffer])[] = [
  ["no frame", Buffer.from("SELECT 1;")],
  ["a frame without end", Buffer.from([0x3d, 0x23, 0x04, 0x67, 0xff, 0xff, 0xff, 0xff, 1, 2])],
  ["another magic number", Buffer.from([0x3d, 0x23, 0x04, 0x68, 0, 0, 0, 0])],
];
for (const [name, bytes] of HOSTILE) {
  test(`a client that sends ${name} is unknown, and gets its bytes passed on`, async (t) => {
    const { socket, inbound, greeting, received } = await startClient(t);
    socket.write(bytes);
    await waitFor(() => received() === bytes.toString("latin1"));
    assert.equal(greeting.peer?.workload, "database");
    assert.equal(inbound.opened[0]?.peer, undefined);
  });
}

test("a frame may come byte by byte, and may hold nothing readable", async (t) => {
  for (const [frame, expected] of [
    [peerExchangeFrame(presentedAs("checkout")), "checkout"],
    [Buffer.from([0x3d, 0x23, 0x04, 0x67, 0, 0, 0, 3, 0xff, 0xff, 0xff]), undefined],
  ] as const) {
    const { socket, inbound, received } = await startClient(t);
    for (const byte of frame) {
      socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    socket.write("hello");
    await waitFor(() => received() === "hello");
    assert.equal(inbound.opened[0]?.peer, expected);
  }
});

test("a server that does not know the exchange is not spoken to in it", async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue("spiffe://cluster.local/ns/shop/sa/server");
  let offered: readonly string[] = [];
  let seen = "";
  const server = createServer(
    {
      cert: own.certificatePem,
      key: own.keyPem,
      ALPNCallback: ({ protocols }) => {
        offered = protocols;
        return "istio";
      },
    },
    (socket: TLSSocket) => {
      socket.on("data", (bytes: Buffer) => {
        seen += bytes.toString("latin1");
      });
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const tls = await tlsOf(authority, "client", ["istio"]);
  const outbound = await startProxy(t, {
    ...runtimeConfig(
      [cluster("server", [endpoint(portOf(server))], { tlsFor: () => tls })],
      [listener([chain(tcpTo("server"))])],
    ),
    ...CLIENT,
  });
  const app = await rawClient(t, outbound.port);
  app.send("as it is");
  await waitFor(() => seen === "as it is");
  assert.deepEqual(offered, [PEER_EXCHANGE_PROTOCOL, "istio"]);
  app.socket.destroy();
});
