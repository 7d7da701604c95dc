import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { KubeObject } from "../../../../src/api/index.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { CLUSTER_TYPE, ENDPOINT_TYPE } from "../../../../src/xds/index.ts";
import { acceptedByOurProxy, resource } from "../support/accept.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  reviewsSubsets,
  service,
  virtualService,
} from "../support/objects.ts";
import { RICH_DESTINATION_RULE, RICH_VIRTUAL_SERVICE } from "../support/rich.ts";
import { nodeOf, translated } from "../support/translated.ts";

const SEED = 20261123;
const CLIENT = nodeOf("s0-1-a", "10.0.0.1", { LABELS: { app: "s0" } });
const SUBSETS = ["v1", "v2", "v3"];

/** A mesh of a few services with subsets, and VirtualServices that name only what exists. */
const consistentMesh: fc.Arbitrary<MeshObjects> = fc
  .record({
    services: fc.integer({ min: 1, max: 4 }),
    pods: fc.array(
      fc.record({
        of: fc.nat(3),
        version: fc.constantFrom(...SUBSETS),
        isReady: fc.boolean(),
        hasSidecar: fc.boolean(),
      }),
      { maxLength: 8 },
    ),
    rules: fc.array(
      fc.record({
        of: fc.nat(3),
        to: fc.nat(3),
        weights: fc.uniqueArray(fc.record({ subset: fc.nat(2), weight: fc.nat(100) }), {
          selector: (each) => each.subset,
          minLength: 1,
        }),
        header: fc.option(fc.constantFrom("a", "b"), { nil: undefined }),
        year: fc.integer({ min: 2020, max: 2026 }),
      }),
      { maxLength: 5 },
    ),
  })
  .map(({ services, pods, rules }) => {
    const name = (i: number) => `s${i % services}`;
    return mesh(
      ...Array.from({ length: services }, (_, i) =>
        service({
          name: name(i),
          clusterIp: `10.96.0.${i}`,
          ports: [{ port: 80, targetPort: 8080, name: "http" }],
          pods: pods.flatMap((pod, j) =>
            pod.of % services === i
              ? [
                  {
                    name: `${name(i)}-${j}-a`,
                    ip: `10.0.1.${j}`,
                    labels: { version: pod.version },
                    isReady: pod.isReady,
                    hasSidecar: pod.hasSidecar,
                  },
                ]
              : [],
          ),
        }),
      ),
      {
        destinationRules: Array.from({ length: services }, (_, i) =>
          destinationRule(
            { name: name(i) },
            {
              host: name(i),
              subsets: SUBSETS.map((version) => ({ name: version, labels: { version } })),
            },
          ),
        ),
        virtualServices: rules.map((rule, i) =>
          virtualService(
            { name: `vs${i}`, createdAt: `${rule.year}-01-01T00:00:00Z` },
            {
              hosts: [name(rule.of)],
              http: [
                {
                  ...(rule.header === undefined
                    ? {}
                    : { match: [{ headers: { [rule.header]: { exact: "1" } } }] }),
                  route: rule.weights.map(({ subset, weight }) => ({
                    destination: { host: name(rule.to), subset: SUBSETS[subset] },
                    weight,
                  })),
                },
              ],
            },
          ),
        ),
      },
    );
  });

/** Every cluster that routes of a set name, mirrors included. */
function namedClusters(set: ReturnType<typeof translated>): readonly string[] {
  const table = resource(set, "envoy.config.route.v3.RouteConfiguration", "http_proxy");
  return (table.virtual_hosts ?? [])
    .flatMap((host) => host.routes ?? [])
    .flatMap(({ route }) => [
      ...(route?.cluster ? [route.cluster] : []),
      ...(route?.weighted_clusters?.clusters ?? []).map((each) => each.name ?? ""),
      ...(route?.request_mirror_policies ?? []).map((each) => each.cluster ?? ""),
    ]);
}

test("every cluster that a route names exists, and so do its endpoints", () => {
  fc.assert(
    fc.property(consistentMesh, (objects) => {
      const set = translated(objects, CLIENT);
      for (const name of namedClusters(set)) {
        assert.ok(set.get(CLUSTER_TYPE)?.has(name), name);
        if (name === "PassthroughCluster") continue;
        assert.ok(set.get(ENDPOINT_TYPE)?.has(name), name);
      }
    }),
    { seed: SEED, numRuns: 100 },
  );
});

