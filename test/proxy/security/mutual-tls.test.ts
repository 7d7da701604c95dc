import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:https";
import { type TestContext, test } from "node:test";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import type {
  ClusterConfig,
  RuntimeConfig,
  TlsConfig,
} from "../../../src/proxy/config/runtime-config.ts";
import {
  createAuthority,
  type TestAuthority,
  type TestCertificate,
} from "../../support/certificates.ts";
import {
  chain,
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  listener,
  manager,
  portOf,
  rawClient,
  route,
  runtimeConfig,
  startHttp,
  startProxy,
  startTcp,
  tcpTo,
  waitFor,
} from "../../support/proxy-fixture.ts";

const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const SERVER = "spiffe://cluster.local/ns/default/sa/server";
let versions = 0;

function tlsConfig(
  authority: TestAuthority,
  own: TestCertificate,
  options: Partial<TlsConfig> = {},
): TlsConfig {
  versions += 1;
  return {
    certificateChainPem: own.certificatePem,
    privateKeyPem: own.keyPem,
    trustedCaPem: authority.certificatePem,
    subjectAltNames: [],
    requireClientCertificate: true,
    sni: undefined,
    alpnProtocols: [],
    version: `v${versions}`,
    ...options,
  };
}

/** An inbound listener as Istio makes it: a chain for TLS, and one for plain text if permissive. */
function inbound(tls: TlsConfig, port: number, isPermissive: boolean): RuntimeConfig {
  const http = manager([route(forwardTo("app"))], {
    direction: "inbound",
    forwardClientCert: "append_forward",
  });
  const matchOf = (transportProtocol: "tls" | "raw_buffer") => ({
    transportProtocol,
    applicationProtocols: [],
    serverNames: [],
    destinationPort: undefined,
  });
  const chains = [chain(http, { match: matchOf("tls"), tls })];
  if (isPermissive) chains.push(chain(http, { match: matchOf("raw_buffer") }));
  return runtimeConfig(
    [cluster("app", [endpoint(port)])],
    [listener(chains, { inspectTls: true })],
  );
}

async function setUp(t: TestContext, isPermissive = false) {
  const authority = await createAuthority();
  // At the end of the request: an answer that overtakes it would cost the connection.
  const app = await startHttp(t, (request, response) => {
    request.resume();
    request.on("end", () => response.end(JSON.stringify(request.headers)));
  });
  const server = tlsConfig(authority, await authority.issue(SERVER), {
    alpnProtocols: ["istio", "h2", "http/1.1"],
  });
  const proxy = await startProxy(t, inbound(server, app, isPermissive));
  return { authority, proxy };
}

