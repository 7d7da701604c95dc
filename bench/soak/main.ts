/**
 * `npm run bench:soak -- [--minutes 60] [--rps 2000] [--report FILE]`
 *
 * A pair of sidecars under steady load while everything around them changes: the routes' weights every
 * second, an upstream taken out and started anew every ten, every certificate every thirty. Says how
 * many requests failed and how much memory the proxies took, minute by minute. Needs `h2load` and
 * `openssl`.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import type { Any } from "../../src/xds/index.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../../src/xds/index.ts";
import { type AdsServer, startAdsServer } from "../../test/proxy/ads/ads-server.ts";
import { cluster, endpoints, message, pack } from "../../test/proxy/ads/resources.ts";
import { createAuthority, type TestCertificate } from "../../test/support/certificates.ts";

const TYPE = "type.googleapis.com/";
const UNLIMITED = 2 ** 32 - 1;
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    rps: { type: "string", default: "2000" },
    report: { type: "string", default: join(import.meta.dirname, "../results/soak.json") },
  },
});
const minutes = Number(values.minutes);
const rps = Number(values.rps);

interface Minute {
  readonly minute: number;
  readonly requests: number;
  readonly failed: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly rssMb: { readonly client: number; readonly server: number };
}

interface Upstream {
  readonly port: number;
  server: Server;
}

const dir = mkdtempSync(join(tmpdir(), "serin-soak-"));
const children: ChildProcess[] = [];
try {
  await main();
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true });
}
process.exit(0);

async function main(): Promise<void> {
  const [clientPort = 0, serverPort = 0, clientAdmin = 0, serverAdmin = 0] = await freePorts(4);
  const upstreams: Upstream[] = [await upstream(0), await upstream(0)];
  const [clientAds, serverAds] = [await startAdsServer(), await startAdsServer()];
  const authority = await createAuthority();
  const issue = (): Promise<TestCertificate> => authority.issue("spiffe://soak/ns/a/sa/b");
  let version = 0;
  const send = (ads: AdsServer, type: string, resources: Readonly<Record<string, Any>>): string => {
    version += 1;
    const entries = Object.entries(resources).map(
      ([name, any]) => [name, { version: String(version), any }] as const,
    );
    return ads.sendDelta(type, Object.fromEntries(entries));
  };
  const rotate = async (): Promise<void> => {
    const [own, peer] = [await issue(), await issue()];
    send(clientAds, SECRET_TYPE, secrets(own, authority.certificatePem));
    send(serverAds, SECRET_TYPE, secrets(peer, authority.certificatePem));
  };
  const route = (weight: number): string =>
    send(clientAds, ROUTE_TYPE, { out: weighted("out", { a: weight, b: 100 - weight }) });
  const alive = (ports: readonly number[]): string =>
    send(serverAds, ENDPOINT_TYPE, { app: endpoints("app", ...ports) });

  const client = proxy("client", clientAds.port, clientAdmin);
  const server = proxy("server", serverAds.port, serverAdmin);
  await until(() => clientAds.streams() > 0 && serverAds.streams() > 0, "the proxies connect");
  const tls = { ...unlimited(), transport_socket: upstreamTls() };
  const publish = async (): Promise<void> => {
    await rotate();
    send(serverAds, CLUSTER_TYPE, { app: cluster("app", unlimited()) });
    alive(upstreams.map(({ port }) => port));
    send(serverAds, LISTENER_TYPE, { in: listener("in", serverPort, "in", true) });
    send(serverAds, ROUTE_TYPE, { in: weighted("in", { app: 100 }) });
    send(clientAds, CLUSTER_TYPE, { a: cluster("a", tls), b: cluster("b", tls) });
    send(clientAds, ENDPOINT_TYPE, {
      a: endpoints("a", serverPort),
      b: endpoints("b", serverPort),
    });
    send(clientAds, LISTENER_TYPE, { out: listener("out", clientPort, "out", false) });
    route(90);
  };
  // What was not asked for yet is ignored: a proxy asks for one thing after the other.
  await until(async () => {
    await publish();
    await sleep(300);
    const answer = await fetch(`http://127.0.0.1:${clientPort}/`).catch(() => undefined);
    return answer?.status === 200;
  }, "the pair serves");

  let isOver = false;
  const weights = (async () => {
    for (let i = 0; !isOver; i += 1) {
      route([90, 50, 10, 100][i % 4] ?? 90);
      await sleep(1000);
    }
  })();
  const rotations = (async () => {
    for (let second = 1; !isOver; second += 1) {
      await sleep(1000);
      if (second % 30 === 0) await rotate();
    }
  })();
  const restarts = (async () => {
    for (let i = 0; !isOver; i += 1) {
      await sleep(10_000);
      const [victim, other] = i % 2 === 0 ? upstreams : [...upstreams].reverse();
      if (victim === undefined || other === undefined) continue;
      const nonce = alive([other.port]);
      // As a control plane would: nothing is stopped before the proxy has let go of it.
      await until(
        () => serverAds.deltaRequests.some(({ response_nonce }) => response_nonce === nonce),
        "the proxy acknowledges",
      );
      await sleep(500);
      const { server } = victim;
      // What is in flight may finish, as a graceful stop lets it.
      const deadline = setTimeout(() => server.closeAllConnections(), 10_000);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
      clearTimeout(deadline);
      victim.server = (await upstream(victim.port)).server;
      alive([victim.port, other.port]);
    }
  })();

  const results: Minute[] = [];
  for (let minute = 1; minute <= minutes; minute += 1) {
    const { requests, failed, statuses } = await load(clientPort);
    const rssMb = { client: rssOf(client), server: rssOf(server) };
    results.push({ minute, requests, failed, statuses, rssMb });
    console.log(
      `minute ${minute}: ${requests} requests, ${failed} failed${failed > 0 ? ` ${JSON.stringify(statuses)}` : ""}, ${rssMb.client} and ${rssMb.server} MB`,
    );
  }
  isOver = true;
  await Promise.all([weights, rotations, restarts]);
  const failed = results.reduce((sum, each) => sum + each.failed, 0);
  const document = { date: new Date().toISOString(), rps, minutes, failed, results };
  mkdirSync(dirname(values.report), { recursive: true });
  writeFileSync(values.report, `${JSON.stringify(document, null, 2)}\n`);
  console.log(`${failed} failed requests in ${minutes} minutes; ${values.report}`);
  clientAds.stop();
  serverAds.stop();
}

async function load(port: number) {
  const log = join(dir, "log");
  await promisify(execFile)("h2load", [
    ...["--h1", "-c50", "-t1", `--rps=${rps / 50}`, "-D", "60", `--log-file=${log}`],
    `http://127.0.0.1:${port}/`,
  ]);
  const statuses: Record<string, number> = {};
  const lines = readFileSync(log, "utf8").trim().split("\n");
  for (const line of lines) {
    const status = line.split("\t")[1] ?? "";
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
  rmSync(log);
  return { requests: lines.length, failed: lines.length - (statuses["200"] ?? 0), statuses };
}

function proxy(id: string, adsPort: number, adminPort: number): ChildProcess {
  const file = join(dir, `${id}.json`);
  writeFileSync(
    file,
    JSON.stringify({
      node: { id, cluster: id },
      admin: { address: address(adminPort) },
      dynamic_resources: {
        ads_config: {
          api_type: "DELTA_GRPC",
          transport_api_version: "V3",
          grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
        },
        cds_config: { ads: {} },
        lds_config: { ads: {} },
      },
      static_resources: {
        clusters: [
          {
            name: "xds",
            type: "STATIC",
            typed_extension_protocol_options: {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
            load_assignment: {
              cluster_name: "xds",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(adsPort) } }] }],
            },
          },
        ],
      },
    }),
  );
  const entry = join(import.meta.dirname, "../../bin/serin.mjs");
  const args = [entry, "proxy", "--bootstrap", file, "--log-level", "warn"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
  children.push(child);
  return child;
}

function unlimited(): object {
  const thresholds = [
    { max_connections: UNLIMITED, max_pending_requests: UNLIMITED, max_requests: UNLIMITED },
  ];
  return { circuit_breakers: { thresholds } };
}

function weighted(name: string, weights: Readonly<Record<string, number>>): Any {
  const clusters = Object.entries(weights).map(([cluster, weight]) => ({ name: cluster, weight }));
  return any("envoy.config.route.v3.RouteConfiguration", {
    name,
    virtual_hosts: [
      {
        name: "all",
        domains: ["*"],
        routes: [
          {
            match: { prefix: "/" },
            route: {
              weighted_clusters: { clusters },
              timeout: "10s",
              retry_policy: {
                retry_on: "connect-failure,refused-stream,reset-before-request",
                num_retries: 2,
              },
            },
          },
        ],
      },
    ],
  });
}

function listener(name: string, port: number, routes: string, isTls: boolean): Any {
  return any("envoy.config.listener.v3.Listener", {
    name,
    address: address(port),
    filter_chains: [
      {
        filters: [
          {
            name: "http",
            typed_config: {
              "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: name,
              access_log: [failures(name)],
              rds: { route_config_name: routes, config_source: { ads: {} } },
              http_filters: [
                {
                  name: "router",
                  typed_config: {
                    "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router`,
                  },
                },
              ],
            },
          },
        ],
        ...(isTls
          ? {
              transport_socket: {
                name: "tls",
                typed_config: {
                  "@type": `${TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
                  require_client_certificate: true,
                  common_tls_context: { ...commonTls(), alpn_protocols: ["h2", "http/1.1"] },
                },
              },
            }
          : {}),
      },
    ],
  });
}

/** Why a request failed, on standard output. */
function failures(name: string): object {
  const value = { default_value: 500, runtime_key: "soak" };
  return {
    name: "failures",
    filter: { status_code_filter: { comparison: { op: "GE", value } } },
    typed_config: {
      "@type": `${TYPE}envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`,
      log_format: {
        text_format_source: {
          inline_string: `${name}: %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_HOST% %UPSTREAM_TRANSPORT_FAILURE_REASON% after %DURATION% ms, attempt %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n`,
        },
      },
    },
  };
}

