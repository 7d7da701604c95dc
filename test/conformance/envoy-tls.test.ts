import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { type ConnectionOptions, connect, type TlsOptions } from "node:tls";
import { createAuthority, type TestCertificate } from "../support/certificates.ts";
import { startHttp } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import { address, sideBySide } from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const TYPE = "type.googleapis.com/envoy.extensions";
const OTHER = "spiffe://cluster.local/ns/default/sa/other";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";

/** A listener, and the handshakes that it is asked for. */
interface DownstreamCase {
  readonly name: string;
  /** Fields of the common TLS context. */
  readonly tls?: object;
  readonly validation?: object;
  readonly isRequired?: boolean;
  readonly manager?: object;
  /** What clients try, by name; the certificate is one of `CERTIFICATES`. */
  readonly clients: Readonly<Record<string, ConnectionOptions & { readonly as?: string }>>;
}

/** A cluster of TLS, and the server that it meets. */
interface UpstreamCase {
  readonly name: string;
  readonly tls?: object;
  readonly validation?: object;
  readonly server?: TlsOptions;
  /** What Envoy answers: a guard against both being wrong in the same way. */
  readonly status: number;
}

const inline = (text: string) => ({ inline_string: text });
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest();
const hashOf = ({ certificatePem }: TestCertificate) =>
  sha256(new X509Certificate(certificatePem).raw).toString("hex");
const keyHashOf = ({ certificatePem }: TestCertificate) =>
  sha256(
    new X509Certificate(certificatePem).publicKey.export({ type: "spki", format: "der" }),
  ).toString("base64");
const san = (san_type: string, matcher: object) => ({
  match_typed_subject_alt_names: [{ san_type, matcher }],
});
const both = { client: { as: "client" }, other: { as: "other" } };

async function material() {
  const authority = await createAuthority();
  const server = await authority.issue("spiffe://cluster.local/ns/default/sa/server", {
    names: "URI:spiffe://second.test/server,DNS:*.wild.test,DNS:plain.test,IP:::1",
  });
  const client = await authority.issue(CLIENT, {
    names: [
      "URI:spiffe://second.test/client",
      "DNS:client.test",
      "DNS:*.client.test",
      "IP:10.1.2.3",
      "IP:2001:db8::1",
      "email:me@client.test",
    ].join(","),
    subject: '/C=DE/O=Acme, "Inc"/OU=a/OU=b/CN=jörg',
  });
  const other = await authority.issue(OTHER);
  const stranger = await (await createAuthority("stranger")).issue(CLIENT);
  return { authority, server, client, other, stranger };
}

type Material = Awaited<ReturnType<typeof material>>;