/** A request over TLS with a client certificate, or none. */
async function getOverTls(
  port: number,
  authority: TestAuthority,
  own: TestCertificate | undefined,
): Promise<Record<string, string>> {
  const outgoing = request({
    port,
    host: "127.0.0.1",
    agent: false,
    ca: authority.certificatePem,
    checkServerIdentity: () => undefined,
    ...(own === undefined ? {} : { cert: own.certificatePem, key: own.keyPem }),
  });
  outgoing.end();
  const [response] = await once(outgoing, "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return JSON.parse(body);
}

test("strict: a client of the same authority is let in and vouched for", async (t) => {
  const { authority, proxy } = await setUp(t);
  const headers = await getOverTls(proxy.port, authority, await authority.issue(CLIENT));
  assert.match(
    headers["x-forwarded-client-cert"] ?? "",
    new RegExp(`^By=${SERVER};Hash=[0-9a-f]{64};Subject="";URI=${CLIENT}$`),
  );
  assert.equal(headers["x-forwarded-proto"], "https");
  assert.equal(proxy.records[0]?.principal, CLIENT);
  assert.equal(proxy.records[0]?.isMutualTls, true);
});

test("strict: no certificate, a stranger's or an expired one is turned away", async (t) => {
  const { authority, proxy } = await setUp(t);
  const stranger = await createAuthority("other");
  const refused = [
    undefined,
    await stranger.issue(CLIENT),
    await authority.issue(CLIENT, { isExpired: true }),
  ];
  for (const own of refused) await assert.rejects(getOverTls(proxy.port, authority, own));
  assert.equal(proxy.records.length, 0, "no request got through");
});

test("strict: plain text finds no filter chain", async (t) => {
  const { proxy } = await setUp(t);
  const client = await rawClient(t, proxy.port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal(await client.closed(), "");
});

test("permissive: TLS and plain text share the port, byte by byte too", async (t) => {
  const { authority, proxy } = await setUp(t, true);
  const headers = await getOverTls(proxy.port, authority, await authority.issue(CLIENT));
  assert.match(headers["x-forwarded-client-cert"] ?? "", /URI=spiffe/);
  const client = await rawClient(t, proxy.port);
  client.socket.setNoDelay(true);
  const bytes = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=forged\r\n\r\n";
  for (const byte of bytes) {
    client.send(byte);
    await new Promise(setImmediate);
  }
  const text = await client.until(/\}$/);
  assert.ok(!text.includes("forged"), "nobody vouched for it");
  assert.equal(proxy.records.at(-1)?.isMutualTls, false);
});

test("only the principals that the chain names are let in", async (t) => {
  const authority = await createAuthority();
  const app = await startHttp(t, (_, response) => response.end("{}"));
  const server = tlsConfig(authority, await authority.issue(SERVER), {
    subjectAltNames: [{ matches: (san) => san === CLIENT }],
  });
  const proxy = await startProxy(t, inbound(server, app, false));
  await getOverTls(proxy.port, authority, await authority.issue(CLIENT));
  await assert.rejects(getOverTls(proxy.port, authority, await authority.issue(`${CLIENT}-other`)));
});

/** A TLS upstream that asks for a certificate and answers who it saw. */
async function tlsUpstream(t: TestContext, authority: TestAuthority, own: TestCertificate) {
  const seen = { connections: 0, resumed: 0, sni: new Set<string>(), alpn: new Set<string>() };
  const server = createTlsServer(
    {
      cert: own.certificatePem,
      key: own.keyPem,
      ca: authority.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ["istio", "http/1.1"],
    },
    (socket: TLSSocket) => {
      seen.connections += 1;
      if (socket.isSessionReused()) seen.resumed += 1;
      seen.alpn.add(String(socket.alpnProtocol));
      const servername: unknown = Reflect.get(socket, "servername");
      seen.sni.add(String(servername));
      const name = socket.getPeerCertificate().subjectaltname ?? "";
      socket.on("error", () => socket.destroy());
      socket.on("data", () => {
        const head = `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${name.length}\r\n\r\n`;
        socket.end(head + name);
      });
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { port: portOf(server), seen };
}

test("upstream mutual TLS: presents itself, offers ALPN and SNI, resumes sessions", async (t) => {
  const authority = await createAuthority();
  const upstream = await tlsUpstream(t, authority, await authority.issue(SERVER));
  const tls = tlsConfig(authority, await authority.issue(CLIENT), {
    subjectAltNames: [{ matches: (san) => san === SERVER }],
    sni: "outbound_.80_.v1_.server.default.svc.cluster.local",
    alpnProtocols: ["istio", "h2"],
  });
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(upstream.port)], { tlsFor: () => tls })],
      [route(forwardTo("a"))],
    ),
  );
  for (let i = 0; i < 3; i += 1) {
    const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
    assert.equal(await response.text(), `URI:${CLIENT}`);
  }
  assert.deepEqual([...upstream.seen.alpn], ["istio"]);
  assert.deepEqual([...upstream.seen.sni], [tls.sni]);
  assert.equal(upstream.seen.connections, 3);
  assert.ok(upstream.seen.resumed >= 1, "later handshakes are short");
});

test("an upstream with the wrong name or authority gets no request: UF", async (t) => {
  const authority = await createAuthority();
  const stranger = await createAuthority("other");
  const upstream = await tlsUpstream(t, authority, await authority.issue(`${SERVER}-other`));
  const own = await authority.issue(CLIENT);
  const wrong = [
    tlsConfig(authority, own, { subjectAltNames: [{ matches: (san) => san === SERVER }] }),
    tlsConfig(authority, own, { trustedCaPem: stranger.certificatePem }),
  ];
  for (const tls of wrong) {
    const proxy = await startProxy(
      t,
      httpConfig(
        [cluster("a", [endpoint(upstream.port)], { tlsFor: () => tls })],
        [route(forwardTo("a"))],
      ),
    );
    const response = await fetch(`http://127.0.0.1:${proxy.port}/`);
    assert.equal(response.status, 503);
    assert.match(await response.text(), /reset reason: remote connection failure/);
    assert.equal(proxy.records[0]?.flags, "UF");
    assert.match(proxy.records[0]?.failureReason ?? "", /certificate|issuer|self-signed/);
  }
});

test("two proxies in a row: the application behind the second learns who called the first", async (t) => {
  const { authority, proxy: server } = await setUp(t);
  const tls = tlsConfig(authority, await authority.issue(CLIENT), {
    subjectAltNames: [{ matches: (san) => san === SERVER }],
    alpnProtocols: ["istio"],
  });
  const client = await startProxy(t, {
    ...httpConfig(
      [cluster("server", [endpoint(server.port)], { tlsFor: () => tls })],
      [route(forwardTo("server"))],
    ),
    peerMetadataHeaders: [["x-envoy-peer-metadata", "who-i-am"]],
  });
  const body = "x".repeat(300_000);
  for (let i = 0; i < 20; i += 1) {
    const response = await fetch(`http://127.0.0.1:${client.port}/`, {
      ...(i % 2 === 0 ? {} : { method: "POST", body }),
      headers: { "x-envoy-peer-metadata": "forged" },
    });
    const headers: Record<string, string> = JSON.parse(await response.text());
    assert.match(headers["x-forwarded-client-cert"] ?? "", new RegExp(`URI=${CLIENT}$`));
  }
  assert.equal(client.counters.get("cluster.server.upstream_cx_total"), 1);
});

