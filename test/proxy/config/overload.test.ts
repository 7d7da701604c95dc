import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseBootstrap, planBootstrap } from "../../../src/proxy/config/bootstrap.ts";
import type { OverloadState } from "../../../src/proxy/core/overload.ts";
import { createOverloadMonitor } from "../../../src/proxy/overload-monitor.ts";
import { StatRegistry } from "../../../src/proxy/telemetry/stat-registry.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const TYPE = "type.googleapis.com/envoy";
const heap = (bytes = "1000") => ({
  name: "heap",
  typed_config: {
    "@type": `${TYPE}.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig`,
    max_heap_size_bytes: bytes,
  },
});
const injected = (filename: string) => ({
  name: "file",
  typed_config: {
    "@type": `${TYPE}.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig`,
    filename,
  },
});
const stop = (trigger: object) => ({
  name: "envoy.overload_actions.stop_accepting_requests",
  triggers: [trigger],
});
const plan = (overload_manager: object) =>
  planBootstrap(parseBootstrap(JSON.stringify({ overload_manager }))).overload;

const BAD: readonly (readonly [manager: object, path: RegExp])[] = [
  [{}, /overload_manager\.resource_monitors: must not be empty/],
  [{ resource_monitors: [heap("0")] }, /\[0\]\.typed_config\.max_heap_size_bytes: must be more/],
  [{ resource_monitors: [heap(), heap()] }, /resource_monitors\[1\]\.name: is there twice: heap/],
  [{ resource_monitors: [{ name: "cpu" }] }, /resource_monitors\[0\]: resource monitor cpu/],
  [{ resource_monitors: [injected("")] }, /typed_config\.filename: must not be empty/],
  [
    { resource_monitors: [heap()], actions: [stop({ name: "no", threshold: { value: 0.5 } })] },
    /actions\[0\]\.triggers\[0\]\.name: no resource monitor "no"/,
  ],
  [
    { resource_monitors: [heap()], actions: [stop({ name: "heap", threshold: { value: 2 } })] },
    /threshold\.value: must be 0\.\.1/,
  ],
  [
    {
      resource_monitors: [heap()],
      actions: [
        stop({ name: "heap", scaled: { scaling_threshold: 0.9, saturation_threshold: 0.8 } }),
      ],
    },
    /triggers\[0\]\.scaled: scaling_threshold must be less/,
  ],
  [{ resource_monitors: [heap()], actions: [stop({ name: "heap" })] }, /must set one of threshold/],
  [
    {
      resource_monitors: [heap()],
      actions: [{ name: "envoy.overload_actions.shrink_heap", triggers: [] }],
    },
    /actions\[0\]\.name: .*shrink_heap is not supported; .*triggers: must not be empty/,
  ],
  [
    { resource_monitors: [heap()], loadshed_points: [{ name: "x" }] },
    /loadshed_points: is not supported/,
  ],
  [
    {
      resource_monitors: [heap()],
      actions: [
        {
          name: "envoy.overload_actions.reduce_timeouts",
          triggers: [{ name: "heap", threshold: { value: 0.5 } }],
          typed_config: {
            "@type": `${TYPE}.config.overload.v3.ScaleTimersOverloadActionConfig`,
            timer_scale_factors: [{ timer: "TRANSPORT_SOCKET_CONNECT", min_timeout: "1s" }],
          },
        },
      ],
    },
    /typed_config\.timer_scale_factors\[0\]\.timer: must be HTTP_DOWNSTREAM/,
  ],
];

for (const [manager, path] of BAD) {
  test(`a bootstrap is refused with the path: ${path.source}`, () => {
    assert.throws(() => plan(manager), { code: "SERIN_INVALID_BOOTSTRAP", message: path });
  });
}

test("memory in use and a file's number are pressures; what cannot be read keeps its last one", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-pressure-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "pressure");
  const config = plan({
    refresh_interval: "0.5s",
    resource_monitors: [heap(), injected(file)],
    actions: [
      stop({ name: "heap", scaled: { scaling_threshold: 0.5, saturation_threshold: 1 } }),
      {
        name: "envoy.overload_actions.reject_incoming_connections",
        triggers: [{ name: "file", threshold: { value: 0.8 } }],
      },
    ],
  });
  assert.ok(config !== undefined);
  let bytes = 100;
  const states: OverloadState[] = [];
  const [clock, stats] = [new ManualClock(), new StatRegistry()];
  const monitor = createOverloadMonitor({
    config,
    stats,
    clock,
    logger: createLogger("test", "silent"),
    onState: (state) => states.push(state),
    memoryBytes: () => bytes,
  });
  writeFileSync(file, "0.79\n");
  monitor.start();
  assert.equal(states.length, 0);
  assert.equal(stats.gauge("overload.heap.pressure").value, 10);
  bytes = 750;
  writeFileSync(file, "0.8");
  clock.advance(500);
  assert.equal(states.at(-1)?.stopAcceptingRequests, 0.5);
  assert.equal(states.at(-1)?.rejectConnections, 1);
  for (const garbage of ["", "x", "-1", "1.1", "NaN"]) {
    writeFileSync(file, garbage);
    clock.advance(500);
  }
  assert.equal(states.length, 1);
  assert.equal(stats.counter("overload.file.failed_updates").value, 5);
  assert.equal(stats.gauge("overload.file.pressure").value, 80);
  bytes = 2000;
  clock.advance(500);
  assert.equal(states.at(-1)?.stopAcceptingRequests, 1);
  monitor.stop();
  bytes = 0;
  clock.advance(5_000);
  assert.equal(states.length, 2);
});
