import assert from "node:assert/strict";
import { test } from "node:test";
import { buildModel } from "../../../../src/mesh/core/model.ts";
import { compileListener } from "../../../../src/proxy/core/compile/listener.ts";
import { compileResource } from "../../../../src/proxy/core/compile/scope.ts";
import { fromJson } from "../../../../src/xds/index.ts";
import { resourceJson } from "../support/accept.ts";
import { bookinfo, mesh, meshConfig, telemetry } from "../support/objects.ts";
import { type Json, REVIEWS_V1, translated } from "../support/translated.ts";

const HOST = "productpage.default.svc.cluster.local";
const ZIPKIN = { name: "zipkin", zipkin: { service: HOST, port: 9080 } };
const OTEL = { name: "otel", opentelemetry: { service: `default/${HOST}`, port: 9080 } };
const OTEL_HTTP = {
  name: "otel-http",
  opentelemetry: { service: HOST, port: 9080, http: { path: "/v1/traces" } },
};
const CONFIG = { extensionProviders: [ZIPKIN, OTEL, OTEL_HTTP] };
const INBOUND = "127.16.0.3_9080";
const OUTBOUND = "127.16.0.3_15001";

const named = (name: string, more: object = {}) => ({ providers: [{ name }], ...more });
const inRoot = (tracing: object) =>
  telemetry({ name: "mesh", namespace: "istio-system" }, { tracing: [tracing] });
const inNamespace = (tracing: object) =>
  telemetry({ name: "ns", createdAt: "2026-01-02T00:00:00Z" }, { tracing: [tracing] });
const ofReviews = (tracing: object) =>
  telemetry({ name: "own" }, { selector: { matchLabels: { app: "reviews" } }, tracing: [tracing] });
const ofOthers = (tracing: object) =>
  telemetry({ name: "other" }, { selector: { matchLabels: { app: "x" } }, tracing: [tracing] });

/** The first connection manager of a listener. */
function managerOf(
  config: object,
  telemetries: readonly ReturnType<typeof telemetry>[],
  name: string,
): Json {
  const objects = mesh(bookinfo(), { telemetries, meshConfigs: [meshConfig(config)] });
  const resources = translated(objects, REVIEWS_V1);
  const json = resourceJson(resources, "envoy.config.listener.v3.Listener", name) as Json;
  const [chain] = json["filter_chains"] as Json[];
  const [filter] = (chain?.["filters"] ?? []) as Json[];
  return (filter?.["typed_config"] ?? {}) as Json;
}

function tracingOf(
  config: object,
  telemetries: readonly ReturnType<typeof telemetry>[],
  name = INBOUND,
) {
  return managerOf(config, telemetries, name)["tracing"] as Json | undefined;
}

/** Provider and sampling in short. */
function short(tracing: Json | undefined): string {
  if (tracing === undefined) return "none";
  const provider = tracing["provider"] as Json;
  const sampling = tracing["random_sampling"] as Json;
  return `${String(provider["name"]).split(".").at(-1)} ${sampling["value"] ?? 0}`;
}

const rows: readonly (readonly [
  name: string,
  config: object,
  telemetries: readonly ReturnType<typeof telemetry>[],
  inbound: string,
  outbound: string,
])[] = [
  ["nothing is said", CONFIG, [], "none", "none"],
  [
    "the mesh has a default",
    { ...CONFIG, defaultProviders: { tracing: ["zipkin"] } },
    [],
    "zipkin 1",
    "zipkin 1",
  ],
  [
    "the mesh has a sampling",
    {
      ...CONFIG,
      defaultProviders: { tracing: ["zipkin"] },
      defaultConfig: { tracing: { sampling: 7.5 } },
    },
    [],
    "zipkin 7.5",
    "zipkin 7.5",
  ],
  ["of the root namespace", CONFIG, [inRoot(named("otel"))], "opentelemetry 1", "opentelemetry 1"],
  [
    "the namespace says how many, the mesh says where",
    CONFIG,
    [
      inRoot(named("otel", { randomSamplingPercentage: 5 })),
      inNamespace({ randomSamplingPercentage: 20 }),
    ],
    "opentelemetry 20",
    "opentelemetry 20",
  ],
  [
    "the workload has the last word",
    CONFIG,
    [
      inRoot(named("otel")),
      inNamespace(named("otel")),
      ofReviews(named("zipkin", { randomSamplingPercentage: 0 })),
    ],
    "zipkin 0",
    "zipkin 0",
  ],
  ["another workload's does not count", CONFIG, [ofOthers(named("zipkin"))], "none", "none"],
  [
    "switched off",
    CONFIG,
    [inRoot(named("otel")), ofReviews({ disableSpanReporting: true })],
    "none",
    "none",
  ],
  [
    "switched on again",
    CONFIG,
    [
      inRoot(named("otel", { disableSpanReporting: true })),
      ofReviews({ disableSpanReporting: false }),
    ],
    "opentelemetry 1",
    "opentelemetry 1",
  ],
  [
    "only what arrives",
    CONFIG,
    [inRoot(named("zipkin", { match: { mode: "SERVER" } }))],
    "zipkin 1",
    "none",
  ],
  [
    "only what leaves",
    CONFIG,
    [inRoot(named("zipkin", { match: { mode: "CLIENT" } }))],
    "none",
    "zipkin 1",
  ],
  ["a provider that is not there", CONFIG, [inRoot(named("jaeger"))], "none", "none"],
  [
    "a provider whose service is not there",
    { extensionProviders: [{ name: "zipkin", zipkin: { service: "nowhere.example", port: 1 } }] },
    [inRoot(named("zipkin"))],
    "none",
    "none",
  ],
];

