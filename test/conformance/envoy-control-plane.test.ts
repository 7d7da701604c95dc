import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, createServer as createHttpServer, request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { compareDumps } from "../../src/cli/output/sync-diff.ts";
import { runProxy, sidecarBootstrap } from "../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";
import { type MeshCluster, startMeshCluster } from "./support/mesh-cluster.ts";

const DEADLINE_MS = 60_000;
const skip = skipWithout("envoy");

for (const apiType of ["GRPC", "DELTA_GRPC"] as const) {
  test(`Envoy over ${apiType}: splits, follows weights, speaks mutual TLS to our sidecar`, {
    skip,
    timeout: 3 * DEADLINE_MS,
  }, async (t) => {
    const cluster = await startMeshCluster(t);
    const net = await loopback();
    await applyApplication(cluster, net);
    await startApplication(t, net.appIp(11), net.appPort, "v1");
    await startApplication(t, net.ip(12), net.appPort, "v2");
    // v1 has one of our sidecars and takes nothing but mutual TLS, v2 has none.
    await startOurSidecar(t, cluster, net);
    const adminPort = await startEnvoy(t, cluster, net, apiType);
    const ask = client(t, net);
    await eventually("the first answer", async () => (await ask()).status === 200);

    const counts = await ratio(ask, 1000);
    // Binomial(1000, 0.1): 55..150 but for less than one run in a million.
    assert.ok(counts.v2 > 54 && counts.v2 < 151, `v2 got ${counts.v2} of 1000`);
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask()));
    const ours = answers.find((answer) => answer.version === "v1");
    assert.match(
      ours?.clientCertificate ?? "",
      /URI=spiffe:\/\/cluster\.local\/ns\/default\/sa\/caller/,
      "our sidecar saw Envoy's certificate, which the control plane issued",
    );
    assert.equal(await plainText(net), "refused", "STRICT");

    // Weights change under load; not one request may fail.
    const load = startLoad(ask, 8);
    for (const [v1, v2] of [
      [50, 50],
      [0, 100],
      [100, 0],
      [10, 90],
      [0, 100],
    ] as const) {
      await cluster.apply(RESOURCES.virtualService, virtualService(v1, v2));
      await eventually(`weights ${v1}/${v2}`, async () => {
        const seen = await ratio(ask, 60);
        if (v1 === 0) return seen.v1 === 0;
        if (v2 === 0) return seen.v2 === 0;
        return v1 < v2 ? seen.v2 > seen.v1 : seen.v2 > 10;
      });
    }
    const { requests, failures } = await load.stop();
    assert.deepEqual(failures, []);
    assert.ok(requests > 200, `only ${requests} requests`);
    const adminUrl = `http://${net.ip(2)}:${adminPort}`;
    await checkIstioMetrics(cluster, ask, `${adminUrl}/stats/prometheus`);
    await checkProxyStatus(cluster, adminUrl);
  });
}

/** What `serin proxy-status POD` compares is the same when the proxy is a stock Envoy. */
async function checkProxyStatus(cluster: MeshCluster, adminUrl: string): Promise<void> {
  const debug = `http://127.0.0.1:${cluster.debugPort}/debug`;
  const json = async (url: string): Promise<unknown> => (await fetch(url)).json();
  let different: readonly string[] = [];
  await eventually("Envoy has what the control plane means it to have", async () => {
    const expected = await json(`${debug}/config_dump?proxyID=${CALLER}.default`);
    const actual = await json(`${adminUrl}/config_dump?include_eds=true`);
    different = compareDumps(expected, actual).flatMap(({ diff }) => (diff === "" ? [] : [diff]));
    return different.length === 0;
  }).catch((error: unknown) => {
    throw new Error(different.join("\n"), { cause: error });
  });
  const all = (await json(`${debug}/syncz`)) as readonly Record<string, string>[];
  const caller = all.find(({ proxy }) => proxy === `${CALLER}.default`);
  assert.match(caller?.["proxy_version"] ?? "", /^1\.\d+\.\d+$/, "Envoy's own version");
}

/**
 * A stock Envoy makes Istio's metrics because the control plane told it how, for whoever scrapes it,
 * and for the control plane itself; and it reports its loads.
 */
