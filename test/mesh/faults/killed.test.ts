import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RESOURCES } from "../../../src/api/index.ts";
import { until } from "../ads/proxy-client.ts";
import { startWorld } from "../security/world.ts";
import { startControlPlaneProcess, startLiveMesh } from "./live-mesh.ts";

const AWAY_MS = 60_000;

test("the control plane is killed for 60 s under load: no request fails, and changes arrive again after it", {
  timeout: 240_000,
}, async (t) => {
  const world = await startWorld(t);
  const plane = await startControlPlaneProcess(t, world, 0);
  const mesh = await startLiveMesh(t, world, plane.xdsPort, 31);
  await until("a first answer", async () => (await mesh.ask()) === 200);
  const script = async (): Promise<void> => {
    plane.kill("SIGKILL");
    await once(plane, "exit");
    await sleep(AWAY_MS);
    await startControlPlaneProcess(t, world, plane.xdsPort);
    await sleep(5_000);
  };
  const { requests, failures } = await mesh.load(100, script());
  t.diagnostic(`${requests} requests`);
  assert.deepEqual(failures, []);
  assert.ok(requests > (AWAY_MS / 1000) * 50, String(requests));
  // The proxies follow the new control plane.
  await world.store.create(RESOURCES.virtualService, {
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "reviews", namespace: "default" },
    spec: {
      hosts: ["reviews"],
      http: [{ directResponse: { status: 418 } }],
    },
  });
  await until("the change", async () => (await mesh.ask()) === 418);
});