const MESH_ALPN = ["istio-http/1.1", "istio", "http/1.1"];

/** A pair of sidecars with the mesh's ALPN; resolves with how many requests travelled how. */
async function runPair(
  t: TestContext,
  serverAlpn: readonly string[],
  limits: Partial<ClusterConfig> = {},
) {
  const authority = await createAuthority();
  const app = await startHttp(t, (request, response) => {
    request.resume();
    request.on("end", () => response.end(JSON.stringify(request.headers)));
  });
  const serverTls = tlsConfig(authority, await authority.issue(SERVER), {
    alpnProtocols: serverAlpn,
  });
  const server = await startProxy(t, inbound(serverTls, app, true));
  const clientTls = tlsConfig(authority, await authority.issue(CLIENT), {
    alpnProtocols: MESH_ALPN,
  });
  const client = await startProxy(
    t,
    httpConfig(
      [cluster("server", [endpoint(server.port)], { tlsFor: () => clientTls, ...limits })],
      [route(forwardTo("server"))],
    ),
  );
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      fetch(`http://127.0.0.1:${client.port}/`, {
        ...(i % 2 === 0 ? {} : { method: "POST", body: "x".repeat(100_000) }),
      }),
    ),
  );
  for (const answer of answers) {
    assert.equal(answer.status, 200);
    const headers: Record<string, string> = JSON.parse(await answer.text());
    assert.match(headers["x-forwarded-client-cert"] ?? "", new RegExp(`URI=${CLIENT}$`));
  }
  const stat = (name: string): number => client.counters.get(`cluster.server.${name}`) ?? 0;
  return { http2: stat("upstream_cx_http2_total"), connections: stat("upstream_cx_total") };
}

test("between sidecars HTTP/1.1 travels on one HTTP/2 connection", async (t) => {
  assert.deepEqual(await runPair(t, ["h2", "http/1.1"]), { http2: 1, connections: 1 });
});

test("a sidecar that does not speak HTTP/2 is spoken to in HTTP/1.1", async (t) => {
  const { http2, connections } = await runPair(t, ["http/1.1"]);
  assert.equal(http2, 0);
  assert.ok(connections > 2);
});

test("limits of connections keep HTTP/1.1, or they would limit nothing", async (t) => {
  const limited = { ...cluster("x", []).circuitBreaker, maxConnections: 100 };
  const { http2, connections } = await runPair(t, ["h2", "http/1.1"], { circuitBreaker: limited });
  assert.equal(http2, 0);
  assert.ok(connections > 1);
});

test("material that OpenSSL refuses is reported and harms no other listener", async (t) => {
  const authority = await createAuthority();
  const app = await startHttp(t, (_, response) => response.end("{}"));
  const bad = tlsConfig(authority, { certificatePem: "nonsense", keyPem: "nonsense" });
  const good = inbound(tlsConfig(authority, await authority.issue(SERVER)), app, false);
  const proxy = await startProxy(t, good);
  const failures = await proxy.server.apply(inbound(bad, app, false));
  assert.equal(failures.length, 1);
  assert.match(failures[0]?.error.message ?? "", /listener main: filter chain "": TLS material:/);
  await getOverTls(proxy.port, authority, await authority.issue(CLIENT));
});

test("TCP: raw bytes over TLS on both legs, half-closed in between", async (t) => {
  const authority = await createAuthority();
  const echo = await startTcp(t, (socket) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    // Answers only once the other side has finished: the FIN must have come through.
    socket.on("end", () => socket.end(`<${text.length}>`));
  });
  const tls = tlsConfig(authority, await authority.issue(SERVER));
  const tcp = tcpTo("echo");
  const server = await startProxy(
    t,
    runtimeConfig(
      [cluster("echo", [endpoint(echo)])],
      [listener([chain(tcp, { tls })], { inspectTls: true })],
    ),
  );
  const client = tlsConfig(authority, await authority.issue(CLIENT));
  const first = await startProxy(
    t,
    runtimeConfig(
      [cluster("echo", [endpoint(server.port)], { tlsFor: () => client })],
      [listener([chain(tcp)])],
    ),
  );
  const socket = await rawClient(t, first.port);
  socket.send(Buffer.alloc(2_000_000, "a"));
  socket.socket.end();
  assert.equal(await socket.closed(), "<2000000>");
  await waitFor(() => server.server.connectionCount === 0);
});

test("a client that only opens TLS and stalls holds nobody up", async (t) => {
  const { authority, proxy } = await setUp(t, true);
  const stalled = await rawClient(t, proxy.port);
  stalled.send(Buffer.from([22, 3, 1]));
  await getOverTls(proxy.port, authority, await authority.issue(CLIENT));
  const socket = connectTls({ port: proxy.port, rejectUnauthorized: false });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.destroy();
});