async function checkIstioMetrics(cluster: MeshCluster, ask: Ask, statsUrl: string): Promise<void> {
  const text = await (await fetch(statsUrl)).text();
  const wanted = {
    reporter: "source",
    request_protocol: "http",
    response_code: "200",
    response_flags: "-",
    source_workload: "caller-5d8f-envoy",
    source_app: "caller",
    destination_workload: POD_V1,
    destination_workload_namespace: "default",
    destination_version: "v1",
    destination_app: "reviews",
    destination_service: "reviews.default.svc.cluster.local",
    destination_service_name: "reviews",
    destination_service_namespace: "default",
    source_principal: "spiffe://cluster.local/ns/default/sa/caller",
    destination_principal: "spiffe://cluster.local/ns/default/sa/bookinfo-reviews",
  };
  const lines = text.split("\n").filter((line) => line.startsWith("envoy_istio_requests_total{"));
  const labelsOf = (line: string) =>
    Object.fromEntries([...line.matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1], match[2]]));
  const series = lines.map((line) => ({
    labels: labelsOf(line),
    value: Number(line.split(" ")[1]),
  }));
  const v1 = series.find(
    ({ labels }) => labels["destination_version"] === "v1" && labels["response_code"] === "200",
  );
  for (const [label, value] of Object.entries(wanted)) {
    assert.equal(v1?.labels[label], value, `${label} in ${lines.join("\n")}`);
  }
  const v2 = series.find(({ labels }) => labels["destination_version"] === "v2");
  assert.ok(v1 && v2 && v1.value > 100 && v2.value > 50, lines.join("\n"));
  assert.match(text, /envoy_istio_request_duration_milliseconds_bucket\{[^}]*le="/);
  await eventually("the stream of metrics", async () => {
    const now = systemClock.nowMs();
    const of = cluster.telemetry.increases("istio_requests_total", () => true, 60_000, now);
    return of.some(
      ({ labels }) =>
        labels["destination_version"] === "v2" && labels["source_workload"] === CALLER,
    );
  });
  await eventually("the report of loads", async () => {
    // Envoy counts from when its report stream stands, which may be late.
    await ask();
    const metrics = await fetch(`http://127.0.0.1:${cluster.debugPort}/metrics`);
    const load =
      /serin_lrs_requests_total\{cluster="outbound\|9080\|v2\|reviews\.default\.svc\.cluster\.local",outcome="success"\} (\d+)/;
    return Number(load.exec(await metrics.text())?.[1] ?? 0) > 0;
  });
}

/** Addresses of this run: pods, and the application's twin address (bit 5 of the second byte). */
interface Loopback {
  readonly appPort: number;
  readonly proxyPort: number;
  ip(last: number): string;
  appIp(last: number): string;
}

async function loopback(): Promise<Loopback> {
  const [second, third] = [16 + Math.floor(Math.random() * 15), Math.floor(Math.random() * 256)];
  return {
    appPort: await freePort(),
    proxyPort: await freePort(),
    ip: (last) => `127.${second}.${third}.${last}`,
    appIp: (last) => `127.${second + 32}.${third}.${last}`,
  };
}

const CALLER = "caller-5d8f-envoy";
const POD_V1 = "reviews-v1-5d8f-aaaaa";
const POD_V2 = "reviews-v2-5d8f-bbbbb";