function downstreamCases({ client, other }: Material): readonly DownstreamCase[] {
  const wrongHash = "0".repeat(64);
  const wrongKey = `${"A".repeat(43)}=`;
  const colons = (hash: string) => hash.toUpperCase().match(/../g)?.join(":") ?? "";
  const details = { subject: true, uri: true, dns: true };
  const modes = [
    "SANITIZE",
    "FORWARD_ONLY",
    "APPEND_FORWARD",
    "SANITIZE_SET",
    "ALWAYS_FORWARD_ONLY",
  ];
  const matchers: readonly (readonly [string, object])[] = [
    ["URI", { exact: CLIENT }],
    ["URI", { exact: "spiffe://second.test/client" }],
    ["URI", { prefix: "spiffe://second.test/" }],
    ["URI", { suffix: "/sa/other" }],
    ["URI", { contains: "/ns/default/" }],
    ["URI", { safe_regex: { regex: "spiffe://[^/]+/client" } }],
    ["URI", { exact: CLIENT.toUpperCase(), ignore_case: true }],
    ["URI", { exact: "client.test" }],
    ["DNS", { exact: "client.test" }],
    ["DNS", { exact: "a.client.test" }],
    ["DNS", { exact: "a.b.client.test" }],
    ["DNS", { exact: "A.CLIENT.test" }],
    ["DNS", { suffix: ".client.test" }],
    ["DNS", { exact: CLIENT }],
    ["IP_ADDRESS", { exact: "10.1.2.3" }],
    ["IP_ADDRESS", { exact: "2001:db8::1" }],
    ["IP_ADDRESS", { prefix: "10.2." }],
    ["EMAIL", { exact: "me@client.test" }],
    ["EMAIL", { suffix: "@other.test" }],
  ];
  const suites = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"];
  const tls12 = { maxVersion: "TLSv1.2", minVersion: "TLSv1.2" } as const;
  const tls13 = { minVersion: "TLSv1.3" } as const;
  const versions = { client: { as: "client" }, tls12, tls13 };
  return [
    ...modes.flatMap((forward_client_cert_details): DownstreamCase[] => [
      {
        name: `x-forwarded-client-cert ${forward_client_cert_details}`,
        manager: {
          forward_client_cert_details,
          set_current_client_cert_details: { ...details, cert: true },
        },
        clients: { ...both, none: {} },
      },
      {
        name: `x-forwarded-client-cert ${forward_client_cert_details}, no details`,
        manager: { forward_client_cert_details },
        clients: both,
      },
    ]),
    ...(["subject", "uri", "dns"] as const).map((field) => ({
      name: `x-forwarded-client-cert with ${field}`,
      manager: {
        forward_client_cert_details: "SANITIZE_SET",
        set_current_client_cert_details: { [field]: true },
      },
      clients: both,
    })),
    ...matchers.map(([kind, matcher]) => ({
      name: `client's name: ${kind} ${JSON.stringify(matcher)}`,
      validation: san(kind, matcher),
      clients: { ...both, none: {} },
    })),
    {
      name: "one of two names",
      validation: {
        match_typed_subject_alt_names: [
          { san_type: "URI", matcher: { exact: "nobody" } },
          { san_type: "DNS", matcher: { exact: "client.test" } },
        ],
      },
      clients: both,
    },
    { name: "a certificate is required", isRequired: true, clients: { ...both, none: {} } },
    {
      name: "a certificate of another authority",
      clients: { stranger: { as: "stranger" } },
    },
    {
      name: "the certificate's hash",
      validation: { verify_certificate_hash: [wrongHash, hashOf(client)] },
      clients: { ...both, none: {} },
    },
    {
      name: "the certificate's hash with colons",
      validation: { verify_certificate_hash: [colons(hashOf(client))] },
      clients: both,
    },
    {
      name: "the key's hash",
      validation: { verify_certificate_spki: [wrongKey, keyHashOf(client)] },
      clients: both,
    },
    {
      name: "either hash",
      validation: {
        verify_certificate_hash: [hashOf(client)],
        verify_certificate_spki: [keyHashOf(other)],
      },
      clients: { ...both, stranger: { as: "stranger" } },
    },
    {
      name: "a hash and a name",
      validation: {
        verify_certificate_hash: [hashOf(client), hashOf(other)],
        ...san("URI", { exact: OTHER }),
      },
      clients: both,
    },
    {
      name: "a hash without an authority",
      validation: { verify_certificate_hash: [hashOf(client)], trusted_ca: undefined },
      clients: both,
    },
    {
      name: "TLS 1.3 only",
      tls: { tls_params: { tls_minimum_protocol_version: "TLSv1_3" } },
      clients: versions,
    },
    {
      name: "TLS 1.2 only",
      tls: { tls_params: { tls_maximum_protocol_version: "TLSv1_2" } },
      clients: versions,
    },
    { name: "any version", tls: { tls_params: {} }, clients: versions },
    {
      name: "suites of TLS 1.2",
      tls: {
        tls_params: { tls_maximum_protocol_version: "TLSv1_2", cipher_suites: suites },
      },
      clients: {
        first: { ciphers: suites[0] },
        second: { ciphers: suites[1] },
        neither: { ciphers: "ECDHE-ECDSA-CHACHA20-POLY1305" },
        any: {},
      },
    },
    {
      name: "suites leave TLS 1.3 alone",
      tls: { tls_params: { cipher_suites: [`[${suites.join("|")}]`] } },
      clients: { tls13, tls12 },
    },
    {
      name: "groups",
      tls: { tls_params: { ecdh_curves: ["P-384"] } },
      clients: { fits: { ecdhCurve: "P-384:P-256" }, differs: { ecdhCurve: "P-256:X25519" } },
    },
    {
      name: "signature algorithms of clients",
      tls: { tls_params: { signature_algorithms: ["ecdsa_secp256r1_sha256"] } },
      clients: both,
    },
    {
      name: "application protocols",
      tls: { alpn_protocols: ["http/1.1", "x-own"] },
      clients: {
        fits: { ALPNProtocols: ["h2", "http/1.1"] },
        differs: { ALPNProtocols: ["h2"] },
        none: {},
      },
    },
  ];
}

