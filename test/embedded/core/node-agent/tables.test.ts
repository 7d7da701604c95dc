import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  formatLogLine,
  parseLogLine,
  printLogLine,
} from "../../../../src/embedded/core/node-agent/cri-log.ts";
import { expandVariables } from "../../../../src/embedded/core/node-agent/expand.ts";
import {
  parseQuantity,
  resourceValue,
} from "../../../../src/embedded/core/node-agent/field-ref.ts";
import { findImage, fullImageName } from "../../../../src/embedded/core/node-agent/image-map.ts";
import {
  replaceMountPaths,
  volumeVariables,
} from "../../../../src/embedded/core/node-agent/mount-paths.ts";
import {
  ADDRESSES_PER_BLOCK,
  BLOCK_COUNT,
  gatewayAddress,
  indexOfPodIp,
  LOOPBACK_RANGE,
  lockAddress,
  NETNS_RANGE,
  podIpAt,
} from "../../../../src/embedded/core/node-agent/network.ts";
import { foldProbe, UNPROBED } from "../../../../src/embedded/core/node-agent/probe-verdict.ts";
import { afterExit, isRestarted } from "../../../../src/embedded/core/node-agent/restart.ts";
import { inRange } from "../../../../src/embedded/node-agent/address-pool.ts";

const EXPANSIONS: readonly [string, string][] = [
  ["$(A)", "1"],
  ["x$(A)$(B)y", "x12y"],
  ["$(MISSING)", "$(MISSING)"],
  ["$$(A)", "$(A)"],
  ["$$$(A)", "$1"],
  ["$A $", "$A $"],
  ["$(A", "$(A"],
  ["$()", "$()"],
  ["$(toString)", "$(toString)"],
];
for (const [text, expected] of EXPANSIONS) {
  test(`${JSON.stringify(text)} expands to ${JSON.stringify(expected)}`, () => {
    assert.equal(expandVariables(text, { A: "1", B: "2" }), expected);
  });
}

const IMAGES: readonly [pattern: string, image: string, matches: boolean][] = [
  ["docker.io/istio/reviews:*", "docker.io/istio/reviews:1.17.0", true],
  ["docker.io/istio/reviews:*", "istio/reviews:1.17.0", true],
  ["docker.io/istio/reviews:*", "docker.io/istio/reviews", true],
  ["docker.io/library/nginx:latest", "nginx", true],
  ["nginx", "nginx", true],
  ["nginx", "nginx:1", false],
  ["docker.io/istio/reviews:*", "quay.io/istio/reviews:1", false],
  ["a.b:*", "axb:1", false],
  ["*", "localhost:5000/anything@sha256:00", true],
];
for (const [image, asked, matches] of IMAGES) {
  test(`${image} ${matches ? "stands" : "does not stand"} for ${asked}`, () => {
    const row = { image, command: ["node"] };
    assert.equal(findImage([row], asked), matches ? row : undefined);
  });
}

test("the first row that matches an image wins", () => {
  const rows = [
    { image: "a:1", command: ["one"] },
    { image: "a:*", command: ["any"] },
  ];
  assert.deepEqual(findImage(rows, "a:1")?.command, ["one"]);
  assert.deepEqual(findImage(rows, "a:2")?.command, ["any"]);
  assert.equal(fullImageName("localhost/a"), "localhost/a:latest");
});

const MOUNTS = [
  { volume: "app", mountPath: "/etc/app", dir: "/real/app" },
  { volume: "sub", mountPath: "/etc/app/sub/", dir: "/real/sub" },
  { volume: "pod-info", mountPath: "/etc/pod", dir: "/real/pod" },
];
const PATHS: readonly [string, string][] = [
  ["/etc/app", "/real/app"],
  ["/etc/app/", "/real/app/"],
  ["--file=/etc/app/a.yaml", "--file=/real/app/a.yaml"],
  ["/etc/app/sub/x", "/real/sub/x"],
  ["/etc/application", "/etc/application"],
  ["/srv/etc/app", "/srv/etc/app"],
  ["/etc/app:/etc/pod", "/real/app:/real/pod"],
  ["/etc/app-2", "/etc/app-2"],
  ["cat '/etc/pod/labels'", "cat '/real/pod/labels'"],
];
for (const [text, expected] of PATHS) {
  test(`${text} is really ${expected}`, () => {
    assert.equal(replaceMountPaths(text, MOUNTS), expected);
  });
}

test("every mounted volume has a variable", () => {
  assert.deepEqual(volumeVariables(MOUNTS), {
    SERIN_VOLUME_APP: "/real/app",
    SERIN_VOLUME_SUB: "/real/sub",
    SERIN_VOLUME_POD_INFO: "/real/pod",
  });
});