/** What a cluster with three running pods holds. */
async function applyApplication(cluster: MeshCluster, net: Loopback): Promise<void> {
  for (const name of ["caller", "bookinfo-reviews"]) {
    await cluster.apply(RESOURCES.serviceAccount, object("v1", "ServiceAccount", name, {}));
  }
  const ports = [{ containerPort: net.appPort }];
  const pod = (name: string, account: string, labels: object, ip: string) =>
    object("v1", "Pod", name, {
      metadata: { labels },
      spec: { serviceAccountName: account, containers: [{ name: "app", image: "app", ports }] },
      status: { phase: "Running", podIP: ip },
    });
  const sidecar = { "security.istio.io/tlsMode": "istio" };
  const pods = [
    pod(CALLER, "caller", { app: "caller", ...sidecar }, net.ip(2)),
    pod(POD_V1, "bookinfo-reviews", { app: "reviews", version: "v1", ...sidecar }, net.ip(11)),
    pod(POD_V2, "bookinfo-reviews", { app: "reviews", version: "v2" }, net.ip(12)),
  ];
  for (const each of pods) await cluster.apply(RESOURCES.pod, each);
  await cluster.apply(
    RESOURCES.service,
    object("v1", "Service", "reviews", {
      spec: {
        selector: { app: "reviews" },
        ports: [{ name: "http", port: 9080, targetPort: net.appPort }],
      },
    }),
  );
  const endpoint = (name: string, ip: string) => ({
    addresses: [ip],
    conditions: { ready: true },
    targetRef: { kind: "Pod", name, namespace: "default" },
  });
  await cluster.apply(
    RESOURCES.endpointSlice,
    object("discovery.k8s.io/v1", "EndpointSlice", "reviews-test", {
      metadata: { labels: { "kubernetes.io/service-name": "reviews" } },
      addressType: "IPv4",
      ports: [{ name: "http", port: net.appPort, protocol: "TCP" }],
      endpoints: [endpoint(POD_V1, net.ip(11)), endpoint(POD_V2, net.ip(12))],
    }),
  );
  await cluster.apply(
    RESOURCES.destinationRule,
    object("networking.istio.io/v1beta1", "DestinationRule", "reviews", {
      spec: {
        host: "reviews",
        subsets: ["v1", "v2"].map((version) => ({ name: version, labels: { version } })),
      },
    }),
  );
  await cluster.apply(
    RESOURCES.peerAuthentication,
    object("security.istio.io/v1beta1", "PeerAuthentication", "strict", {
      spec: { mtls: { mode: "STRICT" } },
    }),
  );
  await cluster.apply(RESOURCES.virtualService, virtualService(90, 10));
}

function virtualService(v1: number, v2: number): KubeObject {
  const to = (subset: string, weight: number) => ({
    destination: { host: "reviews", subset },
    weight,
  });
  return object("networking.istio.io/v1beta1", "VirtualService", "reviews", {
    spec: { hosts: ["reviews"], http: [{ route: [to("v1", v1), to("v2", v2)] }] },
  });
}

function object(apiVersion: string, kind: string, name: string, fields: object): KubeObject {
  const { metadata, ...rest } = fields as { readonly metadata?: object };
  return { apiVersion, kind, metadata: { name, namespace: "default", ...metadata }, ...rest };
}

async function startApplication(
  t: TestContext,
  address: string,
  port: number,
  version: string,
): Promise<void> {
  const server = createHttpServer((incoming, response) => {
    const clientCertificate = incoming.headers["x-forwarded-client-cert"];
    response.end(JSON.stringify({ version, clientCertificate }));
  });
  server.listen(port, address);
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
}

/** The sidecar of v1, started as the injected container starts it. */
async function startOurSidecar(t: TestContext, cluster: MeshCluster, net: Loopback): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "serin-token-"));
  const tokenPath = join(dir, "token");
  writeFileSync(tokenPath, await cluster.token("bookinfo-reviews", POD_V1));
  const proxy = await runProxy({
    bootstrap: sidecarBootstrap({
      POD_NAME: POD_V1,
      POD_NAMESPACE: "default",
      POD_IP: net.ip(11),
      SERVICE_ACCOUNT: "bookinfo-reviews",
      ISTIO_META_LABELS: JSON.stringify({ app: "reviews", version: "v1" }),
      ISTIO_META_APPLICATION_ADDRESS: net.appIp(11),
      SERIN_XDS_ADDRESS: `127.0.0.1:${cluster.xdsPort}`,
      SERIN_TOKEN_PATH: tokenPath,
    }),
    logger: createLogger("sidecar", "silent"),
    clock: systemClock,
  });
  t.after(async () => {
    await proxy.stop(0);
    rmSync(dir, { recursive: true });
  });
  await proxy.ready;
}

