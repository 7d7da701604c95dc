import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { RESOURCES } from "../../../src/api/index.ts";
import { createCertificateAuthority } from "../../../src/mesh/certificate-authority.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { until } from "../ads/proxy-client.ts";
import { ROOT_NAMESPACE, startPlane, startWorld, TRUST_DOMAIN } from "../security/world.ts";
import { startLiveMesh } from "./live-mesh.ts";

/** SERIN_ROTATION_S=300 is the long run; bench/results/rotation.md has its result. */
const SECONDS = Number(process.env["SERIN_ROTATION_S"] ?? 30);
const KEY = { namespace: ROOT_NAMESPACE, name: "istio-ca-secret" };

test("certificates of a minute and a new root under 200 requests a second: none fails", {
  timeout: (SECONDS + 120) * 1000,
}, async (t) => {
  const world = await startWorld(t);
  const plane = await startPlane(t, world, {
    certificates: { certificateLifetimeMs: 60_000, overlapMs: 3000 },
  });
  const mesh = await startLiveMesh(t, world, plane.ports.xds, 32);
  await until("a first answer", async () => (await mesh.ask()) === 200);
  const leaf = async (): Promise<X509Certificate> => {
    const socket = connect({ ...mesh.server, rejectUnauthorized: false, ALPNProtocols: ["istio"] });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    const found = socket.getPeerX509Certificate();
    socket.destroy();
    assert.ok(found);
    return found;
  };
  const rootOf = async (store: Pick<MemoryStore, "get">): Promise<X509Certificate> => {
    const data = (await store.get(RESOURCES.secret, KEY))?.["data"] as Record<string, string>;
    return new X509Certificate(Buffer.from(data["ca-cert.pem"] ?? "", "base64"));
  };
  const old = await rootOf(world.store);
  const first = await leaf();
  assert.ok(first.verify(old.publicKey));
  // Another authority's root and key take the place of the mesh's own.
  const elsewhere = new MemoryStore();
  const own = { rootNamespace: ROOT_NAMESPACE, trustDomain: TRUST_DOMAIN, clock: systemClock };
  await createCertificateAuthority({ ...own, store: elsewhere });
  const next = await rootOf(elsewhere);
  const rotated = async (): Promise<void> => {
    await sleep(SECONDS * 300);
    const data = (await elsewhere.get(RESOURCES.secret, KEY))?.["data"];
    await world.store.patch(RESOURCES.secret, KEY, { data }, { kind: "merge" });
    await sleep(SECONDS * 700);
  };
  const { requests, failures } = await mesh.load(200, rotated());
  t.diagnostic(`${requests} requests in ${SECONDS} s`);
  assert.deepEqual(failures, []);
  assert.ok(requests > SECONDS * 100, String(requests));
  const last = await leaf();
  assert.ok(last.verify(next.publicKey), "the new root's");
  assert.notEqual(last.serialNumber, first.serialNumber);
});
