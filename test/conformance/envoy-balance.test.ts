import assert from "node:assert/strict";
import { Agent, createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const HOSTS = 12;
const REQUESTS = 3000;
const CLIENTS = 8;

type Health = "HEALTHY" | "UNHEALTHY" | "DRAINING" | "DEGRADED";

/** Hosts that are alike: how many, and how they are. */
interface Group {
  readonly hosts: number;
  readonly health?: Health;
  readonly weight?: number;
}

interface Locality {
  readonly priority?: number;
  readonly zone?: string;
  readonly weight?: number;
  readonly groups: readonly Group[];
}

interface Scenario {
  readonly name: string;
  readonly localities: readonly Locality[];
  readonly cluster?: object;
  readonly overprovisioningFactor?: number;
}

const WEIGHTED = { common_lb_config: { locality_weighted_lb_config: {} } };
const of = (healthy: number, unhealthy: number): readonly Group[] => [
  { hosts: healthy },
  { hosts: unhealthy, health: "UNHEALTHY" },
];

const SCENARIOS: readonly Scenario[] = [
  {
    name: "a priority with half of its hosts keeps 70 %",
    localities: [{ groups: of(2, 2) }, { priority: 1, groups: of(2, 0) }],
  },
  {
    name: "three priorities, all of them ill",
    localities: [
      { groups: of(1, 3) },
      { priority: 1, groups: of(1, 3) },
      { priority: 2, groups: of(1, 3) },
    ],
  },
  {
    name: "three priorities, scaled",
    localities: [
      { groups: of(1, 3) },
      { priority: 1, groups: of(0, 4) },
      { priority: 2, groups: of(2, 2) },
    ],
    cluster: { common_lb_config: { healthy_panic_threshold: { value: 5 } } },
  },
  {
    name: "another overprovisioning factor",
    localities: [{ groups: of(2, 2) }, { priority: 1, groups: of(2, 0) }],
    overprovisioningFactor: 100,
  },
  {
    name: "one priority in a panic, the other well enough",
    localities: [{ groups: of(1, 5) }, { priority: 1, groups: of(2, 2) }],
    cluster: { common_lb_config: { healthy_panic_threshold: { value: 45 } } },
  },
  {
    name: "degraded hosts take what healthy ones cannot",
    localities: [
      {
        groups: [
          { hosts: 2 },
          { hosts: 2, health: "DEGRADED" },
          { hosts: 1, health: "DRAINING" },
          { hosts: 1, health: "UNHEALTHY" },
        ],
      },
    ],
  },
  {
    name: "degraded hosts of two priorities",
    localities: [
      { groups: [{ hosts: 1 }, { hosts: 3, health: "DEGRADED" }] },
      { priority: 1, groups: [{ hosts: 1 }, { hosts: 2, health: "DEGRADED" }] },
    ],
  },
  {
    name: "localities by weight",
    localities: [
      { zone: "a", weight: 20, groups: of(2, 0) },
      { zone: "b", weight: 80, groups: of(3, 0) },
    ],
    cluster: WEIGHTED,
  },
  {
    name: "localities by weight as far as their hosts can answer for it",
    localities: [
      { zone: "a", weight: 50, groups: of(1, 3) },
      { zone: "b", weight: 50, groups: of(4, 1) },
      { zone: "c", groups: of(1, 0) },
    ],
    cluster: WEIGHTED,
  },
  {
    name: "localities by weight within priorities",
    localities: [
      { zone: "a", weight: 1, groups: of(2, 2) },
      { zone: "b", weight: 3, groups: of(1, 1) },
      { priority: 1, zone: "c", weight: 1, groups: of(1, 0) },
      { priority: 1, zone: "d", weight: 2, groups: of(2, 0) },
    ],
    cluster: WEIGHTED,
  },
  {
    name: "localities without weights asked for",
    localities: [
      { zone: "a", weight: 20, groups: of(2, 0) },
      { zone: "b", weight: 80, groups: of(2, 0) },
    ],
  },
  ...["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"].map((policy) => ({
    name: `weights of hosts under ${policy}`,
    localities: [
      {
        groups: [
          { hosts: 1, weight: 1 },
          { hosts: 2, weight: 3 },
          { hosts: 1, weight: 5 },
        ],
      },
    ],
    cluster: { lb_policy: policy },
  })),
  ...["RING_HASH", "MAGLEV"].map((policy) => ({
    name: `localities by weight under ${policy}`,
    localities: [
      { zone: "a", weight: 1, groups: [{ hosts: 2 }, { hosts: 1, weight: 2 }] },
      { zone: "b", weight: 3, groups: of(2, 1) },
    ],
    cluster: { lb_policy: policy, ...WEIGHTED },
  })),
  {
    name: "least request by weight, requests in flight not counted",
    localities: [
      {
        groups: [
          { hosts: 1, weight: 1 },
          { hosts: 1, weight: 4 },
        ],
      },
    ],
    cluster: {
      lb_policy: "LEAST_REQUEST",
      least_request_lb_config: {
        choice_count: 3,
        active_request_bias: { default_value: 0, runtime_key: "bias" },
      },
    },
  },
];

function clusterOf(scenario: Scenario, index: number, ports: readonly number[]): object {
  let next = 0;
  const name = `c${index}`;
  return {
    name,
    connect_timeout: "1s",
    type: "STATIC",
    ...scenario.cluster,
    load_assignment: {
      cluster_name: name,
      ...(scenario.overprovisioningFactor === undefined
        ? {}
        : { policy: { overprovisioning_factor: scenario.overprovisioningFactor } }),
      endpoints: scenario.localities.map(({ priority = 0, zone = "", weight, groups }) => ({
        priority,
        locality: { zone },
        ...(weight === undefined ? {} : { load_balancing_weight: weight }),
        lb_endpoints: groups.flatMap(({ hosts, health = "HEALTHY", weight: hostWeight = 1 }) =>
          Array.from({ length: hosts }, () => ({
            health_status: health,
            load_balancing_weight: hostWeight,
            endpoint: { address: address(ports[next++] ?? 0) },
          })),
        ),
      })),
    },
  };
}

function bootstrap(places: ProxyPlaces, ports: readonly number[]): string {
  const routes = SCENARIOS.map((_, i) => ({
    match: { prefix: `/${i}/` },
    route: { cluster: `c${i}`, hash_policy: [{ header: { header_name: "x-user" } }] },
  }));
  const clusters = SCENARIOS.map((scenario, i) => clusterOf(scenario, i, ports));
  return httpBootstrap(places, clusters, routes);
}

/** How many of the requests of each scenario each host got; the last is for answers of nobody. */
async function measure(listener: number): Promise<number[][]> {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const ask = (path: string, user: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { "x-user": `user-${user}` };
      get({ port: listener, host: "127.0.0.1", path, agent, headers }, (response) => {
        let body = "";
        response.on("data", (chunk) => {
          body += chunk;
        });
        response.on("end", () => resolve(response.statusCode === 200 ? body : String(HOSTS)));
      }).on("error", reject);
    });
  const all: number[][] = [];
  for (const i of SCENARIOS.keys()) {
    const counts = Array.from({ length: HOSTS + 1 }, () => 0);
    let sent = 0;
    const client = async (): Promise<void> => {
      while (sent < REQUESTS) {
        sent += 1;
        const host = Number(await ask(`/${i}/`, sent));
        counts[host] = (counts[host] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    all.push(counts);
  }
  agent.destroy();
  return all;
}

test("hosts get the shares that Envoy gives them", { skip: skipWithout("envoy") }, async (t) => {
  const servers = Array.from({ length: HOSTS }, (_, i) =>
    createServer((_request, response) => response.end(String(i))),
  );
  t.after(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  const { envoy: theirs, ours: mine } = await sideBySide(
    (places) => bootstrap(places, ports),
    ({ listener }) => measure(listener),
  );
  for (const [i, { name }] of SCENARIOS.entries()) {
    await t.test(name, () => {
      const [envoy = [], ours = []] = [theirs[i], mine[i]];
      for (const [host, count] of envoy.entries()) {
        const p = (count + (ours[host] ?? 0)) / (2 * REQUESTS);
        // Five standard deviations of the difference of two samples.
        const bound = 5 * Math.sqrt(2 * REQUESTS * p * (1 - p)) + 2;
        const difference = Math.abs(count - (ours[host] ?? 0));
        assert.ok(difference <= bound, `host ${host}: Envoy ${envoy}, ours ${ours}`);
      }
    });
  }
});
