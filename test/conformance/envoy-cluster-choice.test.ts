import assert from "node:assert/strict";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const USERS = 300;
const WEIGHTS = { stable: 85, canary: 10, beta: 5 };

interface Scenario {
  readonly name: string;
  readonly chooser: object;
  readonly hashPolicy?: readonly object[];
  /** The headers and the query of the n-th request. */
  readonly request: (n: number) => {
    readonly headers?: Record<string, string>;
    readonly query?: string;
  };
}

const header = { header: { header_name: "x-user" } };
const BY_HASH = { use_hash_policy: true };

const SCENARIOS: readonly Scenario[] = [
  {
    name: "by the hash of a header",
    chooser: BY_HASH,
    hashPolicy: [header],
    request: (n) => ({ headers: { "x-user": `user-${n}` } }),
  },
  {
    name: "by the hash of a cookie",
    chooser: BY_HASH,
    hashPolicy: [{ cookie: { name: "session" } }],
    request: (n) => ({ headers: { cookie: `a=b; session=s${n}` } }),
  },
  {
    name: "by the hash of two things",
    chooser: BY_HASH,
    hashPolicy: [header, { query_parameter: { name: "u" } }],
    request: (n) => ({ headers: { "x-user": `user-${n % 7}` }, query: `?u=${n}` }),
  },
  {
    name: "by the client's address",
    chooser: BY_HASH,
    hashPolicy: [{ connection_properties: { source_ip: true } }],
    request: () => ({}),
  },
  {
    name: "by a number in a header",
    chooser: { header_name: "x-random" },
    request: (n) => ({ headers: { "x-random": String(n * 7_919) } }),
  },
  {
    name: "by the largest numbers in a header",
    chooser: { header_name: "x-random" },
    request: (n) => ({ headers: { "x-random": String(18_446_744_073_709_551_615n - BigInt(n)) } }),
  },
];

function bootstrap(places: ProxyPlaces, ports: readonly number[]): string {
  const names = Object.entries(WEIGHTS);
  const routes = SCENARIOS.map(({ chooser, hashPolicy = [] }, i) => ({
    match: { prefix: `/${i}` },
    route: {
      weighted_clusters: {
        clusters: names.map(([name, weight]) => ({ name, weight })),
        ...chooser,
      },
      hash_policy: hashPolicy,
    },
  }));
  const clusters = names.map(([name], i) => ({
    name,
    type: "STATIC",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(ports[i] ?? 0) } }] }],
    },
  }));
  return httpBootstrap(places, clusters, routes);
}

function ask(port: number, path: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ port, host: "127.0.0.1", path, headers }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve(body));
    }).on("error", reject);
  });
}

/** Which cluster each request of each scenario went to. */
async function choices(port: number): Promise<string[][]> {
  const all: string[][] = [];
  for (const [i, { request }] of SCENARIOS.entries()) {
    const chosen: string[] = [];
    for (let n = 0; n < USERS; n += 1) {
      const { headers = {}, query = "" } = request(n);
      chosen.push(await ask(port, `/${i}${query}`, headers));
    }
    all.push(chosen);
  }
  return all;
}

test("users get the version that Envoy gives them", { skip: skipWithout("envoy") }, async (t) => {
  const names = Object.keys(WEIGHTS);
  const servers = names.map((name) => createServer((_, response) => response.end(name)));
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
  const { envoy, ours } = await sideBySide(
    (places) => bootstrap(places, ports),
    ({ listener }) => choices(listener),
  );
  for (const [i, { name }] of SCENARIOS.entries()) {
    await t.test(name, () => assert.deepEqual(ours[i], envoy[i]));
  }
  const canary = envoy[0]?.filter((choice) => choice === "canary").length ?? 0;
  assert.ok(canary > 0.03 * USERS && canary < 0.2 * USERS, `${canary} of ${USERS} on the canary`);
});
