import assert from "node:assert/strict";
import { test } from "node:test";
import { compileListener } from "../../../../src/proxy/core/compile/listener.ts";
import { compileResource } from "../../../../src/proxy/core/compile/scope.ts";
import { fromJson } from "../../../../src/xds/index.ts";
import { resourceJson } from "../support/accept.ts";
import { bookinfo, mesh, meshConfig, telemetry } from "../support/objects.ts";
import { type Json, REVIEWS_V1, translated } from "../support/translated.ts";

const INBOUND = "127.16.0.3_9080";
const OUTBOUND = "127.16.0.3_15001";

type Logging = readonly object[];
const inRoot = (...accessLogging: Logging) =>
  telemetry({ name: "mesh-default", namespace: "istio-system" }, { accessLogging });
const inNamespace = (...accessLogging: Logging) =>
  telemetry({ name: "ns", createdAt: "2026-01-02T00:00:00Z" }, { accessLogging });
const ofReviews = (...accessLogging: Logging) =>
  telemetry({ name: "own" }, { selector: { matchLabels: { app: "reviews" } }, accessLogging });

type Telemetries = readonly ReturnType<typeof telemetry>[];

function listenerJson(config: object, telemetries: Telemetries, name: string): Json {
  const objects = mesh(bookinfo(), { telemetries, meshConfigs: [meshConfig(config)] });
  const resources = translated(objects, REVIEWS_V1);
  return resourceJson(resources, "envoy.config.listener.v3.Listener", name) as Json;
}

/** The files that a listener's first connection manager logs to. */
function logsOf(config: object, telemetries: Telemetries, name: string): readonly Json[] {
  const [chain] = listenerJson(config, telemetries, name)["filter_chains"] as Json[];
  const [filter] = (chain?.["filters"] ?? []) as Json[];
  const manager = (filter?.["typed_config"] ?? {}) as Json;
  return ((manager["access_log"] ?? []) as Json[]).map((log) => log["typed_config"] as Json);
}

const pathsOf = (...args: Parameters<typeof logsOf>): string =>
  logsOf(...args)
    .map((log) => log["path"])
    .join(",");

const named = (...names: string[]) => ({ providers: names.map((name) => ({ name })) });
const FILES = {
  extensionProviders: [
    { name: "file", envoyFileAccessLog: { path: "/var/log/a" } },
    { name: "other", envoyFileAccessLog: { path: "/var/log/b" } },
  ],
};

const rows: readonly (readonly [
  name: string,
  config: object,
  telemetries: Telemetries,
  inbound: string,
  outbound: string,
])[] = [
  ["nothing is said, and the control plane was started without", {}, [], "", ""],
  [
    "the textbook's: provider envoy, disabled: false",
    {},
    [inRoot({ ...named("envoy"), disabled: false })],
    "/dev/stdout",
    "/dev/stdout",
  ],
  ["disabled for the mesh", {}, [inRoot({ ...named("envoy"), disabled: true })], "", ""],
  ["disabled without a name", {}, [inRoot({ disabled: true })], "", ""],
  [
    "disabled for the mesh, on for a namespace",
    {},
    [inRoot({ disabled: true }), inNamespace({})],
    "/dev/stdout",
    "/dev/stdout",
  ],
  [
    "disabled for a workload's clients only",
    {},
    [inRoot(named("envoy")), ofReviews({ disabled: true, match: { mode: "SERVER" } })],
    "",
    "/dev/stdout",
  ],
  [
    "another provider for a workload's outgoing requests",
    FILES,
    [inRoot(named("envoy")), ofReviews({ ...named("file"), match: { mode: "CLIENT" } })],
    "/dev/stdout",
    "/var/log/a",
  ],
  [
    "two providers, one of them off again",
    FILES,
    [inRoot(named("file", "other", "envoy")), inNamespace({ ...named("other"), disabled: true })],
    "/var/log/a,/dev/stdout",
    "/var/log/a,/dev/stdout",
  ],
  ["a provider that is nowhere", {}, [inRoot(named("als"))], "", ""],
  ["MeshConfig's file", { accessLogFile: "/tmp/log" }, [], "/tmp/log", "/tmp/log"],
  ["MeshConfig's file is empty", { accessLogFile: "" }, [], "", ""],
  [
    "MeshConfig's file is empty, a Telemetry wants a log",
    { accessLogFile: "" },
    [inNamespace(named("envoy"))],
    "/dev/stdout",
    "/dev/stdout",
  ],
  [
    "MeshConfig's default providers",
    { ...FILES, defaultProviders: { accessLogging: ["other"] } },
    [],
    "/var/log/b",
    "/var/log/b",
  ],
];
for (const [name, config, telemetries, inbound, outbound] of rows) {
  test(`access logs: ${name}`, () => {
    assert.equal(pathsOf(config, telemetries, INBOUND), inbound);
    assert.equal(pathsOf(config, telemetries, OUTBOUND), outbound);
    for (const listener of [INBOUND, OUTBOUND]) {
      const parsed = fromJson(
        "envoy.config.listener.v3.Listener",
        listenerJson(config, telemetries, listener),
      );
      assert.ok(parsed.ok);
      const context = {
        readFile: () => new Uint8Array(),
        environment: () => undefined,
        timeOriginMs: 0,
      };
      assert.ok(compileResource(name, (scope) => compileListener(parsed.value, context, scope)));
    }
  });
}

test("formats: JSON unless told otherwise, Istio's text, one's own text or keys", () => {
  const formatOf = (config: object): Json =>
    (logsOf({ accessLogFile: "/dev/stdout", ...config }, [], INBOUND)[0]?.["log_format"] ??
      {}) as Json;
  const keys = Object.keys(formatOf({})["json_format"] as Json);
  assert.ok(keys.includes("response_flags") && keys.includes("upstream_cluster"));
  const text = (config: object) =>
    (formatOf(config)["text_format_source"] as Json)["inline_string"];
  assert.match(String(text({ accessLogEncoding: "TEXT" })), /^\[%START_TIME%\] "%REQ\(:METHOD\)%/);
  assert.equal(text({ accessLogEncoding: "TEXT", accessLogFormat: "%PROTOCOL%" }), "%PROTOCOL%\n");
  assert.deepEqual(
    formatOf({ accessLogEncoding: "JSON", accessLogFormat: '{"p": "%PROTOCOL%"}' })["json_format"],
    { p: "%PROTOCOL%" },
  );
  const own = (logFormat: object) =>
    formatOf({
      extensionProviders: [{ name: "own", envoyFileAccessLog: { logFormat } }],
      defaultProviders: { accessLogging: ["own"] },
    });
  assert.deepEqual(own({ labels: { a: "%DURATION%" } })["json_format"], { a: "%DURATION%" });
  assert.deepEqual(own({ text: "x\n" })["text_format_source"], { inline_string: "x\n" });
});
