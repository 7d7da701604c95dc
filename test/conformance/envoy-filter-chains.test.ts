import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { test } from "node:test";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { createAuthority } from "../support/certificates.ts";
import { startHttp, startTcp } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import { address, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const TYPE = "type.googleapis.com/envoy.extensions";

/** Bytes for a listener (`|` = a pause), in plain text or through TLS; what comes back is compared. */
interface Row {
  readonly name: string;
  readonly listener: "sniff" | "permissive" | "strict" | "sni";
  readonly send: string;
  readonly tls?: ConnectionOptions;
  /** What Envoy gives back begins so; "" = the connection is closed without a word. */
  readonly answer: string;
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ROWS: readonly Row[] = [
  {
    name: "HTTP/1.1 on a port without a name",
    listener: "sniff",
    send: GET,
    answer: "HTTP/1.1 200",
  },
  {
    name: "HTTP/1.0 on a port without a name",
    listener: "sniff",
    send: "GET / HTTP/1.0\r\n\r\n",
    answer: "HTTP/1.1 426",
  },
  {
    name: "a request line in pieces",
    listener: "sniff",
    send: "GE|T / HT|TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    answer: "HTTP/1.1 200",
  },
  { name: "lines of another protocol", listener: "sniff", send: "EHLO a\r\n", answer: "tcp:EHLO" },
  { name: "bytes of another protocol", listener: "sniff", send: "\x00\x01\xff\n", answer: "tcp:" },
  { name: "nothing: the server speaks first", listener: "sniff", send: "", answer: "tcp:" },
  {
    name: "plain text beside mutual TLS",
    listener: "permissive",
    send: GET,
    answer: "HTTP/1.1 200",
  },
  {
    name: "mutual TLS beside plain text",
    listener: "permissive",
    send: GET,
    tls: { ALPNProtocols: ["istio"] },
    answer: "HTTP/1.1 200",
  },
  {
    name: "TLS of the application passes through beside mutual TLS",
    listener: "permissive",
    send: GET,
    tls: { ALPNProtocols: ["http/1.1"], servername: "one.test" },
    answer: "HTTP/1.1 200",
  },
  { name: "plain text where TLS is strict", listener: "strict", send: GET, answer: "" },
  {
    name: "mutual TLS where it is strict",
    listener: "strict",
    send: GET,
    tls: { ALPNProtocols: ["istio"] },
    answer: "HTTP/1.1 200",
  },
  {
    name: "passes through by its server name",
    listener: "sni",
    send: GET,
    tls: { servername: "one.test" },
    answer: "HTTP/1.1 200",
  },
  {
    name: "in other case",
    listener: "sni",
    send: GET,
    tls: { servername: "ONE.test" },
    answer: "HTTP/1.1 200",
  },
  {
    name: "passes through by a wildcard",
    listener: "sni",
    send: GET,
    tls: { servername: "a.b.wild.test" },
    answer: "HTTP/1.1 200",
  },
  {
    name: "a server name that nobody has",
    listener: "sni",
    send: GET,
    tls: { servername: "none.test" },
    answer: "",
  },
  { name: "no server name", listener: "sni", send: GET, tls: {}, answer: "" },
  { name: "no TLS", listener: "sni", send: GET, answer: "" },
];

/** Everything that comes back until the other side closes. */
function talk(port: number, { send, tls }: Row, own: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const place = { port, host: "127.0.0.1" };
    let text = "";
    const socket: Socket =
      tls === undefined
        ? connect(place)
        : connectTls({ ...place, rejectUnauthorized: false, ...own, ...tls });
    socket.setNoDelay(true);
    const deadline = setTimeout(() => socket.destroy(), 20_000);
    socket.on(tls === undefined ? "connect" : "secureConnect", () => {
      const [first = "", ...rest] = send.split("|");
      if (first !== "") socket.write(first, "latin1");
      // Apart, so that each arrives by itself.
      for (const [i, piece] of rest.entries()) {
        setTimeout(() => socket.write(piece, "latin1"), 30 * (i + 1));
      }
    });
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (text.startsWith("tcp:")) socket.end();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(deadline);
      const [head = "", body = ""] = text.split("\r\n\r\n");
      resolve(text.startsWith("HTTP/") ? `${head.split("\r\n")[0]} ${body}` : text);
    });
  });
}

