import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  Session,
  type SessionRequest,
  type SessionResponse,
} from "../../../../src/mesh/core/session.ts";
import { checkConsistent } from "../../../../src/mesh/core/snapshot.ts";
import type { ResourceSet } from "../../../../src/mesh/core/xds-resource.ts";
import { XDS_TYPES } from "../../../../src/xds/index.ts";
import { ModelClient } from "./model-client.ts";
import { cluster, endpoints, listener, routes, setOf } from "./resources.ts";

const NAMES = ["a", "b", "c", "d"];
const revision = fc.constantFrom("1", "2", "3");

/** Consistent sets: clusters with endpoints, routes and listeners to some of them. */
const target: fc.Arbitrary<ResourceSet> = fc
  .record({
    clusters: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), revision, revision), {
      selector: ([name]) => name,
      minLength: 1,
    }),
    picks: fc.array(fc.tuple(fc.constantFrom("r1", "r2"), fc.array(fc.nat())), { maxLength: 2 }),
    tcp: fc.option(fc.nat(), { nil: undefined }),
    revision,
  })
  .map(({ clusters, picks, tcp, revision: version }) => {
    const names = clusters.map(([name]) => name);
    const nth = (n: number): string => names[n % names.length] ?? "a";
    const tables = new Map(picks.map(([name, ns]) => [name, [...new Set(ns.map(nth))]] as const));
    return setOf(
      ...clusters.flatMap(([name, c, e]) => [cluster(name, c), endpoints(name, e)]),
      ...[...tables].map(([name, to]) => routes(name, to, version)),
      ...[...tables.keys()].map((name) => listener(`l-${name}`, { routes: name }, version)),
      ...(tcp === undefined ? [] : [listener("tcp", { cluster: nth(tcp) })]),
    );
  });

type Step =
  | { readonly kind: "update"; readonly set: ResourceSet }
  | { readonly kind: "server" | "client" | "reconnect" | "settle" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: target.map((set) => ({ kind: "update" as const, set })) },
  { weight: 8, arbitrary: fc.constant({ kind: "server" as const }) },
  { weight: 8, arbitrary: fc.constant({ kind: "client" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reconnect" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "settle" as const }) },
);

/** A session and a client with a network between them that delivers when it is told to. */
function world(protocol: "sotw" | "delta", refusesRevision3: boolean) {
  const client = new ModelClient(
    protocol,
    ({ version }) => refusesRevision3 && version.startsWith("3"),
  );
  let toServer: SessionRequest[] = [];
  let toClient: SessionResponse[] = [];
  let session = new Session({ protocol, noncePrefix: "0." });
  let latest: ResourceSet | undefined;
  let push = 0;
  let streams = 0;
  const unanswered = new Map<string, number>();
  const sent = (responses: readonly SessionResponse[]): void => {
    for (const response of responses) {
      const before = unanswered.get(response.typeUrl) ?? 0;
      assert.equal(before, 0, "at most one response of a type is unanswered");
      unanswered.set(response.typeUrl, 1);
    }
    toClient.push(...responses);
  };
  const run = (action: Step): void => {
    if (action.kind === "update") {
      latest = action.set;
      push += 1;
      sent(session.update(latest, push));
    } else if (action.kind === "server") {
      const request = toServer.shift();
      if (request === undefined) return;
      if (request.nonce !== "") unanswered.set(request.typeUrl, 0);
      sent(session.receive(request));
    } else if (action.kind === "client") {
      const response = toClient.shift();
      if (response !== undefined) toServer.push(...client.receive(response));
    } else if (action.kind === "settle") settle();
    else {
      // State of the world does not tell what a returning client holds: order cannot be kept then.
      if (protocol === "sotw") settle();
      // What such a client kept of refused versions only it knows.
      if (protocol === "sotw" && refusesRevision3) return;
      streams += 1;
      session = new Session({ protocol, noncePrefix: `${streams}.` });
      unanswered.clear();
      toClient = [];
      toServer = [...client.start()];
      if (latest !== undefined) sent(session.update(latest, push));
      if (protocol === "sotw") settle();
    }
  };
  const settle = (): void => {
    for (let rounds = 0; toServer.length + toClient.length > 0; rounds += 1) {
      assert.ok(rounds < 1000, "it never settles");
      run({ kind: "server" });
      run({ kind: "client" });
    }
  };
  toServer = [...client.start()];
  return { client, run, settle, session: () => session, latest: () => latest, push: () => push };
}

const stateOf = (held: ReadonlyMap<string, ReadonlyMap<string, { readonly version: string }>>) =>
  Object.fromEntries(
    XDS_TYPES.map((type) => [
      type,
      [...(held.get(type) ?? [])].map(([name, { version }]) => `${name}@${version}`).sort(),
    ]),
  );

for (const protocol of ["delta", "sotw"] as const) {
  test(`${protocol}: whatever happens in between, the client ends with what the server has`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), target, (steps, last) => {
        assert.deepEqual(checkConsistent(last), []);
        const it = world(protocol, false);
        for (const each of steps) it.run(each);
        it.run({ kind: "update", set: last });
        it.settle();
        assert.deepEqual(it.client.violations, []);
        const state = stateOf(it.client.held);
        const wanted = stateOf(last);
        if (protocol === "sotw") {
          // Routes and endpoints nobody asks for any more have no removal here.
          assert.deepEqual(state[XDS_TYPES[0]], wanted[XDS_TYPES[0]]);
          assert.deepEqual(state[XDS_TYPES[2]], wanted[XDS_TYPES[2]]);
        }
        assert.deepEqual(state, wanted);
        assert.equal(it.session().ackedPush(), it.push());
      }),
      { numRuns: 500 },
    );
  });

  // A session looks only at what changed; a last push would open what was forgotten before.
  test(`${protocol}: without a last push too, and one that changes nothing is acknowledged`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const it = world(protocol, false);
        for (const each of steps) it.run(each);
        it.settle();
        const latest = it.latest();
        if (latest === undefined) return;
        assert.deepEqual(stateOf(it.client.held), stateOf(latest));
        it.run({ kind: "update", set: new Map(latest) });
        assert.equal(it.session().ackedPush(), it.push());
        assert.deepEqual(it.client.violations, []);
      }),
      { numRuns: 1000 },
    );
  });

  test(`${protocol}: refusals never break what is held, and a good push ends them`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), target, (steps, last) => {
        const it = world(protocol, true);
        for (const each of steps) it.run(each);
        it.run({ kind: "update", set: last });
        it.settle();
        assert.deepEqual(it.client.violations, []);
        const isGood = [...last.values()].every((resources) =>
          [...resources.values()].every(({ version }) => !version.startsWith("3")),
        );
        if (isGood) {
          assert.deepEqual(stateOf(it.client.held), stateOf(last));
          assert.equal(it.session().ackedPush(), it.push());
        } else
          assert.ok(it.session().ackedPush() < it.push(), "a refused push is not acknowledged");
      }),
      { numRuns: 500 },
    );
  });
}
