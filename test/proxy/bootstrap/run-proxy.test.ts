import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type Agent, createServer, type IncomingMessage } from "node:http";
import { request as httpsRequest, Agent as TlsAgent } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { type RunningProxy, runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import {
  type Any,
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../../../src/xds/index.ts";
import { type AdsServer, startAdsServer } from "../ads/ads-server.ts";
import * as make from "../ads/resources.ts";

const logger = createLogger("test", "silent");

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startUpstream(name: string) {
  const server = createServer((_request, response) => response.end(name));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function bootstrap(xdsPort: number | undefined, statics: object = {}): string {
  const address = { socket_address: { address: "127.0.0.1", port_value: xdsPort ?? 1 } };
  const ads = { ads: {}, resource_api_version: "V3" };
  return JSON.stringify({
    node: { id: "n1", cluster: "c1" },
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } },
    ...(xdsPort === undefined
      ? {}
      : {
          dynamic_resources: {
            ads_config: {
              api_type: "DELTA_GRPC",
              transport_api_version: "V3",
              grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
            },
            cds_config: ads,
            lds_config: ads,
          },
        }),
    static_resources: {
      clusters: [
        {
          name: "xds",
          load_assignment: {
            cluster_name: "xds",
            endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
          },
        },
      ],
      ...statics,
    },
  });
}

const listenerOn = (port: number, more: object = {}): Any => {
  const config = make.message("envoy.config.listener.v3.Listener", {
    name: "l",
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: "http",
            typed_config: make.manager({
              rds: { route_config_name: "r", config_source: { ads: {} } },
            }),
          },
        ],
        ...more,
      },
    ],
  });
  return make.pack("envoy.config.listener.v3.Listener", config);
};

async function body(port: number, path = "/"): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return `${response.status} ${await response.text()}`;
}

async function admin(proxy: RunningProxy, path: string): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${proxy.adminPort}${path}`)).text();
}

const v = (version: string, any: Any) => ({ version, any });

/** Everything for one cluster `a` behind one listener, in the order a control plane sends it. */
async function configure(ads: AdsServer, port: number, upstreamPort: number, more: object = {}) {
  await until("the stream", () => ads.streams() === 1);
  ads.sendDelta(CLUSTER_TYPE, { a: v("1", make.cluster("a")) });
  ads.sendDelta(ENDPOINT_TYPE, { a: v("1", make.endpoints("a", upstreamPort)) });
  ads.sendDelta(LISTENER_TYPE, { l: v("1", listenerOn(port, more)) });
  ads.sendDelta(ROUTE_TYPE, { r: v("1", make.routes("r", "a")) });
}

test("a static bootstrap serves, measures and stops without a control plane", async () => {
  const upstream = await startUpstream("hello");
  const port = await freePort();
  const address = { socket_address: { address: "127.0.0.1", port_value: upstream.port } };
  const proxy = await runProxy({
    bootstrapText: bootstrap(undefined, {
      clusters: [
        {
          name: "up",
          load_assignment: {
            cluster_name: "up",
            endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
          },
        },
      ],
      listeners: [
        {
          name: "l",
          address: { socket_address: { address: "127.0.0.1", port_value: port } },
          filter_chains: [
            {
              filters: [
                {
                  name: "http",
                  typed_config: make.manager({
                    route_config: {
                      name: "r",
                      virtual_hosts: [
                        {
                          name: "all",
                          domains: ["*"],
                          routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }],
                        },
                      ],
                    },
                  }),
                },
              ],
            },
          ],
        },
      ],
    }),
    logger,
    clock: systemClock,
  });
  try {
    await proxy.ready;
    assert.equal(await body(port), "200 hello");
    assert.equal(await admin(proxy, "/ready"), "LIVE\n");
    await until("the metric", async () =>
      (await admin(proxy, "/stats/prometheus")).includes('response_code="200"'),
    );
    assert.match(
      await admin(proxy, "/stats/prometheus"),
      /^envoy_cluster_upstream_cx_total\{envoy_cluster_name="up"\} 1$/m,
    );
  } finally {
    await proxy.stop(1000);
    upstream.stop();
  }
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`), "the listener is closed");
});

