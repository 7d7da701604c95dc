import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { type CollectorState, startCollectorState } from "./support/collector-states.ts";
import { exchange } from "./support/raw-http.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";
import { openTelemetry, zipkin } from "./support/tracing-run.ts";

const OTLP = {
  http_service: {
    http_uri: { uri: "http://otlp.test/v1/traces", cluster: "collector", timeout: "1s" },
  },
};
const PROVIDERS = {
  zipkin: zipkin(),
  "otlp by http": openTelemetry(OTLP),
  "otlp with little room": openTelemetry({ ...OTLP, max_cache_size: 3 }),
} as const;

interface Scenario {
  readonly tracer: keyof typeof PROVIDERS;
  readonly collector: CollectorState;
  /** What Envoy counts beside the spans: a guard against both being wrong in the same way. */
  readonly counts: Readonly<Record<string, number>>;
}

const SCENARIOS: readonly Scenario[] = [
  { tracer: "zipkin", collector: "accepts", counts: { reports_sent: 1 } },
  { tracer: "zipkin", collector: "says 200", counts: { reports_dropped: 1 } },
  { tracer: "zipkin", collector: "fails", counts: { reports_dropped: 1 } },
  { tracer: "zipkin", collector: "answers garbage", counts: { reports_dropped: 1 } },
  { tracer: "zipkin", collector: "hangs up", counts: { reports_dropped: 1 } },
  { tracer: "zipkin", collector: "hangs", counts: { reports_dropped: 1 } },
  { tracer: "zipkin", collector: "is dead", counts: { reports_dropped: 1 } },
  // Of OpenTelemetry it counts only what is sent, and what finds no place.
  { tracer: "otlp by http", collector: "fails", counts: {} },
  { tracer: "otlp by http", collector: "is dead", counts: {} },
  {
    tracer: "otlp with little room",
    collector: "accepts",
    counts: { spans_dropped: 1, spans_sent: 3 },
  },
];

const SPANS = 5;

for (const { tracer, collector: state, counts } of SCENARIOS) {
  const name = `${tracer}, and a collector that ${state}`;
  test(name, { skip: skipWithout("envoy") }, async (t) => {
    const collector = await startCollectorState(state);
    t.after(() => collector.stop());
    const bootstrap = (places: ProxyPlaces): string =>
      httpBootstrap(
        places,
        [
          {
            name: "collector",
            type: "STATIC",
            connect_timeout: "1s",
            load_assignment: {
              cluster_name: "collector",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(collector.port) } }] }],
            },
          },
        ],
        [{ match: { prefix: "/" }, direct_response: { status: 200 } }],
        { tracing: { provider: PROVIDERS[tracer] } },
      );
    const { envoy, ours } = await sideBySide(bootstrap, async (places) => {
      for (let sent = 0; sent < SPANS; sent += 1) {
        const { status } = await exchange(
          places.listener,
          "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        );
        assert.equal(status, 200);
      }
      return settled(places, tracer === "zipkin");
    });
    assert.deepEqual(tail(envoy), { spans_sent: SPANS, ...counts });
    assert.deepEqual(ours, envoy);
  });
}

/** Without the tracer's name. */
function tail(stats: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(stats).map(([key, value]) => [key.slice(key.lastIndexOf(".") + 1), value]),
  );
}

/** The tracer's counters once the report's end is among them. */
async function settled(
  places: ProxyPlaces,
  hasEnd: boolean,
): Promise<Readonly<Record<string, number>>> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const all = await statsOf(places, /^tracing\..*(?<!timer_flushed)$/);
    const found = Object.fromEntries(Object.entries(all).filter(([, value]) => value > 0));
    const last = hasEnd ? /\.reports_/ : /\.spans_sent$/;
    const isOver = Object.keys(found).some((key) => last.test(key));
    if (isOver) return found;
    assert.ok(Date.now() < deadline, JSON.stringify(all));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