function upstreamCases({ server, other }: Material): readonly UpstreamCase[] {
  const tls12 = { maxVersion: "TLSv1.2" } as const;
  const tls13 = { minVersion: "TLSv1.3" } as const;
  const floor = { tls_params: { tls_minimum_protocol_version: "TLSv1_3" } };
  const both13 = {
    tls_params: {
      tls_minimum_protocol_version: "TLSv1_3",
      tls_maximum_protocol_version: "TLSv1_3",
    },
  };
  const suites = { tls_params: { cipher_suites: ["ECDHE-ECDSA-AES128-GCM-SHA256"] } };
  const dns = (exact: string) => san("DNS", { exact });
  return [
    { name: "upstream of TLS 1.3, TLS 1.3 only", tls: both13, server: tls13, status: 200 },
    { name: "upstream of TLS 1.2, TLS 1.3 only", tls: both13, server: tls12, status: 503 },
    { name: "upstream of TLS 1.2, any", server: tls12, status: 200 },
    {
      name: "upstream of TLS 1.3, a floor only",
      tls: { ...both13, ...floor, tls_params: both13.tls_params },
      server: tls13,
      status: 200,
    },
    {
      name: "upstream with our suite",
      tls: suites,
      server: { ...tls12, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" },
      status: 200,
    },
    {
      name: "upstream without our suite",
      tls: suites,
      server: { ...tls12, ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" },
      status: 503,
    },
    {
      name: "upstream without our groups",
      tls: { tls_params: { ecdh_curves: ["P-256"] } },
      server: { ecdhCurve: "P-384" },
      status: 503,
    },
    { name: "upstream by DNS name", validation: dns("plain.test"), status: 200 },
    { name: "upstream by wildcard", validation: dns("a.wild.test"), status: 200 },
    { name: "upstream by two labels", validation: dns("a.b.wild.test"), status: 503 },
    { name: "upstream by address", validation: san("IP_ADDRESS", { exact: "::1" }), status: 200 },
    {
      name: "upstream by its second URI",
      validation: san("URI", { exact: "spiffe://second.test/server" }),
      status: 200,
    },
    {
      name: "upstream by a URI called DNS",
      validation: san("URI", { exact: "plain.test" }),
      status: 503,
    },
    {
      name: "upstream by hash",
      validation: { verify_certificate_hash: [hashOf(server)] },
      status: 200,
    },
    {
      name: "upstream by another's hash",
      validation: { verify_certificate_hash: [hashOf(other)] },
      status: 503,
    },
    {
      name: "upstream by key",
      validation: { verify_certificate_spki: [keyHashOf(server)] },
      status: 200,
    },
    {
      name: "upstream by another's key",
      validation: { verify_certificate_spki: [keyHashOf(other)] },
      status: 503,
    },
  ];
}

/** What a client sees of a connection: refused, or what was negotiated and told to the upstream. */
function handshake(port: number, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    let text = "";
    const deadline = setTimeout(() => socket.destroy(), 20_000);
    socket.on("secureConnect", () =>
      socket.write(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Client-Cert: By=before;URI=x\r\n\r\n",
      ),
    );
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(deadline);
      const body = /\{.*\}/s.exec(text)?.[0];
      if (body === undefined) {
        resolve("refused");
        return;
      }
      const seen = JSON.parse(body)["x-forwarded-client-cert"];
      const cipher = socket.getProtocol() === "TLSv1.2" ? socket.getCipher().name : "";
      resolve(JSON.stringify([socket.getProtocol(), cipher, socket.alpnProtocol, seen ?? ""]));
    });
  });
}

