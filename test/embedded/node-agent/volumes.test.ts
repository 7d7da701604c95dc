import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { RESOURCES } from "../../../src/api/index.ts";
import { parsePod } from "../../../src/embedded/core/node-agent/pod.ts";
import { PodVolumes } from "../../../src/embedded/node-agent/volumes.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startTestServer } from "../api-server/test-server.ts";
import { temporaryDir } from "./temporary-dir.ts";

function podWith(volumes: readonly object[]) {
  return parsePod({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default" },
    spec: { volumes, containers: [{ name: "app", image: "x" }] },
  });
}

function contextOf(pod: ReturnType<typeof podWith>, data: Readonly<Record<string, string>>) {
  const object = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "default" },
    data,
  };
  return {
    facts: { pod, nodeName: "n", podIp: "127.16.0.2", hostIp: "127.0.0.1" },
    config: {
      configMap: (name: string) => (name === "settings" ? object : undefined),
      secret: () => undefined,
    },
    capacity: {},
  };
}

test("a projected token is renewed before it expires, and not earlier", async (t) => {
  const clock = new ManualClock();
  const server = await startTestServer(t, { clock });
  const sources = [{ serviceAccountToken: { path: "token", expirationSeconds: 1000 } }];
  const draft = podWith([{ name: "token", projected: { sources } }]);
  const pod = parsePod(await server.api.local.create(RESOURCES.pod, draft.object));
  const dir = temporaryDir();
  const volumes = new PodVolumes(dir, server.api.local, clock);
  const token = async (): Promise<string> => {
    assert.equal(await volumes.write(pod.spec.volumes, contextOf(pod, {})), undefined);
    return readFileSync(join(dir, "token/token"), "utf8");
  };
  const first = await token();
  assert.equal(volumes.renewAtMs, clock.nowMs() + 800_000);
  clock.advance(799_000);
  assert.equal(await token(), first);
  clock.advance(1000);
  assert.notEqual(await token(), first);
});

test("files follow their ConfigMap: changed, added and removed, with the mode asked for", async (t) => {
  const server = await startTestServer(t);
  const pod = podWith([{ name: "config", configMap: { name: "settings", defaultMode: 0o400 } }]);
  const dir = temporaryDir();
  const volumes = new PodVolumes(dir, server.api.local, new ManualClock());
  await volumes.write(pod.spec.volumes, contextOf(pod, { a: "1", b: "2" }));
  assert.equal(readFileSync(join(dir, "config/a"), "utf8"), "1");
  assert.equal(statSync(join(dir, "config/a")).mode & 0o777, 0o400);
  await volumes.write(pod.spec.volumes, contextOf(pod, { a: "3", c: "4" }));
  assert.equal(readFileSync(join(dir, "config/a"), "utf8"), "3");
  assert.equal(existsSync(join(dir, "config/b")), false);
  assert.equal(readFileSync(join(dir, "config/c"), "utf8"), "4");
});

const REFUSED: readonly [string, object, RegExp][] = [
  [
    "a missing ConfigMap",
    { configMap: { name: "none" } },
    /volume "v" : configmap "none" not found/,
  ],
  [
    "a missing key",
    { configMap: { name: "settings", items: [{ key: "none", path: "x" }] } },
    /non-existent config key: none/,
  ],
  [
    "a path that leaves the volume",
    { configMap: { name: "settings", items: [{ key: "a", path: "../x" }] } },
    /invalid path \.\.\/x/,
  ],
  ["a kind of volume that is not supported", { nfs: {} }, /not supported/],
];
for (const [what, source, message] of REFUSED) {
  test(`${what} is refused by name`, async (t) => {
    const server = await startTestServer(t);
    const pod = podWith([{ name: "v", ...source }]);
    const volumes = new PodVolumes(temporaryDir(), server.api.local, new ManualClock());
    const refused = await volumes.write(pod.spec.volumes, contextOf(pod, { a: "1" }));
    assert.match(refused?.missing ?? "", message);
  });
}