for (const [name, config, telemetries, inbound, outbound] of rows) {
  test(`tracing: ${name}`, () => {
    assert.equal(short(tracingOf(config, telemetries, INBOUND)), inbound);
    assert.equal(short(tracingOf(config, telemetries, OUTBOUND)), outbound);
  });
}

test("tags, and what else a Telemetry says of spans", () => {
  const manager = managerOf(
    CONFIG,
    [
      inRoot(
        named("zipkin", {
          customTags: {
            team: { literal: { value: "shop" } },
            host: { environment: { name: "HOSTNAME", defaultValue: "?" } },
            user: { header: { name: "x-user" } },
            path: { formatter: { value: "%REQ(:PATH)%" } },
          },
          disableContextPropagation: true,
          useRequestIdForTraceSampling: false,
        }),
      ),
    ],
    INBOUND,
  );
  const tracing = manager["tracing"] as Json;
  assert.deepEqual(
    (tracing["custom_tags"] as Json[]).map(({ tag }) => tag),
    ["host", "path", "team", "user"],
  );
  assert.equal(tracing["no_context_propagation"], true);
  assert.match(
    JSON.stringify(manager["request_id_extension"]),
    /use_request_id_for_trace_sampling/,
  );
});

test("our proxy takes every kind of provider", () => {
  for (const provider of ["zipkin", "otel", "otel-http"]) {
    const objects = mesh(bookinfo(), {
      telemetries: [inRoot(named(provider))],
      meshConfigs: [meshConfig(CONFIG)],
    });
    for (const name of [INBOUND, OUTBOUND]) {
      const json = resourceJson(
        translated(objects, REVIEWS_V1),
        "envoy.config.listener.v3.Listener",
        name,
      );
      const parsed = fromJson("envoy.config.listener.v3.Listener", json);
      assert.ok(parsed.ok);
      const context = {
        readFile: () => new Uint8Array(),
        environment: () => undefined,
        timeOriginMs: 0,
      };
      const spec = compileResource(name, (scope) => compileListener(parsed.value, context, scope));
      assert.ok(spec !== undefined);
      assert.match(
        JSON.stringify(json),
        /outbound\|9080\|\|productpage\.default\.svc\.cluster\.local/,
      );
    }
  }
});

test("what has no effect is said", () => {
  const objects = mesh(bookinfo(), {
    telemetries: [
      telemetry(
        { name: "t" },
        {
          tracing: [named("jaeger")],
          accessLogging: [{ filter: { expression: "true" }, providers: [{ name: "als" }] }],
          metrics: [{}],
        },
      ),
      telemetry({ name: "bad" }, { tracing: [{ randomSamplingPercentage: 101 }] }),
    ],
    meshConfigs: [meshConfig({ extensionProviders: [{ name: "x", lightstep: {} }] })],
  });
  const { problems } = buildModel(objects, {
    trustDomain: "cluster.local",
    rootNamespace: "istio-system",
  });
  const text = problems.map(({ name, message }) => `${name}: ${message}`).join("\n");
  assert.match(text, /t: accessLogging\[0\]\.filter\.expression has no effect/);
  assert.match(
    text,
    /t: accessLogging\[0\] names the provider als, which MeshConfig does not have/,
  );
  assert.match(text, /t: metrics has no effect/);
  assert.match(text, /t: tracing\[0\] names the provider jaeger, which MeshConfig does not have/);
  assert.match(text, /bad: .*randomSamplingPercentage/);
  assert.match(
    text,
    /extensionProviders\[0\]: x: only zipkin, opentelemetry and envoyFileAccessLog have an effect/,
  );
});