function managerOf(name: string, manager: object, routes: readonly object[]) {
  return {
    name: "http",
    typed_config: {
      "@type": `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      http_filters: [
        {
          name: "router",
          typed_config: { "@type": `${TYPE}.filters.http.router.v3.Router` },
        },
      ],
      route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
      ...manager,
    },
  };
}

test("handshakes, names and hashes of certificates as Envoy's", { skip }, async (t) => {
  const made = await material();
  const { authority, server } = made;
  const trusted = { trusted_ca: inline(authority.certificatePem) };
  const certificate = {
    certificate_chain: inline(server.certificatePem),
    private_key: inline(server.keyPem),
  };
  const app = await startHttp(t, (request, response) =>
    response.end(JSON.stringify(request.headers)),
  );
  const downstream = downstreamCases(made);
  const upstream = upstreamCases(made);
  const ports = new Map<string, number>();
  for (const { name } of downstream) ports.set(name, await freePort());
  const servers = new Map<string, number>();
  for (const { name, server: options } of upstream) {
    const https = createServer(
      { cert: server.certificatePem, key: server.keyPem, ...options },
      (_, response) => response.end("ok"),
    );
    https.listen(0, "127.0.0.1");
    await once(https, "listening");
    t.after(() => https.close());
    servers.set(name, (https.address() as AddressInfo).port);
  }
  const cluster = (name: string, port: number, more: object = {}) => ({
    name,
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
    ...more,
  });
  const bootstrap = ({ listener, admin }: { listener: number; admin: number }): string =>
    JSON.stringify({
      node: { id: "t", cluster: "t" },
      admin: { address: address(admin) },
      static_resources: {
        listeners: [
          {
            name: "plain",
            address: address(listener),
            filter_chains: [
              {
                filters: [
                  managerOf(
                    "plain",
                    {},
                    upstream.map(({ name }, i) => ({
                      match: { path: `/${i}` },
                      route: { cluster: name },
                    })),
                  ),
                ],
              },
            ],
          },
          ...downstream.map(({ name, tls, validation, isRequired, manager }) => ({
            name,
            address: address(ports.get(name) ?? 0),
            filter_chains: [
              {
                transport_socket: {
                  name: "tls",
                  typed_config: {
                    "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
                    require_client_certificate: isRequired ?? false,
                    common_tls_context: {
                      tls_certificates: [certificate],
                      validation_context: { ...trusted, ...validation },
                      ...tls,
                    },
                  },
                },
                filters: [
                  managerOf("tls", manager ?? {}, [
                    { match: { prefix: "/" }, route: { cluster: "app" } },
                  ]),
                ],
              },
            ],
          })),
        ],
        clusters: [
          cluster("app", app),
          ...upstream.map(({ name, tls, validation }) =>
            cluster(name, servers.get(name) ?? 0, {
              transport_socket: {
                name: "tls",
                typed_config: {
                  "@type": `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
                  common_tls_context: {
                    validation_context: { ...trusted, ...validation },
                    ...tls,
                  },
                },
              },
            }),
          ),
        ],
      },
    });
  const { client, other, stranger } = made;
  const certificates: Readonly<Record<string, TestCertificate>> = { client, other, stranger };
  const { envoy, ours } = await sideBySide(bootstrap, async ({ listener }) => {
    const seen = new Map<string, string>();
    for (const { name, clients } of downstream) {
      for (const [client, { as, ...options }] of Object.entries(clients)) {
        const own = as === undefined ? undefined : certificates[as];
        const shown = own === undefined ? {} : { cert: own.certificatePem, key: own.keyPem };
        const port = ports.get(name) ?? 0;
        seen.set(`${name}: ${client}`, await handshake(port, { ...shown, ...options }));
      }
    }
    for (const [i, { name }] of upstream.entries()) {
      const response = await fetch(`http://127.0.0.1:${listener}/${i}`);
      await response.arrayBuffer();
      seen.set(name, String(response.status));
    }
    return seen;
  });
  assert.ok(envoy.size >= 80, `${envoy.size} handshakes`);
  for (const [name, theirs] of envoy) {
    await t.test(name, () => assert.equal(ours.get(name), theirs));
  }
  const refusals = [...envoy.values()].filter((each) => each === "refused").length;
  assert.ok(refusals > 15, `${refusals} refusals: the table can tell`);
  for (const { name, status } of upstream) {
    await t.test(`${name}, Envoy itself`, () => assert.equal(envoy.get(name), String(status)));
  }
});
