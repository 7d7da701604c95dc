import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTls } from "../../../../src/mesh/core/explain/tls-check.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  peerAuthentication,
  service,
  serviceEntry,
} from "../support/objects.ts";
import { modelOf } from "../support/translated.ts";

const REVIEWS = "reviews.default.svc.cluster.local";
const PRODUCTPAGE = "default/productpage-v1-6b4c8d7f9-qwert";

/** STATUS SERVER CLIENT POLICY of every line for a host, as productpage sees it. */
function linesOf(objects: MeshObjects, host = REVIEWS, client = PRODUCTPAGE): readonly string[] {
  const model = modelOf(objects);
  const workload = model.workloads.get(client);
  assert.ok(workload !== undefined, client);
  return checkTls(model, workload, host).map(({ subset, status, server, client, policies }) =>
    [subset ?? "*", status, server.join(), client.join(), policies.join() || "-"].join(" "),
  );
}

const policy = (name: string, namespace: string, spec: object): Partial<MeshObjects> => ({
  peerAuthentications: [peerAuthentication({ name, namespace }, spec)],
});
const rule = (spec: object): Partial<MeshObjects> => ({
  destinationRules: [destinationRule({ name: "reviews" }, { host: "reviews", ...spec })],
});
const tls = (mode: string) => ({ trafficPolicy: { tls: { mode } } });
const STRICT = { mtls: { mode: "STRICT" } };
const REVIEWS_ONLY = { selector: { matchLabels: { app: "reviews" } } };

const ROWS: readonly (readonly [string, readonly Partial<MeshObjects>[], readonly string[]])[] = [
  ["without policies both ends agree by themselves", [], ["* OK PERMISSIVE ISTIO -"]],
  [
    "the namespace's policy decides over the mesh's",
    [
      policy("default", "istio-system", { mtls: { mode: "PERMISSIVE" } }),
      policy("default", "default", STRICT),
    ],
    ["* OK STRICT ISTIO default/default"],
  ],
  [
    "the workload's policy decides over the namespace's",
    [
      policy("default", "default", { mtls: { mode: "PERMISSIVE" } }),
      policy("reviews-mtls", "default", { ...REVIEWS_ONLY, ...STRICT }),
    ],
    ["* OK STRICT ISTIO default/reviews-mtls"],
  ],
  [
    "the port's mode decides over the workload's",
    [
      policy("reviews-mtls", "default", {
        ...REVIEWS_ONLY,
        ...STRICT,
        portLevelMtls: { 9080: { mode: "DISABLE" } },
      }),
    ],
    ["* CONFLICT DISABLE ISTIO default/reviews-mtls"],
  ],
  [
    "a port that is not named has the workload's mode",
    [
      policy("reviews-mtls", "default", {
        ...REVIEWS_ONLY,
        ...STRICT,
        portLevelMtls: { 9090: { mode: "DISABLE" } },
      }),
    ],
    ["* OK STRICT ISTIO default/reviews-mtls"],
  ],
  [
    "plain text against STRICT does not fit",
    [policy("default", "default", STRICT), rule(tls("DISABLE"))],
    ["* CONFLICT STRICT DISABLE default/default"],
  ],
  ["plain text against PERMISSIVE fits", [rule(tls("DISABLE"))], ["* OK PERMISSIVE DISABLE -"]],
  [
    "TLS of the client's own against STRICT does not fit",
    [policy("default", "default", STRICT), rule(tls("SIMPLE"))],
    ["* CONFLICT STRICT SIMPLE default/default"],
  ],
  [
    "TLS of the client's own to an HTTP port does not fit",
    [rule(tls("SIMPLE"))],
    ["* CONFLICT PERMISSIVE SIMPLE -"],
  ],
  [
    "a subset that speaks otherwise has a line of its own",
    [
      policy("default", "default", STRICT),
      rule({
        ...tls("DISABLE"),
        subsets: [
          { name: "v1", labels: { version: "v1" } },
          { name: "v2", labels: { version: "v2" }, ...tls("ISTIO_MUTUAL") },
        ],
      }),
    ],
    ["* CONFLICT STRICT DISABLE default/default", "v2 OK STRICT ISTIO default/default"],
  ],
  [
    "pods that differ are all shown",
    [
      policy("v1", "default", {
        selector: { matchLabels: { app: "reviews", version: "v1" } },
        ...STRICT,
      }),
    ],
    ["* OK PERMISSIVE,STRICT ISTIO default/v1"],
  ],
];

for (const [what, parts, lines] of ROWS) {
  test(what, () => {
    assert.deepEqual(linesOf(mesh(bookinfo(), ...parts)), lines);
  });
}

test("a pod without sidecar takes plain text, and gets it by itself", () => {
  const pods = [{ name: "old-1-a", ip: "127.16.0.90", hasSidecar: false }];
  const old = service({ name: "old", ports: [{ port: 80, name: "http" }], pods });
  const host = "old.default.svc.cluster.local";
  assert.deepEqual(linesOf(mesh(bookinfo(), old), host), ["* OK NONE DISABLE -"]);
  const forced = destinationRule({ name: "old" }, { host: "old", ...tls("ISTIO_MUTUAL") });
  assert.deepEqual(linesOf(mesh(bookinfo(), old, { destinationRules: [forced] }), host), [
    "* CONFLICT NONE ISTIO -",
  ]);
  const strict = policy("default", "default", STRICT);
  assert.deepEqual(
    linesOf(mesh(bookinfo(), old, strict), REVIEWS, "default/old-1-a"),
    ["* CONFLICT STRICT DISABLE default/default"],
    "as a client it sends plain text",
  );
});

test("outside of the mesh there is no mutual TLS; without endpoints nothing is known", () => {
  const outside = serviceEntry(
    { name: "api" },
    {
      hosts: ["api.example.com"],
      ports: [{ number: 443, name: "https", protocol: "HTTPS" }],
      resolution: "STATIC",
      location: "MESH_EXTERNAL",
      endpoints: [{ address: "192.0.2.1" }],
    },
  );
  const objects = mesh(bookinfo(), { serviceEntries: [outside] });
  assert.deepEqual(linesOf(objects, "api.example.com"), ["* OK NONE DISABLE -"]);
  const idle = service({ name: "idle", ports: [{ port: 80, name: "http" }], pods: [] });
  assert.deepEqual(linesOf(mesh(bookinfo(), idle), "idle.default.svc.cluster.local"), [
    "* UNKNOWN   -",
  ]);
});
