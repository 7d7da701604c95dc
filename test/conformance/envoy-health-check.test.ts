import assert from "node:assert/strict";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { type AddressInfo, createServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import {
  Server as GrpcServer,
  status as grpcStatus,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

interface Row {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly check: object;
  /** Other fields of the cluster. */
  readonly cluster?: object;
  /** Healthy members in the end, of Envoy. */
  readonly healthy: number;
  readonly degraded?: number;
}

const HTTP2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};
const grpc = (service_name: string, more: object = {}) => ({
  grpc_health_check: { service_name, ...more },
});
const http2 = (path: string, more: object = {}) =>
  http(path, { codec_client_type: "HTTP2", ...more });
const http = (path: string, more: object = {}) => ({ http_health_check: { path, ...more } });

const ROWS: readonly Row[] = [
  { name: "alive", hosts: ["web", "dead"], check: http("/ok"), healthy: 1 },
  { name: "status", hosts: ["web"], check: http("/503"), healthy: 0 },
  {
    name: "expected",
    hosts: ["web"],
    check: http("/503", { expected_statuses: [{ start: 500, end: 504 }] }),
    healthy: 1,
  },
  {
    name: "outside",
    hosts: ["web"],
    check: http("/504", { expected_statuses: [{ start: 500, end: 504 }] }),
    healthy: 0,
  },
  {
    name: "host",
    hosts: ["web"],
    check: http("/host/inner.test", { host: "inner.test" }),
    healthy: 1,
  },
  { name: "nohost", hosts: ["web"], check: http("/host/nohost"), healthy: 1 },
  {
    name: "header",
    hosts: ["web"],
    check: http("/header/yes", {
      request_headers_to_add: [{ header: { key: "x-check", value: "yes" } }],
    }),
    healthy: 1,
  },
  { name: "agent", hosts: ["web"], check: http("/agent"), healthy: 1 },
  {
    name: "agentless",
    hosts: ["web"],
    check: http("/agent", { request_headers_to_remove: ["user-agent"] }),
    healthy: 0,
  },
  { name: "method", hosts: ["web"], check: http("/method/HEAD", { method: "HEAD" }), healthy: 1 },
  { name: "silent", hosts: ["web"], check: http("/silent"), healthy: 0 },
  { name: "degraded", hosts: ["web"], check: http("/degraded"), healthy: 0, degraded: 1 },
  {
    name: "body",
    hosts: ["web"],
    check: http("/ok", { receive: [{ text: "6f6b" }] }),
    healthy: 1,
  },
  {
    name: "nobody",
    hosts: ["web"],
    check: http("/ok", { receive: [{ text: "6b6f" }] }),
    healthy: 0,
  },
  {
    name: "retriable",
    hosts: ["web"],
    check: http("/503", { retriable_statuses: [{ start: 503, end: 504 }] }),
    healthy: 0,
  },
  {
    name: "service",
    hosts: ["web"],
    check: http("/service/shop-7", { service_name_matcher: { prefix: "shop" } }),
    healthy: 1,
  },
  {
    name: "otherservice",
    hosts: ["web"],
    check: http("/service/bank-7", { service_name_matcher: { prefix: "shop" } }),
    healthy: 0,
  },
  {
    name: "noservice",
    hosts: ["web"],
    check: http("/ok", { service_name_matcher: { prefix: "shop" } }),
    healthy: 0,
  },
  { name: "h2", hosts: ["web2", "dead", "web"], check: http2("/ok"), cluster: HTTP2, healthy: 1 },
  { name: "h2status", hosts: ["web2"], check: http2("/503"), cluster: HTTP2, healthy: 0 },
  { name: "h2silent", hosts: ["web2"], check: http2("/silent"), cluster: HTTP2, healthy: 0 },
  {
    name: "h2host",
    hosts: ["web2"],
    check: http2("/host/inner.test", { host: "inner.test" }),
    cluster: HTTP2,
    healthy: 1,
  },
  { name: "h2nohost", hosts: ["web2"], check: http2("/host/h2nohost"), cluster: HTTP2, healthy: 1 },
  { name: "h2agent", hosts: ["web2"], check: http2("/agent"), cluster: HTTP2, healthy: 1 },
  {
    name: "h2header",
    hosts: ["web2"],
    check: http2("/header/yes", {
      request_headers_to_add: [{ header: { key: "x-check", value: "yes" } }],
    }),
    cluster: HTTP2,
    healthy: 1,
  },
  {
    name: "h2body",
    hosts: ["web2"],
    check: http2("/ok", { receive: [{ text: "6b6f" }] }),
    cluster: HTTP2,
    healthy: 0,
  },
  {
    name: "h2degraded",
    hosts: ["web2"],
    check: http2("/degraded"),
    cluster: HTTP2,
    healthy: 0,
    degraded: 1,
  },
  {
    name: "h2service",
    hosts: ["web2"],
    check: http2("/service/shop-7", { service_name_matcher: { exact: "shop-7" } }),
    cluster: HTTP2,
    healthy: 1,
  },
  { name: "grpc", hosts: ["grpc", "dead"], check: grpc(""), cluster: HTTP2, healthy: 1 },
  { name: "grpcserving", hosts: ["grpc"], check: grpc("serving"), cluster: HTTP2, healthy: 1 },
  {
    name: "grpcnotserving",
    hosts: ["grpc"],
    check: grpc("notserving"),
    cluster: HTTP2,
    healthy: 0,
  },
  { name: "grpcunknown", hosts: ["grpc"], check: grpc("unknown"), cluster: HTTP2, healthy: 0 },
  { name: "grpcnosuch", hosts: ["grpc"], check: grpc("nosuch"), cluster: HTTP2, healthy: 0 },
  { name: "grpcsilent", hosts: ["grpc"], check: grpc("silent"), cluster: HTTP2, healthy: 0 },
  { name: "grpcother", hosts: ["web2"], check: grpc(""), cluster: HTTP2, healthy: 0 },
  {
    name: "grpcauthority",
    hosts: ["grpc"],
    check: grpc("authority:inner.test", { authority: "inner.test" }),
    cluster: HTTP2,
    healthy: 1,
  },
  {
    name: "grpcmetadata",
    hosts: ["grpc"],
    check: grpc("metadata", {
      initial_metadata: [{ header: { key: "x-check", value: "yes" } }],
    }),
    cluster: HTTP2,
    healthy: 1,
  },
  {
    name: "grpcfresh",
    hosts: ["grpc"],
    check: { ...grpc("serving"), reuse_connection: false },
    cluster: HTTP2,
    healthy: 1,
  },
  { name: "tcp", hosts: ["pong", "dead"], check: { tcp_health_check: {} }, healthy: 1 },
  {
    name: "pong",
    hosts: ["pong", "web"],
    check: {
      tcp_health_check: {
        send: { text: "50494e470a" },
        receive: [{ text: "504f" }, { text: "47" }],
      },
    },
    healthy: 1,
  },
];

/** grpc.health.v1.Health on grpc-js, without generated code: its two messages have one field each. */
async function startGrpcHealth(t: TestContext): Promise<number> {
  const server = new GrpcServer();
  const bytes = (value: Buffer): Buffer => value;
  const definition = {
    path: "/grpc.health.v1.Health/Check",
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  } as const;
  const statuses: Readonly<Record<string, number>> = {
    "": 1,
    serving: 1,
    notserving: 2,
    unknown: 0,
  };
  server.addService(
    { check: definition },
    {
      check: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        const service = call.request.subarray(2).toString();
        const status = statuses[service];
        const says = (is: boolean) => callback(null, Buffer.from([0x08, is ? 1 : 2]));
        if (service === "silent") return;
        if (service.startsWith("authority:")) says(service.slice(10) === call.getHost());
        else if (service === "metadata") says(call.metadata.get("x-check")[0] === "yes");
        else if (status !== undefined) {
          callback(null, status === 0 ? Buffer.alloc(0) : Buffer.from([0x08, status]));
        } else callback({ code: grpcStatus.NOT_FOUND, details: service });
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return port;
}

async function startHosts(t: TestContext): Promise<ReadonlyMap<string, number>> {
  const answer = (
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
  ): void => {
    const [, kind = "", value] = (request.url ?? "").split("/");
    const { "user-agent": agent, "x-check": check } = request.headers;
    const host = request.headers.host ?? request.headers[":authority"];
    const isRight: Readonly<Record<string, boolean>> = {
      host: host === value,
      header: check === value,
      agent: agent === "Envoy/HC",
      method: request.method === value,
    };
    if (kind === "silent") return;
    if (kind === "degraded") response.setHeader("x-envoy-degraded", "true");
    if (/^\d+$/.test(kind)) response.statusCode = Number(kind);
    else response.statusCode = isRight[kind] === false ? 500 : 200;
    if (kind === "service") {
      response.setHeader("x-envoy-upstream-healthchecked-cluster", value ?? "");
    }
    response.end("ok");
  };
  const web = createHttpServer(answer);
  const web2 = createHttp2Server(answer);
  const pong = createServer((socket) => {
    socket.on("data", (bytes) => {
      if (bytes.toString() === "PING\n") socket.write("PONG\n");
    });
    socket.on("error", () => socket.destroy());
  });
  const ports = new Map([
    ["dead", await freePort()],
    ["grpc", await startGrpcHealth(t)],
  ]);
  const open = new Set<{ destroy(): void }>();
  for (const [name, server] of [
    ["web", web],
    ["web2", web2],
    ["pong", pong],
  ] as readonly (readonly [string, Server])[]) {
    server.on("connection", (socket) => open.add(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    ports.set(name, (server.address() as AddressInfo).port);
  }
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
  return ports;
}

/** The gauges once every cluster has been checked often enough for its thresholds. */
async function settled(places: ProxyPlaces): Promise<Readonly<Record<string, number>>> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const done = await statsOf(places, /\.health_check\.(success|failure)$/);
    const isDone = ROWS.every(({ name, hosts }) => {
      const count = (kind: string): number => done[`cluster.${name}.health_check.${kind}`] ?? 0;
      return count("success") + count("failure") >= 5 * hosts.length;
    });
    if (isDone) {
      return statsOf(
        places,
        /^cluster\.\w+\.(membership_(total|healthy|degraded)|health_check\.(healthy|degraded))$/,
      );
    }
    assert.ok(Date.now() < deadline, JSON.stringify(done));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("active health checks judge hosts as Envoy's do", {
  skip: skipWithout("envoy"),
}, async (t) => {
  const ports = await startHosts(t);
  const clusters = ROWS.map(({ name, hosts, check, cluster }) => ({
    ...cluster,
    name,
    connect_timeout: "1s",
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: hosts.map((host) => ({
            endpoint: { address: address(ports.get(host) ?? 0) },
          })),
        },
      ],
    },
    health_checks: [
      {
        // Hosts that answer may be slow to do so on a busy machine.
        timeout: name.endsWith("silent") ? "0.1s" : "3s",
        interval: "0.02s",
        no_traffic_interval: "0.02s",
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        ...check,
      },
    ],
  }));
  const { envoy, ours } = await sideBySide(
    (places) => httpBootstrap(places, clusters, []),
    settled,
  );
  for (const { name, healthy, degraded = 0 } of ROWS) {
    await t.test(name, () => {
      const of = (stats: Readonly<Record<string, number>>) =>
        Object.fromEntries(
          ["membership_total", "membership_healthy", "membership_degraded"].map((stat) => [
            stat,
            stats[`cluster.${name}.${stat}`],
          ]),
        );
      assert.deepEqual(
        [of(envoy)["membership_healthy"], of(envoy)["membership_degraded"]],
        [healthy, degraded],
        "Envoy's own",
      );
      assert.deepEqual(of(ours), of(envoy));
      for (const gauge of ["healthy", "degraded"]) {
        const stat = `cluster.${name}.health_check.${gauge}`;
        assert.equal(ours[stat] ?? 0, envoy[stat] ?? 0, stat);
      }
    });
  }
});
