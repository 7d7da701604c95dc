import assert from "node:assert/strict";
import { test } from "node:test";
import { CORPUS, nameOf } from "../proxy/http1/corpus/corpus.ts";
import { lastTarget, play } from "../proxy/http1/corpus/play.ts";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  route,
  startProxy,
} from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { startNginx } from "./support/nginx.ts";

/** Methods that nginx itself refuses (only A-Z, "_" and "-" are letters of one). */
const NOT_FOR_NGINX = /^(a lower-case method|a method with every sign)$/;

test("no hostile request reaches an nginx behind the proxy", {
  skip: skipWithout("nginx"),
}, async (t) => {
  const nginx = await startNginx(t);
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(nginx.port)])], [route(forwardTo("a"))]),
  );
  for (const [index, subject] of CORPUS.entries()) await play(t, proxy.port, subject, index);
  await proxy.server.stop(0);
  await nginx.stop();

  const logged = nginx.logged();
  const served = Map.groupBy(logged, ({ target }) => target);
  for (const [index, subject] of CORPUS.entries()) {
    await t.test(`${subject.source}: ${subject.name}`, () => {
      if (NOT_FOR_NGINX.test(subject.name)) return;
      const wanted = subject.forwarded.map((target) => nameOf(target, index));
      if (subject.staysOpen) wanted.push(lastTarget(index));
      for (const target of ["/first", "/smuggled"].map((name) => nameOf(name, index))) {
        const statuses = (served.get(target) ?? []).map(({ status }) => status);
        if (wanted.includes(target)) assert.deepEqual(statuses, [200], target);
        // Broken off inside its body: nginx may have noted that, but served nothing.
        else if (wanted.includes(`${target}!`)) assert.ok(!statuses.includes(200), target);
        else assert.deepEqual(statuses, [], target);
      }
      if (subject.staysOpen) assert.equal(served.get(lastTarget(index))?.length, 1);
    });
  }
  await t.test("nginx logged nothing that no case accounts for", () => {
    const names = CORPUS.flatMap((_, i) => [
      nameOf("/first", i),
      nameOf("/smuggled", i),
      lastTarget(i),
    ]);
    const known = new Set(names);
    const strange = logged.filter(({ target }) => !known.has(target));
    assert.deepEqual(strange, []);
  });
});