test("connections take the filter chain that Envoy gives them", { skip }, async (t) => {
  const authority = await createAuthority();
  const [server, application, client] = [
    await authority.issue("spiffe://cluster.local/ns/default/sa/server"),
    await authority.issue("spiffe://cluster.local/ns/default/sa/application"),
    await authority.issue("spiffe://cluster.local/ns/default/sa/client"),
  ];
  const app = await startHttp(t, (_, response) => response.end("app"));
  const tcp = await startTcp(t, (socket) => {
    // A server that speaks first, when its client does not.
    const greeting = setTimeout(() => socket.write("tcp:hello"), 50);
    socket.on("close", () => clearTimeout(greeting));
    socket.once("data", () => clearTimeout(greeting));
    socket.on("data", (chunk) => socket.write(`tcp:${chunk.toString("latin1")}`, "latin1"));
    socket.on("end", () => socket.end());
  });
  const https = createHttpsServer(
    { cert: application.certificatePem, key: application.keyPem },
    (_, response) => response.end("application's own TLS"),
  ).listen(0, "127.0.0.1");
  await once(https, "listening");
  t.after(() => https.close());
  const ports = {
    sniff: 0,
    permissive: await freePort(),
    strict: await freePort(),
    sni: await freePort(),
  };
  const typed = (name: string, type: string, more: object = {}) => ({
    name,
    typed_config: { "@type": `${TYPE}.${type}`, ...more },
  });
  const http = {
    filters: [
      typed("http", "filters.network.http_connection_manager.v3.HttpConnectionManager", {
        stat_prefix: "http",
        http_filters: [typed("router", "filters.http.router.v3.Router")],
        route_config: {
          virtual_hosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [{ match: { prefix: "/" }, route: { cluster: "app" } }],
            },
          ],
        },
      }),
    ],
  };
  const relay = (cluster: string) => ({
    filters: [
      typed("tcp", "filters.network.tcp_proxy.v3.TcpProxy", { stat_prefix: "tcp", cluster }),
    ],
  });
  const inline = (text: string) => ({ inline_string: text });
  const mutual = {
    transport_socket: typed("tls", "transport_sockets.tls.v3.DownstreamTlsContext", {
      require_client_certificate: true,
      common_tls_context: {
        alpn_protocols: ["istio", "h2", "http/1.1"],
        tls_certificates: [
          {
            certificate_chain: inline(server.certificatePem),
            private_key: inline(server.keyPem),
          },
        ],
        validation_context: { trusted_ca: inline(authority.certificatePem) },
      },
    }),
  };
  const inspectors = [
    typed("tls", "filters.listener.tls_inspector.v3.TlsInspector"),
    typed("http", "filters.listener.http_inspector.v3.HttpInspector"),
  ];
  const listener = (name: string, port: number, filter_chains: readonly object[]) => ({
    name,
    address: address(port),
    listener_filters: inspectors,
    // For what is too short to tell, and for servers that speak first.
    listener_filters_timeout: "0.2s",
    continue_on_listener_filters_timeout: true,
    filter_chains,
  });
  const cluster = (name: string, port: number) => ({
    name,
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  });
  const bootstrap = (places: ProxyPlaces) =>
    JSON.stringify({
      node: { id: "t", cluster: "t" },
      admin: { address: address(places.admin) },
      static_resources: {
        listeners: [
          listener("sniff", places.listener, [
            {
              filter_chain_match: {
                application_protocols: ["http/1.1", "http/1.0", "h2c"],
                transport_protocol: "raw_buffer",
              },
              ...http,
            },
            { filter_chain_match: { transport_protocol: "raw_buffer" }, ...relay("tcp") },
          ]),
          listener("permissive", ports.permissive, [
            {
              filter_chain_match: {
                transport_protocol: "tls",
                application_protocols: ["istio", "istio-http/1.1", "istio-h2"],
              },
              ...mutual,
              ...http,
            },
            { filter_chain_match: { transport_protocol: "raw_buffer" }, ...http },
            { filter_chain_match: { transport_protocol: "tls" }, ...relay("https") },
          ]),
          listener("strict", ports.strict, [
            { filter_chain_match: { transport_protocol: "tls" }, ...mutual, ...http },
          ]),
          listener("sni", ports.sni, [
            { filter_chain_match: { server_names: ["one.test"] }, ...relay("https") },
            { filter_chain_match: { server_names: ["*.wild.test"] }, ...relay("https") },
          ]),
        ],
        clusters: [
          cluster("app", app),
          cluster("tcp", tcp),
          cluster("https", (https.address() as AddressInfo).port),
        ],
      },
    });
  const own = { cert: client.certificatePem, key: client.keyPem };
  const { envoy, ours } = await sideBySide(bootstrap, async (places) => {
    const answers: string[] = [];
    for (const row of ROWS) {
      const port = row.listener === "sniff" ? places.listener : ports[row.listener];
      answers.push(await talk(port, row, own));
    }
    return answers;
  });
  for (const [i, row] of ROWS.entries()) {
    await t.test(row.name, () => {
      const theirs = envoy[i] ?? "";
      assert.ok(theirs.startsWith(row.answer), `Envoy itself: ${theirs}`);
      if (row.answer === "") assert.equal(theirs, "");
      assert.equal(ours[i], theirs);
    });
  }
});
