import assert from "node:assert/strict";
import { Agent, createServer, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

interface Scenario {
  readonly name: string;
  /** Requests, one after the other, of which none is answered before all have been sent. */
  readonly requests: number;
  /** Every request is answered before the next is sent. */
  readonly isSerial?: boolean;
  readonly cluster: object;
  readonly route?: object;
}

const limits = (thresholds: object, more: object = {}) => ({
  circuit_breakers: { thresholds: [{ track_remaining: true, ...thresholds }], ...more },
});
const http = (common: object) => ({
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      common_http_protocol_options: common,
      explicit_http_config: { http_protocol_options: {} },
    },
  },
});

const SCENARIOS: readonly Scenario[] = [
  { name: "none", requests: 3, cluster: limits({}) },
  {
    name: "cxpending",
    requests: 4,
    cluster: limits({ max_connections: 1, max_pending_requests: 1 }),
  },
  { name: "rq", requests: 3, cluster: limits({ max_requests: 1 }) },
  { name: "rqcx", requests: 3, cluster: limits({ max_requests: 1, max_connections: 1 }) },
  { name: "nopending", requests: 2, cluster: limits({ max_pending_requests: 0 }) },
  { name: "norq", requests: 2, cluster: limits({ max_requests: 0 }) },
  { name: "nocx", requests: 2, cluster: limits({ max_connections: 0, max_pending_requests: 5 }) },
  {
    name: "untracked",
    requests: 3,
    cluster: limits({ max_requests: 2, track_remaining: false }),
  },
  {
    name: "high",
    requests: 3,
    cluster: limits({ priority: "HIGH", max_requests: 1 }),
    route: { priority: "HIGH" },
  },
  {
    name: "otherpriority",
    requests: 3,
    cluster: limits({ priority: "HIGH", max_requests: 1 }),
  },
  {
    name: "perhost",
    requests: 3,
    cluster: limits({}, { per_host_thresholds: [{ max_connections: 1 }] }),
  },
  {
    name: "oneshot",
    requests: 3,
    isSerial: true,
    cluster: { ...limits({}), ...http({ max_requests_per_connection: 1 }) },
  },
  {
    name: "twoshots",
    requests: 4,
    isSerial: true,
    cluster: { ...limits({}), ...http({ max_requests_per_connection: 2 }) },
  },
];

const COMPARED =
  /^cluster\.\w+\.(circuit_breakers\.(default|high)\.(cx_open|rq_open|rq_pending_open|rq_retry_open|remaining_(cx|pending|rq|retries))|upstream_rq_(pending_overflow|active_overflow|pending_total|pending_active|total|active|completed|5xx|2xx)|upstream_cx_(overflow|total|active|max_requests|http1_total|destroy\w*))$/;

interface Outcome {
  /** While the answers are held back. */
  readonly during: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
  readonly answers: readonly string[];
}

/** An upstream that answers only when it is told to. */
async function startHolder(t: TestContext) {
  const held: ServerResponse[] = [];
  let isHolding = true;
  const server = createServer((_, response) => {
    if (isHolding) held.push(response);
    else response.end("ok");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    hold(isOn: boolean): void {
      isHolding = isOn;
      if (!isOn) for (const response of held.splice(0)) response.end("ok");
    },
  };
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

type Holder = Awaited<ReturnType<typeof startHolder>>;

async function play(places: ProxyPlaces, holder: Holder, scenario: Scenario): Promise<Outcome> {
  const { name, requests, isSerial = false } = scenario;
  const agent = new Agent({ keepAlive: false });
  const answers: string[] = [];
  const prefix = `cluster.${name}.`;
  const stats = async () => {
    const all = await statsOf(places, COMPARED);
    return Object.fromEntries(Object.entries(all).filter(([key]) => key.startsWith(prefix)));
  };
  holder.hold(!isSerial);
  for (let sent = 1; sent <= requests; sent += 1) {
    request({ port: places.listener, host: "127.0.0.1", path: `/${name}`, agent }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      const { "x-envoy-overloaded": overloaded = "" } = response.headers;
      response.on("end", () => answers.push(`${response.statusCode} ${overloaded} ${body}`));
    }).end();
    await until(`${name}: request ${sent}`, async () => {
      if (isSerial) return answers.length === sent || undefined;
      const now = await stats();
      const waiting =
        (now[`${prefix}upstream_rq_active`] ?? 0) +
        (now[`${prefix}upstream_rq_pending_active`] ?? 0);
      const isConnected = (now[`${prefix}upstream_rq_active`] ?? 0) > 0 || waiting === 0;
      return (isConnected && waiting + answers.length === sent) || undefined;
    });
  }
  const during = await stats();
  holder.hold(false);
  await until(`${name}: answers`, async () => answers.length === requests || undefined);
  const after = await until(`${name}: rest`, async () => {
    const now = await stats();
    return now[`${prefix}upstream_rq_active`] === 0 ? now : undefined;
  });
  agent.destroy();
  return { during, after, answers: answers.sort() };
}

test("circuit breakers refuse and count as Envoy's", { skip: skipWithout("envoy") }, async (t) => {
  const holder = await startHolder(t);
  const clusters = SCENARIOS.map(({ name, cluster }) => ({
    name,
    connect_timeout: "1s",
    type: "STATIC",
    ...cluster,
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(holder.port) } }] }],
    },
  }));
  const routes = SCENARIOS.map(({ name, route }) => ({
    match: { path: `/${name}` },
    route: { cluster: name, ...route },
  }));
  const { envoy, ours } = await sideBySide(
    (places) => httpBootstrap(places, clusters, routes),
    async (places) => {
      const outcomes = new Map<string, Outcome>();
      for (const scenario of SCENARIOS) {
        outcomes.set(scenario.name, await play(places, holder, scenario));
      }
      return outcomes;
    },
  );
  const shown = (stats: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(stats).filter(([, value]) => value !== 0));
  for (const { name } of SCENARIOS) {
    await t.test(name, () => {
      const [theirs, mine] = [envoy.get(name), ours.get(name)];
      assert.ok(theirs !== undefined && mine !== undefined);
      assert.deepEqual(mine.answers, theirs.answers);
      assert.deepEqual(shown(mine.during), shown(theirs.during), "while answers are held back");
      assert.deepEqual(shown(mine.after), shown(theirs.after), "afterwards");
    });
  }
});
