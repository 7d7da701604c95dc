import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createAdsClient } from "../../../src/proxy/ads-client.ts";
import type { RuntimeConfig } from "../../../src/proxy/config/runtime-config.ts";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { UNKNOWN_PEER } from "../../../src/proxy/core/peer-metadata.ts";
import { ConfigStore } from "../../../src/proxy/xds/config-store.ts";
import { createGrpcClient } from "../../../src/proxy/xds/grpc-channel.ts";
import { type Clock, createLogger, systemClock } from "../../../src/runtime/index.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../../../src/xds/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type AdsServer, startAdsServer } from "./ads-server.ts";
import * as make from "./resources.ts";

const context = {
  readFile: (path: string) => readFileSync(path),
  environment: () => undefined,
  timeOriginMs: 0,
};

/** Polls until the condition holds; a minute is far beyond what any of these needs. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface Connected {
  readonly store: ConfigStore;
  readonly configs: RuntimeConfig[];
  readonly connected: boolean[];
  config(): RuntimeConfig;
  stop(): void;
}

function connect(
  server: { readonly port: number },
  protocol: "delta" | "sotw",
  clock: Clock = systemClock,
): Connected {
  const configs: RuntimeConfig[] = [];
  const connected: boolean[] = [];
  const logger = createLogger("test", "silent");
  const store: ConfigStore = new ConfigStore({
    self: UNKNOWN_PEER,
    context,
    clock,
    logger,
    onConfig: (config) => void configs.push(config),
    onWanted: (wanted) => client.want(wanted),
  });
  const target = {
    clusterName: "xds",
    authority: undefined,
    initialMetadata: () => [["authorization", "Bearer t"]] as const,
  };
  const address = { socket_address: { address: "127.0.0.1", port_value: server.port } };
  const spec = compileResource("Cluster xds", (scope) =>
    compileCluster(
      {
        name: "xds",
        load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
      },
      context,
      scope,
    ),
  );
  const client = createAdsClient({
    client: createGrpcClient(target, spec, () => undefined),
    target,
    protocol,
    node: { id: "sidecar~127.0.0.1~a.b~b.svc.cluster.local" },
    usesCds: true,
    usesLds: true,
    store,
    clock: systemClock,
    logger,
    random: () => 0.1,
    onState: ({ isConnected }) => void connected.push(isConnected),
    onAnswer: () => {},
  });
  client.start();
  return {
    store,
    configs,
    connected,
    config: () => store.current(),
    stop() {
      client.stop();
      store.stop();
    },
  };
}

async function withServer(run: (server: AdsServer) => Promise<void>): Promise<void> {
  const server = await startAdsServer();
  try {
    await run(server);
  } finally {
    server.stop();
  }
}

/** Sends one resource in either protocol; sotw sends are whole lists. */
function send(
  server: AdsServer,
  protocol: "delta" | "sotw",
  type: string,
  version: string,
  resources: Record<string, ReturnType<typeof make.cluster>>,
): string {
  if (protocol === "sotw") return server.sendSotw(type, version, Object.values(resources));
  const entries = Object.entries(resources).map(([k, any]) => [k, { version, any }]);
  return server.sendDelta(type, Object.fromEntries(entries));
}

const asked = (server: AdsServer, type: string, name: string): boolean =>
  server.deltaRequests.some(
    (r) => r.type_url === type && (r.resource_names_subscribe ?? []).includes(name),
  ) || server.sotwRequests.some((r) => r.type_url === type && r.resource_names?.includes(name));