function upstreamTls(): object {
  return {
    name: "tls",
    typed_config: {
      "@type": `${TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
      common_tls_context: {
        ...commonTls(),
        alpn_protocols: ["istio-http/1.1", "istio", "http/1.1"],
      },
    },
  };
}

function commonTls(): object {
  const sds = (name: string) => ({ name, sds_config: { ads: {} } });
  return {
    tls_certificate_sds_secret_configs: [sds("default")],
    validation_context_sds_secret_config: sds("ROOTCA"),
  };
}

function secrets(own: TestCertificate, ca: string): Readonly<Record<string, Any>> {
  const secret = "envoy.extensions.transport_sockets.tls.v3.Secret";
  return {
    default: any(secret, {
      name: "default",
      tls_certificate: {
        certificate_chain: { inline_string: own.certificatePem },
        private_key: { inline_string: own.keyPem },
      },
    }),
    ROOTCA: any(secret, {
      name: "ROOTCA",
      validation_context: { trusted_ca: { inline_string: ca } },
    }),
  };
}

function any(name: Parameters<typeof message>[0], json: unknown): Any {
  return pack(name, message(name, json) as never);
}

function address(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

async function upstream(port: number): Promise<Upstream> {
  const body = "x".repeat(1024);
  const server = createServer((_, response) => response.end(body));
  server.listen(port, "127.0.0.1");
  await new Promise((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });
  return { port: (server.address() as AddressInfo).port, server };
}

function rssOf({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`gave up waiting until ${what}`);
    await sleep(50);
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createTcpServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
