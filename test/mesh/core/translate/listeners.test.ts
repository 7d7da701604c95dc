import assert from "node:assert/strict";
import { test } from "node:test";
import { LISTENER_TYPE } from "../../../../src/xds/index.ts";
import { namesOf, resourceJson } from "../support/accept.ts";
import { bookinfo, mesh, peerAuthentication, service } from "../support/objects.ts";
import { type Json, nodeOf, REVIEWS_V1, translated } from "../support/translated.ts";

const listener = (
  objects: Parameters<typeof translated>[0],
  name = "127.16.0.3_9080",
  node = REVIEWS_V1,
  accessLog = false,
) =>
  resourceJson(
    translated(objects, node, accessLog),
    "envoy.config.listener.v3.Listener",
    name,
  ) as Json;

/** A chain in short: what it matches, whether it ends TLS, what it leads to. */
function chains(json: Json): readonly string[] {
  return (json["filter_chains"] as Json[]).map((chain) => {
    const match = (chain["filter_chain_match"] ?? {}) as Json;
    const alpn = (match["application_protocols"] ?? []) as string[];
    const [filter] = chain["filters"] as Json[];
    return [
      match["transport_protocol"],
      alpn.join(","),
      chain["transport_socket"] === undefined ? "plain" : "mtls",
      String(filter?.["name"]).split(".").at(-1),
    ].join(" ");
  });
}

const inspectors = (json: Json): readonly unknown[] =>
  ((json["listener_filters"] ?? []) as Json[]).map((filter) => filter["name"]);
const TLS = "envoy.filters.listener.tls_inspector";
const HTTP = "envoy.filters.listener.http_inspector";
const ISTIO_ALPN = "istio-http/1.0,istio-http/1.1,istio-h2,istio,istio-peer-exchange";

const policy = (mode: string, more: object = {}) => ({
  peerAuthentications: [
    peerAuthentication(
      { name: "p" },
      { selector: { matchLabels: { app: "reviews" } }, mtls: { mode }, ...more },
    ),
  ],
});

test("a pod's proxy listens on the application's ports and on the HTTP proxy's", () => {
  assert.deepEqual(namesOf(translated(bookinfo(), REVIEWS_V1), LISTENER_TYPE), [
    "127.16.0.3_15001",
    "127.16.0.3_9080",
  ]);
});

test("PERMISSIVE takes mutual TLS, plain text and the application's own TLS", () => {
  const json = listener(bookinfo());
  assert.deepEqual(chains(json), [
    `tls ${ISTIO_ALPN} mtls http_connection_manager`,
    "raw_buffer  plain http_connection_manager",
    "tls  plain tcp_proxy",
  ]);
  assert.deepEqual(inspectors(json), [TLS]);
  assert.equal(json["traffic_direction"], "INBOUND");
});

test("STRICT takes mutual TLS only", () => {
  const json = listener(mesh(bookinfo(), policy("STRICT")));
  assert.deepEqual(chains(json), ["tls  mtls http_connection_manager"]);
  assert.deepEqual(inspectors(json), [TLS]);
  const text = JSON.stringify(json);
  assert.match(text, /"require_client_certificate":true/);
  assert.match(text, /"name":"ROOTCA"/);
});

test("DISABLE takes plain text, and TLS only as bytes for the application", () => {
  const json = listener(mesh(bookinfo(), policy("DISABLE")));
  assert.deepEqual(chains(json), [
    "raw_buffer  plain http_connection_manager",
    "tls  plain tcp_proxy",
  ]);
});

test("a port's own mode beats the workload's", () => {
  const json = listener(
    mesh(bookinfo(), policy("STRICT", { portLevelMtls: { 9080: { mode: "PERMISSIVE" } } })),
  );
  assert.equal(chains(json).length, 3);
});

const pod = { name: "a-1-x", ip: "10.0.0.1" };
const node = nodeOf("a-1-x", "10.0.0.1");
const PROTOCOLS: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    "tcp",
    [
      "tls istio,istio-peer-exchange mtls tcp_proxy",
      "raw_buffer  plain tcp_proxy",
      "tls  plain tcp_proxy",
    ],
    [TLS],
  ],
  [
    "undeclared",
    [
      "tls istio-http/1.0,istio-http/1.1,istio-h2 mtls http_connection_manager",
      "tls istio,istio-peer-exchange mtls tcp_proxy",
      "raw_buffer http/1.0,http/1.1,h2c plain http_connection_manager",
      "raw_buffer  plain tcp_proxy",
      "tls  plain tcp_proxy",
    ],
    [TLS, HTTP],
  ],
  [
    "http2",
    [
      `tls ${ISTIO_ALPN} mtls http_connection_manager`,
      "raw_buffer  plain http_connection_manager",
      "tls  plain tcp_proxy",
    ],
    [TLS],
  ],
];
for (const [name, expected, filters] of PROTOCOLS) {
  test(`an application port that speaks ${name}`, () => {
    const objects = mesh(
      service({
        name: "a",
        ports: [{ port: 80, targetPort: 9080, ...(name === "undeclared" ? {} : { name }) }],
        pods: [pod],
      }),
    );
    const json = listener(objects, "10.0.0.1_9080", node);
    assert.deepEqual(chains(json), expected);
    assert.deepEqual(inspectors(json), filters);
  });
}

test("ports that only a service knows are listened on too, the sidecar's own never", () => {
  const objects = mesh(
    service({
      name: "a",
      ports: [
        { port: 80, targetPort: 7000, name: "http" },
        { port: 81, targetPort: 15090, name: "http-stats" },
      ],
      pods: [{ ...pod, ports: [{ containerPort: 9080 }, { containerPort: 15001 }] }],
    }),
  );
  assert.deepEqual(namesOf(translated(objects, node), LISTENER_TYPE), [
    "10.0.0.1_15001",
    "10.0.0.1_7000",
    "10.0.0.1_9080",
  ]);
});

test("a pod that is not known yet has its HTTP proxy already", () => {
  const set = translated(bookinfo(), nodeOf("new-1-x", "127.16.0.77"));
  assert.deepEqual(namesOf(set, LISTENER_TYPE), ["127.16.0.77_15001"]);
});

test("the HTTP proxy asks for its routes by name", () => {
  const text = JSON.stringify(listener(bookinfo(), "127.16.0.3_15001"));
  assert.match(text, /"route_config_name":"http_proxy"/);
  assert.match(text, /"traffic_direction":"OUTBOUND"/);
  assert.doesNotMatch(text, /access_log/);
});

test("the access log has the textbook's fields, as JSON on standard output", () => {
  const text = JSON.stringify(listener(bookinfo(), "127.16.0.3_15001", REVIEWS_V1, true));
  assert.match(text, /"path":"\/dev\/stdout"/);
  const textbook = [
    ...["start_time", "method", "path", "protocol", "response_code", "response_flags"],
    ...["bytes_received", "bytes_sent", "duration", "upstream_service_time", "x_forwarded_for"],
    ...["user_agent", "request_id", "authority", "upstream_host", "upstream_cluster"],
  ];
  for (const field of textbook) assert.ok(text.includes(`"${field}":"%`), field);
});

test("inbound requests say who called, outbound ones do not let it be forged", () => {
  assert.match(
    JSON.stringify(listener(bookinfo())),
    /"forward_client_cert_details":"APPEND_FORWARD"/,
  );
  assert.doesNotMatch(
    JSON.stringify(listener(bookinfo(), "127.16.0.3_15001")),
    /forward_client_cert_details/,
    "SANITIZE, the default",
  );
});
