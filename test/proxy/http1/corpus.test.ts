import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  route,
  startProxy,
  startTcp,
  waitFor,
} from "../../support/proxy-fixture.ts";
import { CORPUS, nameOf } from "./corpus/corpus.ts";
import { GullibleServer } from "./corpus/gullible-server.ts";
import { lastTarget, play } from "./corpus/play.ts";

test("the corpus has at least 300 cases, each with a name of its own", () => {
  assert.ok(CORPUS.length >= 300);
  assert.equal(new Set(CORPUS.map((c) => `${c.source}: ${c.name}`)).size, CORPUS.length);
});

test("hostile HTTP/1 in front of a server that believes anything", async (t) => {
  const upstream = new GullibleServer();
  const port = await startTcp(t, upstream.serve);
  const proxy = await startProxy(
    t,
    httpConfig([cluster("a", [endpoint(port)])], [route(forwardTo("a"))]),
  );
  for (const [index, subject] of CORPUS.entries()) {
    await t.test(`${subject.source}: ${subject.name}`, async (t) => {
      const played = await play(t, proxy.port, subject, index);
      assert.deepEqual(
        played.answers,
        subject.staysOpen ? [...subject.answers, 200] : subject.answers,
      );
      assert.equal(played.isClosed, !subject.staysOpen);
      await waitFor(
        () => (proxy.counters.get("http.test.downstream_rq_active") ?? 0) === 0,
        () => "a request is never accounted for",
      );
    });
  }
  // Judged at the end: by then whatever was on its way to the upstream has arrived.
  await proxy.server.stop(0);
  await waitFor(() => upstream.connections === 0);
  for (const [index, subject] of CORPUS.entries()) {
    await t.test(`upstream, ${subject.source}: ${subject.name}`, () => {
      const own = [nameOf("/first", index), nameOf("/smuggled", index), lastTarget(index)];
      const seen = upstream.seen.filter((target) => own.includes(target.replace("!", "")));
      const wanted = subject.forwarded.map((target) => nameOf(target, index));
      if (subject.staysOpen) wanted.push(lastTarget(index));
      // What was broken off may have been broken off before a connection was there.
      const isBroken = wanted.at(-1)?.endsWith("!") === true;
      if (!isBroken || seen.length > 0) assert.deepEqual(seen, wanted);
    });
  }
  await t.test("the upstream saw nothing that no case accounts for", () => {
    const known = CORPUS.flatMap((_, i) => [
      nameOf("/first", i),
      nameOf("/smuggled", i),
      lastTarget(i),
    ]);
    const names = new Set(known);
    const strange = upstream.seen.filter((target) => !names.has(target.replace(/\?.*|!/g, "")));
    assert.deepEqual(strange, []);
  });
});