test("a subset that does not exist has a cluster without endpoints, and holds up nothing", () => {
  const objects = mesh(bookinfo(), {
    virtualServices: [
      virtualService(
        { name: "v" },
        {
          hosts: ["reviews"],
          http: [
            {
              route: [{ destination: { host: "reviews", subset: "v9" } }],
              mirror: { host: "nowhere" },
            },
          ],
        },
      ),
    ],
  });
  const set = translated(objects);
  const missing = [
    "outbound|9080|v9|reviews.default.svc.cluster.local",
    "outbound|9080||nowhere.default.svc.cluster.local",
  ];
  assert.deepEqual(
    namedClusters(set).filter((name) => missing.includes(name)),
    missing,
  );
  for (const name of missing) {
    const cluster = resource(set, "envoy.config.cluster.v3.Cluster", name);
    assert.equal(cluster.type, 0, "STATIC");
    assert.deepEqual(cluster.load_assignment?.endpoints, []);
  }
});

test("our proxy accepts every translation", () => {
  fc.assert(
    fc.property(consistentMesh, (objects) => acceptedByOurProxy(translated(objects, CLIENT))),
    { seed: SEED, numRuns: 50 },
  );
});

test("the order of the objects does not matter: the same bytes", () => {
  const shuffled = consistentMesh.chain((objects) =>
    fc
      .record(
        Object.fromEntries(
          Object.entries(objects).map(([kind, list]: [string, readonly KubeObject[]]) => [
            kind,
            fc.shuffledSubarray([...list], { minLength: list.length }),
          ]),
        ),
      )
      .map((other) => [objects, other as unknown as MeshObjects] as const),
  );
  fc.assert(
    fc.property(shuffled, ([objects, other]) => {
      assert.deepEqual(versions(objects), versions(other));
    }),
    { seed: SEED, numRuns: 100 },
  );
});

function versions(objects: MeshObjects): readonly string[] {
  return [...translated(objects, CLIENT).values()].flatMap((resources) =>
    [...resources.values()].map((each) => `${each.name} ${each.version}`),
  );
}

test("weights go through as they are written; nothing but zeros is dropped", () => {
  const weights = fc
    .array(fc.nat(1000), { minLength: 2, maxLength: 3 })
    .filter((list) => list.some((weight) => weight > 0));
  fc.assert(
    fc.property(weights, (list) => {
      const objects = mesh(service({ name: "a", ports: [{ port: 80 }], pods: [] }), {
        destinationRules: [
          destinationRule(
            { name: "a" },
            { host: "a", subsets: SUBSETS.map((name) => ({ name, labels: { version: name } })) },
          ),
        ],
        virtualServices: [
          virtualService(
            { name: "a" },
            {
              hosts: ["a"],
              http: [
                {
                  route: list.map((weight, i) => ({
                    destination: { host: "a", subset: SUBSETS[i] },
                    weight,
                  })),
                },
              ],
            },
          ),
        ],
      });
      const set = translated(objects, CLIENT);
      const table = resource(set, "envoy.config.route.v3.RouteConfiguration", "http_proxy");
      const action = table.virtual_hosts?.[0]?.routes?.[0]?.route;
      const cluster = (i: number) => `outbound|80|${SUBSETS[i]}|a.default.svc.cluster.local`;
      const expected = list.flatMap((weight, i) => (weight > 0 ? [[cluster(i), weight]] : []));
      const actual = action?.cluster
        ? [[action.cluster, expected[0]?.[1]]]
        : (action?.weighted_clusters?.clusters ?? []).map((c) => [c.name, c.weight?.value]);
      assert.deepEqual(actual, expected);
    }),
    { seed: SEED, numRuns: 200 },
  );
});

/** Every document that has one value of this one replaced. */
function* replaced(value: unknown, by: unknown): Generator<unknown> {
  yield by;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      for (const other of replaced(item, by)) yield value.with(i, other);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      for (const other of replaced(item, by)) yield { ...value, [key]: other };
    }
  }
}

const JUNK: readonly unknown[] = [
  ...[null, "", "x", "%", "\r\n", "(", "*", 0, -1, 1.5, 99_999, 1e20, true],
  ...[[], {}, [null], { a: null }, { exact: 1 }, "-1s"],
];
for (const junk of JUNK) {
  test(`${JSON.stringify(junk)} anywhere never throws, and never reaches a proxy`, () => {
    const named = { name: "reviews" };
    for (const spec of replaced(RICH_VIRTUAL_SERVICE, junk)) {
      const broken = { ...virtualService(named, {}), spec };
      const objects = mesh(bookinfo(), {
        destinationRules: [reviewsSubsets()],
        virtualServices: [broken],
      });
      acceptedByOurProxy(translated(objects));
    }
    for (const spec of replaced(RICH_DESTINATION_RULE, junk)) {
      const rule = { ...destinationRule(named, {}), spec };
      acceptedByOurProxy(translated(mesh(bookinfo(), { destinationRules: [rule] })));
    }
  });
}