test("quantities read as Kubernetes writes them, and are divided upwards", () => {
  const values = ["250m", "1Gi", "2", "1e3", "1.5k", "x"].map(parseQuantity);
  assert.deepEqual(values, [0.25, 2 ** 30, 2, 1000, 1500, Number.NaN]);
  const resources = { limits: { memory: "100Mi" }, requests: {} };
  const value = (resource: string, divisor?: string) =>
    resourceValue({ resource, divisor }, resources, { cpu: 4, memory: 1 });
  assert.equal(value("limits.memory", "1Mi"), "100");
  assert.equal(value("limits.cpu"), "4", "an absent limit is the node's capacity");
  assert.equal(value("requests.cpu"), "0");
  assert.equal(value("nonsense"), undefined);
});

test("pod addresses of all blocks are distinct, in 127.16.0.0/12, and never a lock", () => {
  const block = fc.integer({ min: 0, max: BLOCK_COUNT - 1 });
  const index = fc.integer({ min: 0, max: ADDRESSES_PER_BLOCK - 1 });
  fc.assert(
    fc.property(block, index, block, index, (blockA, indexA, blockB, indexB) => {
      const podIp = podIpAt(blockA, indexA);
      const [a, b = 0, c = 0, d = 0] = podIp.split(".").map(Number);
      assert.ok(a === 127 && b >= 16 && b < 32 && c < 256 && d < 256);
      assert.equal(indexOfPodIp(blockA, podIp), indexA);
      assert.equal(indexOfPodIp(blockB, podIp), blockA === blockB ? indexA : undefined);
      assert.notEqual(podIp, lockAddress(blockB));
      assert.equal(podIp === podIpAt(blockB, indexB), blockA === blockB && indexA === indexB);
    }),
    { verbose: true },
  );
});

test("pods in namespaces have the same places in 10.240.0.0/12", () => {
  const block = fc.integer({ min: 0, max: BLOCK_COUNT - 1 });
  const index = fc.integer({ min: 0, max: ADDRESSES_PER_BLOCK - 1 });
  fc.assert(
    fc.property(block, index, (n, i) => {
      const podIp = podIpAt(n, i, NETNS_RANGE);
      assert.equal(inRange(podIp, LOOPBACK_RANGE, NETNS_RANGE), podIpAt(n, i));
      assert.equal(inRange(podIpAt(n, i), NETNS_RANGE, LOOPBACK_RANGE), podIp);
      assert.equal(indexOfPodIp(n, podIp, NETNS_RANGE), i);
      assert.equal(indexOfPodIp(n, podIp), undefined);
      assert.notEqual(podIp, gatewayAddress(n));
    }),
  );
  assert.equal(podIpAt(255, 0, NETNS_RANGE), "10.255.240.2");
  assert.equal(gatewayAddress(17), "10.241.16.1");
});

test("restarts: at once, then after 10 s, doubling to 5 min, forgotten after 10 min of running", () => {
  let loop = { failures: 0 };
  const delays: number[] = [];
  for (let n = 0; n < 8; n++) {
    const after = afterExit(loop, 1000);
    delays.push(after.delayMs / 1000);
    loop = after;
  }
  assert.deepEqual(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
  assert.equal(afterExit(loop, 600_000).delayMs, 0);
  assert.equal(isRestarted("Always", 0), true);
  assert.equal(isRestarted("OnFailure", 0), false);
  assert.equal(isRestarted("OnFailure", 1), true);
  assert.equal(isRestarted("Never", 1), false);
});

test("a probe's verdict changes only after enough equal results in a row", () => {
  const probe = { successThreshold: 2, failureThreshold: 3 };
  const verdicts: string[] = [];
  let state = UNPROBED;
  for (const result of [1, 1, 0, 0, 1, 0, 0, 0, 1, 1]) {
    state = foldProbe(state, result === 1, probe);
    verdicts.push(state.verdict[0] ?? "");
  }
  assert.equal(verdicts.join(""), "ussssss" + "ffs");
});

test("log lines survive the file format", () => {
  const text = fc.string({ unit: "binary" }).filter((line) => !line.includes("\n"));
  fc.assert(
    fc.property(
      text,
      fc.boolean(),
      fc.constantFrom("stdout", "stderr"),
      (line, isWhole, stream) => {
        const timestamp = "2026-01-02T03:04:05.678Z";
        const record = { timestamp, stream, isWhole, text: line } as const;
        const written = formatLogLine(record);
        assert.ok(written.endsWith("\n"));
        assert.deepEqual(parseLogLine(written.slice(0, -1)), record);
        assert.equal(printLogLine(record, false), isWhole ? `${line}\n` : line);
      },
    ),
    { verbose: true },
  );
  assert.equal(parseLogLine("torn"), undefined);
});
