import assert from "node:assert/strict";
import { test } from "node:test";
import { findTool } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy, resourceJson } from "../support/accept.ts";
import { bookinfo, destinationRule, mesh, meshConfig, serviceEntry } from "../support/objects.ts";
import { type Json, PRODUCTPAGE, translated } from "../support/translated.ts";

/** One endpoint per place, the address tells which. */
const PLACES = ["r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3/z1/s1"];
const ENTRY = serviceEntry(
  { name: "api" },
  {
    hosts: ["api.example.com"],
    ports: [{ number: 80, name: "http", protocol: "HTTP" }],
    resolution: "STATIC",
    endpoints: PLACES.map((locality, i) => ({
      address: `10.0.0.${i + 1}`,
      locality,
      labels: { tier: i % 2 === 0 ? "a" : "b" },
    })),
  },
);
const objectsFor = (
  setting: object | undefined,
  { at = "r1.z1.s1", hasOutlier = true, settings = [] as object[] } = {},
) => {
  const base = mesh(bookinfo(), {
    serviceEntries: [ENTRY],
    meshConfigs: settings.map((each) => meshConfig({ localityLbSetting: each })),
    destinationRules: [
      destinationRule(
        { name: "api" },
        {
          host: "api.example.com",
          trafficPolicy: {
            connectionPool: { tcp: { maxConnections: 1 } },
            ...(hasOutlier ? { outlierDetection: { consecutive5xxErrors: 1 } } : {}),
            ...(setting === undefined ? {} : { loadBalancer: { localityLbSetting: setting } }),
          },
        },
      ),
    ],
  });
  const pods = base.pods.map((pod) =>
    pod.metadata.name === PRODUCTPAGE.name
      ? {
          ...pod,
          metadata: {
            ...pod.metadata,
            labels: { ...pod.metadata.labels, "istio-locality": at, tier: "b" },
          },
        }
      : pod,
  );
  return { ...base, pods };
};
/** `priority` or `priority:weight` by place, of those that get anything. */
const spread = (...args: Parameters<typeof objectsFor>): Record<string, string> => {
  const set = translated(objectsFor(...args));
  const name = "outbound|80||api.example.com";
  const cluster = resourceJson(set, "envoy.config.cluster.v3.Cluster", name) as Json;
  const isWeighted = JSON.stringify(cluster).includes("locality_weighted_lb_config");
  const { endpoints } = resourceJson(
    set,
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    name,
  ) as { endpoints: Json[] };
  return Object.fromEntries(
    endpoints.map((group) => {
      const { region, zone, sub_zone } = group["locality"] as Record<string, string>;
      const weight = isWeighted ? `:${group["load_balancing_weight"]}` : "";
      return [`${region}/${zone}/${sub_zone}`, `${group["priority"] ?? 0}${weight}`];
    }),
  );
};
const all = (...values: string[]) =>
  Object.fromEntries(PLACES.map((place, i) => [place, values[i] ?? ""]));

test("with outlier detection: the same sub-zone, zone, region, then the others", () => {
  assert.deepEqual(spread(undefined), all("0:1", "1:1", "2:1", "3:1", "3:1"));
});
test("without outlier detection nobody fails over", () => {
  assert.deepEqual(spread(undefined, { hasOutlier: false }), all("0", "0", "0", "0", "0"));
});
test("a client of an unknown place takes all alike", () => {
  assert.deepEqual(spread(undefined, { at: "" }), all("0", "0", "0", "0", "0"));
});
test("failover names the region that comes next", () => {
  const failover = [{ from: "r1", to: "r3" }];
  assert.deepEqual(spread({ failover }), all("0:1", "1:1", "2:1", "4:1", "3:1"));
});
test("priorities have no gaps", () => {
  assert.deepEqual(spread(undefined, { at: "r2.z9.s9" }), all("1:1", "1:1", "1:1", "0:1", "1:1"));
});
test("enabled: false turns it off, for a rule or the whole mesh", () => {
  const off = all("0", "0", "0", "0", "0");
  assert.deepEqual(spread({ enabled: false }), off);
  assert.deepEqual(spread(undefined, { settings: [{ enabled: false }] }), off);
});
test("distribute: shares in proportion to what each place has; the rest gets nothing", () => {
  const distribute = [{ from: "r1/*", to: { "r1/z1/*": 80, "r2/*": 20 } }];
  assert.deepEqual(spread({ distribute }, { hasOutlier: false }), {
    "r1/z1/s1": "0:40",
    "r1/z1/s2": "0:40",
    "r2/z1/s1": "0:20",
  });
  const elsewhere = { hasOutlier: false, at: "r9.z.s" };
  assert.deepEqual(spread({ distribute }, elsewhere), all("0", "0", "0", "0", "0"));
});
test("failoverPriority: what comes earlier counts more, a value may be given", () => {
  const failoverPriority = ["tier", "topology.kubernetes.io/region=r2"];
  assert.deepEqual(spread({ failoverPriority }), all("2:1", "1:1", "2:1", "0:1", "2:1"));
});

test("every further field of a policy, as our proxy and Envoy take it", async () => {
  const objects = mesh(bookinfo(), {
    destinationRules: [
      destinationRule(
        { name: "reviews" },
        {
          host: "reviews",
          trafficPolicy: {
            retryBudget: { percent: 30, minRetryConcurrency: 5 },
            loadBalancer: {
              simple: "ROUND_ROBIN",
              warmup: { duration: "30s", minimumPercent: 20, aggression: 2 },
            },
            connectionPool: {
              tcp: {
                maxConnectionDuration: "60s",
                tcpKeepalive: { time: "30s", probes: 3, interval: "5s" },
              },
              http: { useClientProtocol: true, maxConcurrentStreams: 9 },
            },
          },
        },
      ),
      destinationRule(
        { name: "page" },
        { host: "productpage", trafficPolicy: { loadBalancer: { warmupDurationSecs: "10s" } } },
      ),
    ],
  });
  const set = translated(objects);
  const cluster = (name: string) =>
    JSON.stringify(resourceJson(set, "envoy.config.cluster.v3.Cluster", `outbound|9080||${name}`));
  const reviews = cluster("reviews.default.svc.cluster.local");
  for (const part of [
    /"slow_start_window":"30s"/,
    /"min_weight_percent":\{"value":20\}/,
    /"budget_percent":\{"value":30\}/,
    /"min_retry_concurrency":5/,
    /"keepalive_time":30/,
    /"max_connection_duration":"60s"/,
    /use_downstream_protocol_config/,
  ]) {
    assert.match(reviews, part);
  }
  assert.match(cluster("productpage.default.svc.cluster.local"), /least_request_lb_config/);
  acceptedByOurProxy(set);
  const envoy = findTool("envoy");
  if (envoy !== undefined) await acceptedByEnvoy(envoy, set);
});
