import assert from "node:assert/strict";
import { test } from "node:test";
import { type ServerState, startAdmin, startSidecarPorts } from "../../../src/proxy/admin.ts";
import { UNKNOWN_PEER } from "../../../src/proxy/core/peer-metadata.ts";
import { createTelemetry } from "../../../src/proxy/telemetry.ts";
import { ConfigStore } from "../../../src/proxy/xds/config-store.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  fromJson,
  LISTENER_TYPE,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../../../src/xds/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import * as make from "../ads/resources.ts";

async function withAdmin(
  run: (
    get: (path: string, method?: string) => Promise<{ status: number; body: string }>,
    set: { state: ServerState; events: string[] },
  ) => Promise<void>,
): Promise<void> {
  const clock = new ManualClock();
  const logger = createLogger("test", "silent");
  const store = new ConfigStore({
    self: UNKNOWN_PEER,
    context: { readFile: () => new Uint8Array(), environment: () => undefined, timeOriginMs: 0 },
    clock,
    logger,
    onConfig: () => {},
    onWanted: () => {},
  });
  const put = (
    typeUrl:
      | typeof CLUSTER_TYPE
      | typeof ENDPOINT_TYPE
      | typeof LISTENER_TYPE
      | typeof ROUTE_TYPE
      | typeof SECRET_TYPE,
    name: string,
    any: ReturnType<typeof make.cluster>,
  ) => store.apply({ typeUrl, upserts: [{ name, version: "v1", any }], removals: [] });
  const tls = {
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
  put(CLUSTER_TYPE, "a", make.cluster("a"));
  put(ENDPOINT_TYPE, "a", make.endpoints("a", 80));
  put(CLUSTER_TYPE, "cold", make.cluster("cold"));
  put(LISTENER_TYPE, "l", make.listener("l", "r", tls));
  put(ROUTE_TYPE, "r", make.routes("r", "a"));
  put(SECRET_TYPE, "default", make.certificateSecret("default", "chain"));
  put(ROUTE_TYPE, "r", make.routes("r", "a", ["x", "x"]));
  const set = { state: "INITIALIZING" as ServerState, events: [] as string[] };
  const telemetry = createTelemetry({ self: UNKNOWN_PEER, clock, logger });
  telemetry.counter("cluster.a.upstream_cx_total").add(2);
  telemetry.counter("cluster.b.upstream_rq_503").add(1);
  const admin = await startAdmin(
    {
      bootstrap: make.message("envoy.config.bootstrap.v3.Bootstrap", {
        node: { id: "n1" },
        dynamic_resources: {
          ads_config: {
            api_type: "GRPC",
            grpc_services: [
              { initial_metadata: [{ key: "authorization", value: "Bearer s3cret" }] },
            ],
          },
        },
      }),
      startedMs: clock.nowMs() - 5000,
      nowMs: () => clock.nowMs(),
      store,
      telemetry,
      logger,
      state: () => set.state,
      drain: () => void set.events.push("drain"),
      quit: () => void set.events.push("quit"),
    },
    "127.0.0.1",
    0,
  );
  try {
    await run(async (path, method = "GET") => {
      const response = await fetch(`http://127.0.0.1:${admin.port}${path}`, { method });
      return { status: response.status, body: await response.text() };
    }, set);
  } finally {
    store.stop();
    await admin.stop();
  }
}

test("the config dump is Envoy's ConfigDump, without keys and tokens", async () => {
  await withAdmin(async (get) => {
    const { status, body } = await get("/config_dump");
    assert.equal(status, 200);
    assert.ok(
      !body.includes("PRIVATE KEY") &&
        !body.includes(Buffer.from("-----BEGIN PRIVATE").toString("base64").slice(0, 20)),
    );
    assert.ok(!body.includes("s3cret"));
    const dump: { configs: Record<string, unknown>[] } = JSON.parse(body);
    const result = fromJson("envoy.admin.v3.ConfigDump", dump);
    assert.ok(result.ok, JSON.stringify(result));
    const byType = new Map(dump.configs.map((c) => [String(c["@type"]).split(".").at(-1), c]));
    assert.deepEqual(
      [...byType.keys()],
      [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "ListenersConfigDump",
        "RoutesConfigDump",
        "EndpointsConfigDump",
        "SecretsConfigDump",
      ],
    );
    const json = (type: string) => JSON.parse(JSON.stringify(byType.get(type)));
    const clusters = json("ClustersConfigDump");
    assert.equal(clusters.dynamic_active_clusters[0].cluster.name, "a");
    assert.equal(clusters.dynamic_active_clusters[0].version_info, "v1");
    assert.equal(clusters.dynamic_warming_clusters[0].cluster.name, "cold");
    assert.equal(json("ListenersConfigDump").dynamic_listeners[0].active_state.listener.name, "l");
    const route = json("RoutesConfigDump").dynamic_route_configs[0];
    assert.deepEqual(route.route_config.virtual_hosts[0].domains, ["*"], "the accepted one");
    assert.match(route.error_state.details, /Only unique values/);
    const secret = json("SecretsConfigDump").dynamic_active_secrets[0].secret;
    assert.equal(
      Buffer.from(secret.tls_certificate.private_key.inline_bytes, "base64").toString(),
      "[redacted]",
    );
  });
});

test("clusters, listeners and stats read as Envoy's", async () => {
  await withAdmin(async (get) => {
    assert.match((await get("/clusters")).body, /^a::127\.0\.0\.1:80::health_flags::healthy$/m);
    const clusters = JSON.parse((await get("/clusters?format=json")).body);
    assert.equal(
      clusters.cluster_statuses[0].host_statuses[0].address.socket_address.port_value,
      80,
    );
    assert.equal((await get("/listeners")).body, "l::127.0.0.1:0\n");
    assert.match(
      (await get("/stats?filter=cx_total")).body,
      /^cluster\.a\.upstream_cx_total: 2\n$/,
    );
    assert.equal((await get("/stats?filter=(")).status, 400);
    assert.match(
      (await get("/stats/prometheus")).body,
      /^envoy_cluster_upstream_rq\{envoy_response_code="503",envoy_cluster_name="b"\} 1$/m,
    );
  });
});

test("readiness follows the state", async () => {
  await withAdmin(async (get, set) => {
    assert.deepEqual(await get("/ready"), { status: 503, body: "INITIALIZING\n" });
    set.state = "LIVE";
    assert.deepEqual(await get("/ready"), { status: 200, body: "LIVE\n" });
    const info = JSON.parse((await get("/server_info")).body);
    assert.deepEqual([info.state, info.uptime_current_epoch, info.node.id], ["LIVE", "5s", "n1"]);
  });
});

test("what changes something needs POST", async () => {
  await withAdmin(async (get, set) => {
    for (const path of ["/quitquitquit", "/drain_listeners", "/logging?level=debug"]) {
      assert.equal((await get(path)).status, 405, path);
    }
    assert.deepEqual(set.events, []);
    await get("/drain_listeners", "POST");
    await get("/quitquitquit", "POST");
    assert.deepEqual(set.events, ["drain", "quit"]);
    assert.match((await get("/logging?level=debug", "POST")).body, /proxy: debug/);
    assert.equal((await get("/logging?level=loud", "POST")).status, 400);
    assert.equal((await get("/nothing")).status, 404);
  });
});

test("a taken port is told as such", async () => {
  const logger = createLogger("test", "silent");
  const telemetry = createTelemetry({ self: UNKNOWN_PEER, clock: new ManualClock(), logger });
  const state = (): ServerState => "LIVE";
  const first = await startSidecarPorts(telemetry, state, logger, "127.0.0.1", 0);
  try {
    const ready = await fetch(`http://127.0.0.1:${first.port}/healthz/ready`);
    assert.equal(ready.status, 200);
    await assert.rejects(startSidecarPorts(telemetry, state, logger, "127.0.0.1", first.port), {
      code: "SERIN_PORT_IN_USE",
      message: new RegExp(`127\\.0\\.0\\.1:${first.port}`),
    });
  } finally {
    await first.stop();
  }
});
