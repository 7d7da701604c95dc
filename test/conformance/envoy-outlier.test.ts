import assert from "node:assert/strict";
import { Agent, createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { freePort } from "./support/envoy-process.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

interface Scenario {
  readonly name: string;
  /** The status of each host; 0 = nobody there. */
  readonly hosts: readonly number[];
  readonly detection: object;
  readonly panicPercent?: number;
  readonly requests: number;
  /** Judged once per interval: requests are sent until this counter has come so far. */
  readonly until?: readonly [stat: string, count: number];
}

const OFF = {
  enforcing_consecutive_5xx: 0,
  enforcing_success_rate: 0,
  enforcing_consecutive_gateway_failure: 0,
};
const ALL = { max_ejection_percent: 100 };

const SCENARIOS: readonly Scenario[] = [
  { name: "few", hosts: [200, 500], detection: { consecutive_5xx: 5, ...ALL }, requests: 8 },
  { name: "enough", hosts: [200, 500], detection: { consecutive_5xx: 5, ...ALL }, requests: 40 },
  { name: "percent", hosts: [200, 500], detection: { consecutive_5xx: 5 }, requests: 36 },
  {
    name: "half",
    hosts: [500, 500],
    detection: { consecutive_5xx: 5, max_ejection_percent: 50 },
    requests: 40,
  },
  {
    name: "one",
    hosts: [500, 500, 200],
    detection: { consecutive_5xx: 3, always_eject_one_host: true },
    requests: 40,
  },
  {
    name: "tested",
    hosts: [200, 500],
    detection: { consecutive_5xx: 5, ...OFF, ...ALL },
    requests: 40,
  },
  {
    name: "gateway",
    hosts: [200, 502],
    detection: {
      consecutive_gateway_failure: 3,
      enforcing_consecutive_gateway_failure: 100,
      enforcing_consecutive_5xx: 0,
      ...ALL,
    },
    requests: 40,
  },
  {
    name: "notgateway",
    hosts: [200, 500],
    detection: {
      consecutive_gateway_failure: 3,
      enforcing_consecutive_gateway_failure: 100,
      enforcing_consecutive_5xx: 0,
      ...ALL,
    },
    requests: 40,
  },
  { name: "dead", hosts: [200, 0], detection: { consecutive_5xx: 3, ...ALL }, requests: 40 },
  {
    name: "split",
    hosts: [200, 0],
    detection: {
      split_external_local_origin_errors: true,
      consecutive_local_origin_failure: 3,
      ...ALL,
    },
    requests: 40,
  },
  {
    name: "panic",
    hosts: [500, 500],
    detection: { consecutive_5xx: 2, ...ALL },
    requests: 20,
  },
  {
    name: "nopanic",
    hosts: [500, 500],
    detection: { consecutive_5xx: 2, ...ALL },
    panicPercent: 0,
    requests: 20,
  },
  {
    name: "failures",
    hosts: [200, 200, 200, 200, 500],
    detection: {
      interval: "0.3s",
      enforcing_consecutive_5xx: 0,
      enforcing_success_rate: 0,
      failure_percentage_request_volume: 5,
      failure_percentage_minimum_hosts: 5,
      enforcing_failure_percentage: 100,
      // Neither of the others has enough to judge by.
      consecutive_5xx: 1_000_000,
      consecutive_gateway_failure: 1_000_000,
      success_rate_request_volume: 1_000_000,
      ...ALL,
    },
    requests: 60,
    until: ["ejections_detected_failure_percentage", 1],
  },
];

const COMPARED = /^cluster\.\w+\.(outlier_detection\.|membership_(total|healthy))/;
const VARYING = /(overflow|detected_\w+|ejections_consecutive_5xx|ejections_total)$/;

interface Outcome {
  /** Which answers come in the end. */
  readonly statuses: readonly number[];
  readonly stats: Readonly<Record<string, number>>;
}

/** Requests that show who is still in use: more than there are hosts. */
const LAST = 8;

async function play(places: ProxyPlaces, scenario: Scenario): Promise<Outcome> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const path = `/${scenario.name}`;
      get({ port: places.listener, host: "127.0.0.1", path, agent }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode ?? 0));
      }).on("error", reject);
    });
  const prefix = `cluster.${scenario.name}.`;
  const [stat = "", count = 0] = scenario.until ?? [];
  const deadline = Date.now() + 10_000;
  for (;;) {
    for (let i = 0; i < scenario.requests; i += 1) await ask();
    const all = await statsOf(places, COMPARED);
    if (stat === "" || (all[`${prefix}outlier_detection.${stat}`] ?? 0) >= count) break;
    assert.ok(Date.now() < deadline, `${scenario.name}: ${JSON.stringify(all)}`);
  }
  // The first ones may still meet a host that is being put out.
  const statuses: number[] = [];
  for (let i = 0; i < 2 * LAST; i += 1) statuses.push(await ask());
  agent.destroy();
  const all = await statsOf(places, COMPARED);
  const stats: Record<string, number> = {};
  for (const [name, value] of Object.entries(all)) {
    if (!name.startsWith(prefix) || value === 0) continue;
    // Envoy judges on another thread, some requests later: how often it does so varies.
    stats[name] = VARYING.test(name) ? 1 : value;
  }
  return { statuses: [...new Set(statuses.slice(LAST))].sort(), stats };
}

async function startStatusServer(t: TestContext, status: number): Promise<number> {
  const server = createServer((_, response) => {
    response.statusCode = status;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test("outlier detection puts hosts out as Envoy's does", {
  skip: skipWithout("envoy"),
}, async (t) => {
  const clusters: object[] = [];
  for (const { name, hosts, detection, panicPercent = 50 } of SCENARIOS) {
    const ports: number[] = [];
    for (const status of hosts) {
      ports.push(status === 0 ? await freePort() : await startStatusServer(t, status));
    }
    clusters.push({
      name,
      connect_timeout: "1s",
      type: "STATIC",
      outlier_detection: { interval: "60s", base_ejection_time: "60s", ...detection },
      common_lb_config: {
        healthy_panic_threshold: { value: panicPercent },
        // Envoy gathers changes of a second by default; ours takes each at once.
        update_merge_window: "0s",
      },
      load_assignment: {
        cluster_name: name,
        endpoints: [{ lb_endpoints: ports.map((p) => ({ endpoint: { address: address(p) } })) }],
      },
    });
  }
  const routes = SCENARIOS.map(({ name }) => ({
    match: { path: `/${name}` },
    route: { cluster: name },
  }));
  const { envoy, ours } = await sideBySide(
    (places) => httpBootstrap(places, clusters, routes),
    async (places) => {
      const outcomes = new Map<string, Outcome>();
      for (const scenario of SCENARIOS) outcomes.set(scenario.name, await play(places, scenario));
      return outcomes;
    },
  );
  for (const { name } of SCENARIOS) {
    await t.test(name, () => {
      const [theirs, mine] = [envoy.get(name), ours.get(name)];
      assert.ok(theirs !== undefined && mine !== undefined);
      assert.deepEqual(mine.statuses, theirs.statuses);
      assert.deepEqual(mine.stats, theirs.stats);
    });
  }
});