test("a taken listener port ends the start with one sentence", async () => {
  const blocker = createTcpServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  const { port } = blocker.address() as AddressInfo;
  try {
    const json = JSON.parse(bootstrap(undefined));
    json.static_resources.listeners = [
      {
        name: "l",
        address: { socket_address: { address: "127.0.0.1", port_value: port } },
        filter_chains: [
          {
            filters: [
              { name: "http", typed_config: make.manager({ route_config: { name: "r" } }) },
            ],
          },
        ],
      },
    ];
    await assert.rejects(
      runProxy({ bootstrapText: JSON.stringify(json), logger, clock: systemClock }),
      { code: "SERIN_PORT_IN_USE", message: new RegExp(String(port)) },
    );
  } finally {
    blocker.close();
  }
});

test("it follows the control plane, and serves on when that is killed", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const ads = await startAdsServer();
  const port = await freePort();
  const proxy = await runProxy({ bootstrapText: bootstrap(ads.port), logger, clock: systemClock });
  try {
    await configure(ads, port, one.port);
    await proxy.ready;
    await until("traffic", () =>
      body(port).then(
        (b) => b === "200 one",
        () => false,
      ),
    );
    ads.sendDelta(ENDPOINT_TYPE, { a: v("2", make.endpoints("a", two.port)) });
    await until("the new endpoint", async () => (await body(port)) === "200 two");
    // A refused route changes nothing.
    ads.sendDelta(ROUTE_TYPE, { r: v("2", make.routes("r", "a", ["x", "x"])) });
    await until("the NACK", () =>
      ads.deltaRequests.some((r) => (r.error_detail?.message ?? "").includes("virtual_hosts[0]")),
    );
    assert.equal(await body(port), "200 two");
    ads.stop();
    await until("the loss noticed", async () =>
      (await admin(proxy, "/stats")).includes("control_plane.connected_state: 0"),
    );
    assert.equal(await body(port), "200 two");
  } finally {
    await proxy.stop(0);
    ads.stop();
    one.stop();
    two.stop();
  }
});

test("a rotated certificate serves new connections and drops no old one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "serin-sds-"));
  const upstream = await startUpstream("hello");
  const ads = await startAdsServer();
  const port = await freePort();
  const proxy = await runProxy({ bootstrapText: bootstrap(ads.port), logger, clock: systemClock });
  const agent = new TlsAgent({ keepAlive: true, maxSockets: 1 });
  try {
    const socket = {
      transport_socket: {
        name: "tls",
        typed_config: {
          "@type":
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
          common_tls_context: {
            tls_certificate_sds_secret_configs: [{ name: "default", sds_config: { ads: {} } }],
          },
        },
      },
    };
    await configure(ads, port, upstream.port, socket);
    ads.sendDelta(SECRET_TYPE, { default: v("1", selfSigned(dir, "first")) });
    await proxy.ready;
    const kept = await tlsGet(port, agent);
    assert.equal(kept.commonName, "first");
    ads.sendDelta(SECRET_TYPE, { default: v("2", selfSigned(dir, "second")) });
    await until("the new certificate", async () => {
      const fresh = new TlsAgent();
      const { commonName } = await tlsGet(port, fresh);
      fresh.destroy();
      return commonName === "second";
    });
    const again = await tlsGet(port, agent);
    assert.deepEqual([again.body, again.localPort], ["hello", kept.localPort], "same connection");
  } finally {
    agent.destroy();
    await proxy.stop(0);
    ads.stop();
    upstream.stop();
    rmSync(dir, { recursive: true });
  }
});

function selfSigned(dir: string, name: string): Any {
  const [key, cert] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-subj", `/CN=${name}`, "-days", "1", "-keyout", key, "-out", cert],
    ],
    { stdio: "ignore" },
  );
  return make.pack("envoy.extensions.transport_sockets.tls.v3.Secret", {
    name: "default",
    tls_certificate: {
      certificate_chain: { inline_bytes: readFileSync(cert) },
      private_key: { inline_bytes: readFileSync(key) },
    },
  });
}

function tlsGet(port: number, agent: Agent) {
  return new Promise<{ body: string; commonName: string; localPort: number }>((resolve, reject) => {
    const request = httpsRequest(
      { host: "127.0.0.1", port, agent, rejectUnauthorized: false },
      (response: IncomingMessage) => {
        const socket = response.socket as TLSSocket;
        const commonName = String(socket.getPeerCertificate().subject.CN);
        const localPort = socket.localPort ?? 0;
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve({ body: text, commonName, localPort }));
      },
    );
    request.on("error", reject);
    request.end();
  });
}