for (const protocol of ["delta", "sotw"] as const) {
  test(`${protocol}: clusters and listeners become active once their parts are there`, async () => {
    await withServer(async (server) => {
      const proxy = connect(server, protocol);
      try {
        await until("the first requests", () => server.streams() === 1);
        assert.deepEqual(server.authorizations, ["Bearer t"]);
        send(server, protocol, CLUSTER_TYPE, "1", { a: make.cluster("a") });
        await until("EDS subscription", () => asked(server, ENDPOINT_TYPE, "a"));
        assert.equal(proxy.config().cluster("a"), undefined, "warming without endpoints");
        send(server, protocol, ENDPOINT_TYPE, "1", { a: make.endpoints("a", 80, 81) });
        await until("the cluster", () => proxy.config().cluster("a") !== undefined);
        assert.deepEqual(
          proxy
            .config()
            .cluster("a")
            ?.endpoints.map((e) => e.key),
          ["127.0.0.1:80", "127.0.0.1:81"],
        );
        send(server, protocol, LISTENER_TYPE, "1", { l: make.listener("l", "r") });
        await until("RDS subscription", () => asked(server, ROUTE_TYPE, "r"));
        assert.equal(proxy.config().listeners.size, 0, "warming without its route");
        send(server, protocol, ROUTE_TYPE, "1", { r: make.routes("r", "a") });
        await until("the listener", () => proxy.config().listeners.has("l"));
      } finally {
        proxy.stop();
      }
    });
  });

  test(`${protocol}: a refused route is NACKed with its path and the old one stays`, async () => {
    await withServer(async (server) => {
      const proxy = connect(server, protocol);
      try {
        await until("the stream", () => server.streams() === 1);
        send(server, protocol, LISTENER_TYPE, "1", { l: make.listener("l", "r") });
        await until("RDS subscription", () => asked(server, ROUTE_TYPE, "r"));
        send(server, protocol, ROUTE_TYPE, "1", { r: make.routes("r", "a") });
        await until("the listener", () => proxy.config().listeners.has("l"));
        const nonce = send(server, protocol, ROUTE_TYPE, "2", {
          r: make.routes("r", "b", ["x.com", "X.com"]),
        });
        const answers = () =>
          [...server.deltaRequests, ...server.sotwRequests].filter(
            (r) => r.response_nonce === nonce,
          );
        await until("the NACK", () => answers().length > 0);
        assert.match(
          answers()[0]?.error_detail?.message ?? "",
          /^RouteConfiguration r: virtual_hosts\[0\]\.domains\[1\]: Only unique values for domains/,
        );
        const nack = server.sotwRequests.find((r) => r.response_nonce === nonce);
        if (protocol === "sotw") assert.equal(nack?.version_info, "1", "the last accepted version");
        const network = proxy.config().listeners.get("l")?.chains[0]?.network;
        assert.ok(network?.kind === "http");
        const action = network.routeTable()?.virtualHost("anything")?.routes[0]?.action;
        assert.ok(action?.kind === "forward");
        assert.equal(action.clusters[0]?.cluster, "a");
      } finally {
        proxy.stop();
      }
    });
  });

  test(`${protocol}: a field that nobody here reads is accepted, one that protects is refused`, async () => {
    await withServer(async (server) => {
      const proxy = connect(server, protocol);
      const answerTo = async (nonce: string): Promise<string | undefined> => {
        const all = () => [...server.deltaRequests, ...server.sotwRequests];
        await until("the answer", () => all().some((r) => r.response_nonce === nonce));
        const message = all().find((r) => r.response_nonce === nonce)?.error_detail?.message;
        return message || undefined;
      };
      const withField = (number: number) => {
        const { type_url, value } = make.routes("r", "a");
        // A message field, empty: RouteConfiguration's, whatever it means.
        const tag =
          number < 16 ? [number * 8 + 2] : [((number * 8 + 2) & 0x7f) | 0x80, number >> 4];
        return {
          type_url,
          value: Buffer.concat([value ?? Buffer.alloc(0), Buffer.from([...tag, 0])]),
        };
      };
      try {
        await until("the stream", () => server.streams() === 1);
        send(server, protocol, LISTENER_TYPE, "1", { l: make.listener("l", "r") });
        await until("RDS subscription", () => asked(server, ROUTE_TYPE, "r"));
        // metadata
        const harmless = send(server, protocol, ROUTE_TYPE, "1", { r: withField(17) });
        assert.equal(await answerTo(harmless), undefined);
        // ignore_path_parameters_in_path_matching
        const harmful = send(server, protocol, ROUTE_TYPE, "2", { r: withField(15) });
        assert.equal(
          await answerTo(harmful),
          "RouteConfiguration r: ignore_path_parameters_in_path_matching: is not supported",
        );
      } finally {
        proxy.stop();
      }
    });
  });

  test(`${protocol}: without the control plane the config stays, and a new one is found`, async () => {
    const first = await startAdsServer();
    const proxy = connect(first, protocol);
    try {
      await until("the stream", () => first.streams() === 1);
      const local = { type: "STATIC", eds_cluster_config: null };
      send(first, protocol, CLUSTER_TYPE, "7", { a: make.cluster("a", local) });
      await until("the cluster", () => proxy.config().cluster("a") !== undefined);
      first.stop();
      await until("the loss noticed", () => proxy.connected.at(-1) === false);
      assert.ok(proxy.config().cluster("a") !== undefined);
      const second = await startAdsServer(first.port);
      try {
        await until("the new stream", () => second.streams() === 1);
        if (protocol === "delta") {
          await until("its CDS request", () => second.deltaRequests.length > 0);
          const request = second.deltaRequests.find((r) => r.type_url === CLUSTER_TYPE);
          assert.deepEqual(request?.initial_resource_versions, { a: "7" });
          assert.equal(request?.node?.id, "sidecar~127.0.0.1~a.b~b.svc.cluster.local");
          second.sendDelta(CLUSTER_TYPE, {}, ["a"]);
        } else second.sendSotw(CLUSTER_TYPE, "8", []);
        await until("the removal", () => proxy.config().cluster("a") === undefined);
      } finally {
        second.stop();
      }
    } finally {
      proxy.stop();
      first.stop();
    }
  });
}

