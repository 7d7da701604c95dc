import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileOutlierDetection } from "../../../src/proxy/core/compile/outlier-detection.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { type OutlierDetectionConfig, OutlierDetector } from "../../../src/proxy/core/outlier.ts";
import { message } from "../ads/resources.ts";

const HOSTS = ["a", "b", "c", "d"];
const certain = (): number => 0;

function config(json: object = {}): OutlierDetectionConfig {
  const detection = message("envoy.config.cluster.v3.OutlierDetection", json);
  const compiled = compileResource("Cluster c", (scope) =>
    compileOutlierDetection(detection, scope),
  );
  assert.ok(compiled !== undefined);
  return compiled;
}

function detector(json: object, hosts: readonly string[] = HOSTS): OutlierDetector {
  const made = new OutlierDetector(config(json));
  made.update(config(json), hosts);
  return made;
}

const ANY = { max_ejection_percent: 100 };
const external = (status: number) => ({ status, origin: "external" }) as const;

test("the defaults are Envoy's", () => {
  const { enforcing, ...rest } = config();
  assert.deepEqual(rest, {
    consecutive5xx: 5,
    consecutiveGatewayFailure: 5,
    consecutiveLocalOriginFailure: 5,
    splitLocalOrigin: false,
    intervalMs: 10_000,
    baseEjectionTimeMs: 30_000,
    maxEjectionTimeMs: 300_000,
    maxEjectionTimeJitterMs: 0,
    maxEjectionPercent: 10,
    alwaysEjectOneHost: false,
    readmitsOnHealthCheck: true,
    successRateMinimumHosts: 5,
    successRateRequestVolume: 100,
    successRateStdevFactor: 1900,
    failurePercentageThreshold: 85,
    failurePercentageMinimumHosts: 5,
    failurePercentageRequestVolume: 50,
  });
  assert.deepEqual(
    Object.entries(enforcing).filter(([, percent]) => percent === 0),
    [
      ["consecutive_gateway_failure", 0],
      ["failure_percentage", 0],
      ["local_origin_failure_percentage", 0],
    ],
  );
});

test("a longer base time raises the longest time", () => {
  assert.equal(config({ base_ejection_time: "900s" }).maxEjectionTimeMs, 900_000);
});

for (const [name, json, path] of [
  [
    "a percentage above 100",
    { max_ejection_percent: 101 },
    /max_ejection_percent: must be at most/,
  ],
  ["no interval", { interval: "0s" }, /interval: must be more than 0/],
] as const) {
  test(`refuses ${name}`, () => {
    assert.throws(() => config(json), path);
  });
}

/** [configuration, statuses of one host in order, after how many of them it is out (0 = never)] */
const CONSECUTIVE: readonly (readonly [string, object, readonly number[], number])[] = [
  ["the fifth 5xx in a row", {}, [500, 500, 500, 500, 500], 5],
  ["any 5xx counts", {}, [500, 503, 501, 599, 504], 5],
  ["a success starts the count again", {}, [500, 500, 500, 500, 200, 500, 500, 500, 500], 0],
  ["a 4xx is a success", {}, [500, 500, 500, 500, 404, 500], 0],
  ["three when three are asked for", { consecutive_5xx: 3 }, [500, 500, 500], 3],
  ["never when not enforced", { enforcing_consecutive_5xx: 0 }, [500, 500, 500, 500, 500, 500], 0],
  [
    "gateway failures only",
    {
      enforcing_consecutive_5xx: 0,
      enforcing_consecutive_gateway_failure: 100,
      consecutive_gateway_failure: 2,
    },
    [502, 500, 503, 504],
    4,
  ],
];
for (const [name, json, statuses, outAfter] of CONSECUTIVE) {
  test(`consecutive: ${name}`, () => {
    const outliers = detector({ ...ANY, ...json });
    let out = 0;
    for (const [index, status] of statuses.entries()) {
      outliers.record("a", external(status), 0, certain);
      if (out === 0 && outliers.isEjected("a")) out = index + 1;
    }
    assert.equal(out, outAfter);
  });
}

test("what the proxy could not reach counts as a 5xx, unless it is counted apart", () => {
  const local = { status: 503, origin: "local" } as const;
  const joined = detector({ ...ANY, consecutive_5xx: 2 });
  joined.record("a", external(500), 0, certain);
  joined.record("a", local, 0, certain);
  assert.ok(joined.isEjected("a"));

  const apart = detector({
    ...ANY,
    consecutive_5xx: 2,
    consecutive_local_origin_failure: 2,
    split_external_local_origin_errors: true,
  });
  apart.record("a", external(500), 0, certain);
  apart.record("a", local, 0, certain);
  assert.ok(!apart.isEjected("a"));
  const [detection] = apart.record("a", local, 0, certain);
  assert.equal(detection?.cause, "consecutive_local_origin_failure");
  assert.ok(apart.isEjected("a"));
});

test("no more hosts are put out than the percentage allows; 10 % of four hosts is none", () => {
  const fail = (outliers: OutlierDetector, host: string) =>
    outliers.record(host, external(500), 0, certain).map(({ outcome }) => outcome);
  const none = detector({ consecutive_5xx: 1 });
  assert.deepEqual(fail(none, "a"), ["overflow"]);
  const half = detector({ consecutive_5xx: 1, max_ejection_percent: 50 });
  assert.deepEqual(
    ["a", "b", "c"].map((host) => fail(half, host)[0]),
    ["ejected", "ejected", "overflow"],
  );
  const one = detector({ consecutive_5xx: 1, always_eject_one_host: true });
  assert.deepEqual(
    ["a", "b"].map((host) => fail(one, host)[0]),
    ["ejected", "overflow"],
  );
});