/** The caller's sidecar: a stock Envoy that knows nothing but where the control plane is. */
async function startEnvoy(
  t: TestContext,
  cluster: MeshCluster,
  net: Loopback,
  apiType: "GRPC" | "DELTA_GRPC",
): Promise<number> {
  const token = await cluster.token("caller", CALLER);
  const adminPort = await freePort();
  const grpcService = { envoy_grpc: { cluster_name: "xds-grpc" } };
  const sink = "envoy.config.metrics.v3.MetricsServiceConfig";
  const bootstrap = {
    admin: { address: { socket_address: { address: net.ip(2), port_value: adminPort } } },
    stats_flush_interval: "0.5s",
    stats_sinks: [
      {
        name: "envoy.stat_sinks.metrics_service",
        typed_config: {
          "@type": `type.googleapis.com/${sink}`,
          grpc_service: grpcService,
          transport_api_version: "V3",
          emit_tags_as_labels: true,
        },
      },
    ],
    cluster_manager: {
      load_stats_config: {
        api_type: "GRPC",
        transport_api_version: "V3",
        grpc_services: [grpcService],
      },
    },
    node: {
      id: `sidecar~${net.ip(2)}~${CALLER}.default~default.svc.cluster.local`,
      cluster: "caller.default",
      metadata: {
        NAME: CALLER,
        NAMESPACE: "default",
        LABELS: { app: "caller" },
        INTERCEPTION_MODE: "NONE",
        HTTP_PROXY_PORT: String(net.proxyPort),
      },
    },
    dynamic_resources: {
      ads_config: {
        api_type: apiType,
        transport_api_version: "V3",
        grpc_services: [
          {
            envoy_grpc: { cluster_name: "xds-grpc" },
            initial_metadata: [{ key: "authorization", value: `Bearer ${token}` }],
          },
        ],
      },
      cds_config: { ads: {}, resource_api_version: "V3" },
      lds_config: { ads: {}, resource_api_version: "V3" },
    },
    static_resources: { clusters: [xdsCluster(cluster.xdsPort)] },
  };
  const dir = mkdtempSync(join(tmpdir(), "serin-envoy-"));
  const file = join(dir, "envoy.json");
  writeFileSync(file, JSON.stringify(bootstrap));
  const args = ["-c", file, "--concurrency", "1", "--log-level", "off", "--use-dynamic-base-id"];
  const child = spawn(findTool("envoy") ?? "envoy", args, { stdio: "ignore" });
  t.after(async () => {
    await ended(child);
    rmSync(dir, { recursive: true });
  });
  await eventually("Envoy's HTTP proxy listens", async () => {
    assert.equal(child.exitCode, null, "Envoy ended");
    return await isOpen(net.ip(2), net.proxyPort);
  });
  return adminPort;
}

function xdsCluster(port: number) {
  const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  const address = { socket_address: { address: "127.0.0.1", port_value: port } };
  return {
    name: "xds-grpc",
    type: "STATIC",
    connect_timeout: "1s",
    typed_extension_protocol_options: {
      [options]: {
        "@type": `type.googleapis.com/${options}`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: "xds-grpc",
      endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
    },
  };
}

interface Answer {
  readonly status: number;
  readonly version: string | undefined;
  readonly clientCertificate: string | undefined;
}
type Ask = () => Promise<Answer>;

/** An application that heeds HTTP_PROXY, with kept connections. */
function client(t: TestContext, net: Loopback): Ask {
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return async () => {
    const outgoing = request({
      host: net.ip(2),
      port: net.proxyPort,
      path: "http://reviews:9080/reviews/1",
      headers: { host: "reviews:9080" },
      agent,
    });
    outgoing.end();
    const [response] = await once(outgoing, "response");
    let body = "";
    for await (const chunk of response) body += chunk;
    const json = body.startsWith("{") ? JSON.parse(body) : {};
    return { status: response.statusCode, ...json };
  };
}

async function ratio(ask: Ask, count: number): Promise<{ v1: number; v2: number }> {
  const counts = { v1: 0, v2: 0 };
  for (let i = 0; i < count; i++) {
    const { version } = await ask();
    if (version === "v1" || version === "v2") counts[version] += 1;
  }
  return counts;
}

/** Asks without pause from several sides until stopped; remembers whatever was not 200. */
function startLoad(ask: Ask, workers: number) {
  let isRunning = true;
  let requests = 0;
  const failures: string[] = [];
  const work = async (): Promise<void> => {
    while (isRunning) {
      requests += 1;
      const outcome = await ask().then(
        ({ status }) => String(status),
        (error: unknown) => String(error),
      );
      if (outcome !== "200") failures.push(outcome);
    }
  };
  const all = Promise.all(Array.from({ length: workers }, work));
  return {
    async stop(): Promise<{ readonly requests: number; readonly failures: readonly string[] }> {
      isRunning = false;
      await all;
      return { requests, failures };
    },
  };
}

/** What a caller without a sidecar gets from v1's pod. */
async function plainText(net: Loopback): Promise<"answered" | "refused"> {
  const outgoing = request({ host: net.ip(11), port: net.appPort, agent: false });
  outgoing.end();
  return await once(outgoing, "response").then(
    () => "answered",
    () => "refused",
  );
}

async function isOpen(address: string, port: number): Promise<boolean> {
  const socket = connect(port, address);
  const open = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return open;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await delay(20);
  }
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}