test("a new certificate changes the TLS version of what uses it, and nothing else", async () => {
  await withServer(async (server) => {
    const proxy = connect(server, "delta");
    const tls = {
      transport_socket: {
        name: "tls",
        typed_config: {
          "@type":
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
          common_tls_context: {
            tls_certificate_sds_secret_configs: [{ name: "default", sds_config: { ads: {} } }],
          },
        },
      },
    };
    const local = { type: "STATIC", eds_cluster_config: null };
    try {
      await until("the stream", () => server.streams() === 1);
      server.sendDelta(CLUSTER_TYPE, {
        a: { version: "1", any: make.cluster("a", { ...local, ...tls }) },
        b: { version: "1", any: make.cluster("b", local) },
      });
      await until("SDS subscription", () => asked(server, SECRET_TYPE, "default"));
      assert.equal(proxy.config().cluster("a"), undefined);
      assert.ok(proxy.config().cluster("b") !== undefined, "b does not wait for a");
      const secret = (version: string) => ({
        default: { version, any: make.certificateSecret("default", `chain${version}`) },
      });
      const endpoint = { transportSocketMatch: {} } as never;
      server.sendDelta(SECRET_TYPE, secret("1"));
      await until("the cluster", () => proxy.config().cluster("a") !== undefined);
      const before = proxy.config().cluster("a")?.tlsFor(endpoint);
      const untouched = proxy.config().cluster("b");
      server.sendDelta(SECRET_TYPE, secret("2"));
      await until("the rotation", () =>
        (proxy.config().cluster("a")?.tlsFor(endpoint)?.certificateChainPem ?? "").includes(
          "chain2",
        ),
      );
      assert.notEqual(proxy.config().cluster("a")?.tlsFor(endpoint)?.version, before?.version);
      assert.equal(proxy.config().cluster("b"), untouched);
    } finally {
      proxy.stop();
    }
  });
});

test("after initial_fetch_timeout a cluster without endpoints becomes active and empty", async () => {
  const clock = new ManualClock();
  await withServer(async (server) => {
    const proxy = connect(server, "delta", clock);
    try {
      await until("the stream", () => server.streams() === 1);
      server.sendDelta(CLUSTER_TYPE, { a: { version: "1", any: make.cluster("a") } });
      await until("EDS subscription", () => asked(server, ENDPOINT_TYPE, "a"));
      clock.advance(14_999);
      assert.equal(proxy.config().cluster("a"), undefined);
      clock.advance(1);
      assert.deepEqual(proxy.config().cluster("a")?.endpoints, []);
    } finally {
      proxy.stop();
    }
  });
});

test("an updated cluster keeps serving its old version until the new one's endpoints came", async () => {
  await withServer(async (server) => {
    const proxy = connect(server, "delta");
    try {
      await until("the stream", () => server.streams() === 1);
      server.sendDelta(CLUSTER_TYPE, { a: { version: "1", any: make.cluster("a") } });
      await until("EDS subscription", () => asked(server, ENDPOINT_TYPE, "a"));
      server.sendDelta(ENDPOINT_TYPE, { a: { version: "1", any: make.endpoints("a", 80) } });
      await until("the cluster", () => proxy.config().cluster("a") !== undefined);
      const renamed = {
        eds_cluster_config: { eds_config: { ads: {} }, service_name: "other" },
      };
      server.sendDelta(CLUSTER_TYPE, { a: { version: "2", any: make.cluster("a", renamed) } });
      await until("the other subscription", () => asked(server, ENDPOINT_TYPE, "other"));
      assert.equal(proxy.config().cluster("a")?.endpoints[0]?.port, 80);
      server.sendDelta(ENDPOINT_TYPE, {
        other: { version: "1", any: make.endpoints("other", 90) },
      });
      await until("the swap", () => proxy.config().cluster("a")?.endpoints[0]?.port === 90);
      await until("the old name dropped", () =>
        server.deltaRequests.some((r) => r.resource_names_unsubscribe?.includes("a")),
      );
    } finally {
      proxy.stop();
    }
  });
});
