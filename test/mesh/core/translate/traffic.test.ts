import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { createAuthority } from "../../../support/certificates.ts";
import { skipWithout } from "../../../support/tools.ts";
import { peerAuthentication, reviewsSubsets, virtualService } from "../support/objects.ts";
import { type DataPlane, startTestbed } from "../support/testbed.ts";

const authority = createAuthority();
const to = (subset: string, weight?: number) => ({
  destination: { host: "reviews", subset },
  ...(weight === undefined ? {} : { weight }),
});
const http = (...rules: object[]): Partial<MeshObjects> => ({
  destinationRules: [reviewsSubsets()],
  virtualServices: [virtualService({ name: "reviews" }, { hosts: ["reviews"], http: rules })],
});
const STRICT: Partial<MeshObjects> = {
  peerAuthentications: [peerAuthentication({ name: "strict" }, { mtls: { mode: "STRICT" } })],
};

const PAIRS: readonly (readonly [client: DataPlane, server: DataPlane])[] = [
  ["serin", "serin"],
  ["envoy", "serin"],
  ["serin", "envoy"],
];

for (const [client, server] of PAIRS) {
  const skip = client === "envoy" || server === "envoy" ? skipWithout("envoy") : false;
  const start = async (t: TestContext, resources: Partial<MeshObjects>) =>
    startTestbed(t, await authority, { client, server, resources });

  test(`${client} to ${server}: routes by header and by weight, with mutual TLS`, {
    skip,
  }, async (t) => {
    const bed = await start(t, {
      ...http(
        { match: [{ headers: { user: { exact: "jason" } } }], route: [to("v3")] },
        { match: [{ uri: { prefix: "/gone" } }], route: [to("v9")] },
        { route: [to("v1", 80), to("v2", 20)] },
      ),
      ...STRICT,
    });
    const url = `http://reviews:${bed.appPort}/reviews/1`;
    const jason = await bed.get(url, { user: "jason" });
    assert.deepEqual([jason.status, jason.seen?.version], [200, "v3"], jason.body);
    const certificate = String(jason.seen?.headers["x-forwarded-client-cert"]);
    assert.match(
      certificate,
      /URI=spiffe:\/\/cluster\.local\/ns\/default\/sa\/bookinfo-productpage/,
    );
    assert.match(certificate, /By=spiffe:\/\/cluster\.local\/ns\/default\/sa\/bookinfo-reviews/);

    const counts = new Map<string, number>();
    for (let i = 0; i < 200; i++) {
      const { status, seen } = await bed.get(url);
      assert.equal(status, 200);
      counts.set(seen?.version ?? "", (counts.get(seen?.version ?? "") ?? 0) + 1);
    }
    // Binomial(200, 0.2) leaves 15..70 less than once in a million runs.
    const v2 = counts.get("v2") ?? 0;
    assert.ok(v2 > 14 && v2 < 71, `v2 got ${v2} of 200`);
    assert.equal((counts.get("v1") ?? 0) + v2, 200);

    const missing = await bed.get(`http://reviews:${bed.appPort}/gone`);
    assert.equal(missing.status, 503, "a subset that does not exist");
    const unknown = await bed.get("http://nowhere.example/");
    assert.equal(unknown.status, 503, "a host that even DNS does not know");
    const long = await bed.get(`http://reviews.default.svc.cluster.local:${bed.appPort}/`);
    assert.equal(long.status, 200, "the full name");
    assert.equal(await bed.direct("v1"), "reset", "STRICT refuses plain text");
  });

  test(`${client} to ${server}: PERMISSIVE takes plain text beside mutual TLS`, {
    skip,
  }, async (t) => {
    const bed = await start(t, http({ route: [to("v2")] }));
    const answer = await bed.get(`http://reviews:${bed.appPort}/`);
    assert.deepEqual([answer.status, answer.seen?.version], [200, "v2"], answer.body);
    assert.ok(answer.seen?.headers["x-forwarded-client-cert"], "mutual TLS was used");
    const plain = await bed.direct("v1");
    assert.ok(plain !== "reset");
    assert.deepEqual([plain.status, plain.seen?.version], [200, "v1"]);
    assert.equal(plain.seen?.headers["x-forwarded-client-cert"], undefined);
  });
}