test("a host returns at the first sweep after its time; the time grows with each time out, and shrinks", () => {
  const outliers = detector({
    ...ANY,
    consecutive_5xx: 1,
    base_ejection_time: "10s",
    max_ejection_time: "25s",
  });
  let nowMs = 0;
  const outMs = (): number => {
    outliers.record("a", external(500), nowMs, certain);
    const startMs = nowMs;
    while (outliers.isEjected("a")) {
      nowMs += 1000;
      outliers.sweep(nowMs, certain);
    }
    return nowMs - startMs;
  };
  assert.deepEqual([outMs(), outMs(), outMs(), outMs()], [10_000, 20_000, 25_000, 25_000]);
  for (let quiet = 0; quiet < 10; quiet += 1) outliers.sweep(nowMs, certain);
  assert.equal(outMs(), 10_000);
});

test("success rate: the host far below the others is put out at the sweep", () => {
  const hosts = ["a", "b", "c", "d", "e", "f"];
  const outliers = detector(
    { ...ANY, success_rate_request_volume: 10, consecutive_5xx: 1000 },
    hosts,
  );
  for (const host of hosts) {
    for (let i = 0; i < 10; i += 1) {
      outliers.record(host, external(host === "f" && i % 2 === 0 ? 500 : 200), 0, certain);
    }
  }
  assert.deepEqual(outliers.sweep(1000, certain).detections, [
    { host: "f", cause: "success_rate", outcome: "ejected" },
  ]);
  // The interval is over: nothing is known of the next one.
  assert.deepEqual(outliers.sweep(2000, certain).detections, []);
});

test("success rate: too few hosts with enough requests are not compared", () => {
  const outliers = detector({ ...ANY, success_rate_request_volume: 10, consecutive_5xx: 1000 });
  for (const host of HOSTS) {
    for (let i = 0; i < 10; i += 1)
      outliers.record(host, external(host === "a" ? 500 : 200), 0, certain);
  }
  assert.deepEqual(outliers.sweep(1000, certain).detections, []);
});

test("failure percentage: each host at or above the threshold is put out", () => {
  const outliers = detector({
    ...ANY,
    consecutive_5xx: 1000,
    enforcing_success_rate: 0,
    enforcing_failure_percentage: 100,
    failure_percentage_threshold: 50,
    failure_percentage_minimum_hosts: 2,
    failure_percentage_request_volume: 4,
  });
  const feed = (host: string, failures: number): void => {
    for (let i = 0; i < 4; i += 1)
      outliers.record(host, external(i < failures ? 500 : 200), 0, certain);
  };
  for (const [host, failures] of [
    ["a", 2],
    ["b", 1],
    ["c", 4],
  ] as const)
    feed(host, failures);
  outliers.record("d", external(500), 0, certain);
  const out = outliers.sweep(1000, certain).detections.filter((d) => d.outcome === "ejected");
  assert.deepEqual(
    out.map(({ host, cause }) => [host, cause]),
    [
      ["a", "failure_percentage"],
      ["c", "failure_percentage"],
    ],
  );
});

test("property: the share out never exceeds the limit, every host returns, and the count is right", () => {
  const step = fc.record({
    host: fc.constantFrom(...HOSTS),
    status: fc.constantFrom(200, 500, 503),
    origin: fc.constantFrom("external" as const, "local" as const),
    afterMs: fc.nat(5000),
    isSweep: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.integer({ min: 0, max: 100 }),
      fc.boolean(),
      (steps, maxPercent, isSplit) => {
        const outliers = detector({
          consecutive_5xx: 2,
          consecutive_local_origin_failure: 2,
          base_ejection_time: "1s",
          max_ejection_percent: maxPercent,
          split_external_local_origin_errors: isSplit,
        });
        let nowMs = 0;
        for (const { host, status, origin, afterMs, isSweep } of steps) {
          nowMs += afterMs;
          if (isSweep) outliers.sweep(nowMs, certain);
          else
            outliers.record(
              host,
              { status: origin === "local" ? 503 : status, origin },
              nowMs,
              certain,
            );
          const out = HOSTS.filter((candidate) => outliers.isEjected(candidate)).length;
          assert.equal(out, outliers.ejectedCount);
          assert.ok((100 * out) / HOSTS.length <= maxPercent);
        }
        outliers.sweep(nowMs + 400_000, certain);
        assert.equal(outliers.ejectedCount, 0);
      },
    ),
  );
});

test("a host that is gone is forgotten, others keep their state over an update", () => {
  const json = { ...ANY, consecutive_5xx: 1 };
  const outliers = detector(json);
  for (const host of ["a", "b"]) outliers.record(host, external(500), 0, certain);
  outliers.update(config(json), ["b", "c"]);
  assert.equal(outliers.ejectedCount, 1);
  outliers.update(config(json), HOSTS);
  assert.deepEqual(
    HOSTS.filter((host) => outliers.isEjected(host)),
    ["b"],
  );
});
