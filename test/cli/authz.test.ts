import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rbacPolicies } from "../../src/cli/output/rbac-policies.ts";
import { authorizationOverview } from "../../src/mesh/index.ts";
import { LISTENER_TYPE } from "../../src/xds/index.ts";
import { resourceJson } from "../mesh/core/support/accept.ts";
import { authorizationPolicy, bookinfo, mesh } from "../mesh/core/support/objects.ts";
import { modelOf, REVIEWS_V1, translated } from "../mesh/core/support/translated.ts";
import { runCommand } from "./run-command.ts";

const POLICIES = [
  authorizationPolicy(
    { name: "allow" },
    {
      selector: { matchLabels: { app: "reviews" } },
      rules: [
        {
          from: [{ source: { principals: ["a", "b"] } }, { source: { namespaces: ["shop"] } }],
          to: [{ operation: { methods: ["GET"], paths: ["/x"] } }],
        },
        { when: [{ key: "request.headers[user]", notValues: ["guest"] }] },
      ],
    },
  ),
  authorizationPolicy({ name: "stop", namespace: "istio-system" }, { action: "DENY", rules: [{}] }),
  authorizationPolicy(
    { name: "trial", annotations: { "istio.io/dry-run": "true" } },
    { action: "DENY", rules: [{}] },
  ),
  authorizationPolicy({ name: "other" }, { selector: { matchLabels: { app: "x" } }, rules: [{}] }),
];

/** The listeners of reviews-v1 with these policies, as its config_dump has them. */
function listeners(policies: typeof POLICIES): readonly unknown[] {
  const set = translated(mesh(bookinfo(), { authorizationPolicies: policies }), REVIEWS_V1);
  return [...(set.get(LISTENER_TYPE)?.keys() ?? [])].map((name) =>
    resourceJson(set, "envoy.config.listener.v3.Listener", name),
  );
}

test("reads from a proxy's listeners which policies it has, and how many rules of each", () => {
  assert.deepEqual(rbacPolicies(listeners(POLICIES)), [
    { action: "DENY", policy: "default/trial", isDryRun: true, rules: 1 },
    { action: "DENY", policy: "istio-system/stop", isDryRun: false, rules: 1 },
    { action: "ALLOW", policy: "default/allow", isDryRun: false, rules: 2 },
  ]);
  assert.deepEqual(rbacPolicies(listeners([authorizationPolicy({ name: "deny-all" }, {})])), [
    { action: "ALLOW", policy: "", isDryRun: false, rules: 1 },
  ]);
  assert.deepEqual(rbacPolicies(listeners([])), []);
});

test("says what the policies of a workload are about, in the order in which they count", () => {
  const model = modelOf(mesh(bookinfo(), { authorizationPolicies: POLICIES }));
  const workload = model.workloads.get("default/reviews-v1-5d8f7b9c-abcd3");
  assert.ok(workload !== undefined);
  assert.deepEqual(
    authorizationOverview(model, workload).map(({ action, policy, rules }) => [
      action,
      policy,
      ...rules,
    ]),
    [
      ["DENY", "default/trial", "every request"],
      ["DENY", "istio-system/stop", "every request"],
      [
        "ALLOW",
        "default/allow",
        "from principals a|b or namespaces shop; to methods GET and paths /x",
        "when request.headers[user] is not guest",
      ],
    ],
  );
});

test("authz check shows a saved dump", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-authz-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "dump.json");
  const dump = (policies: typeof POLICIES): void => {
    const dynamic_listeners = listeners(policies).map((listener) => ({
      active_state: { listener },
    }));
    const section = { "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump" };
    writeFileSync(path, JSON.stringify({ configs: [{ ...section, dynamic_listeners }] }));
  };
  dump(POLICIES);
  const { code, stdout } = await runCommand(["authz", "check", "-f", path]);
  assert.equal(code, 0);
  assert.deepEqual(
    stdout.split("\n").map((line) => line.replaceAll(/ {2,}/g, " | ")),
    [
      "ACTION | AuthorizationPolicy | RULES",
      "DENY (dry run) | trial.default | 1",
      "DENY | stop.istio-system | 1",
      "ALLOW | allow.default | 2",
      "",
      "In this order: a request that a DENY rule matches is denied (403); one that an ALLOW rule matches is allowed, any other is denied (403).",
      "",
    ],
  );
  dump([authorizationPolicy({ name: "deny-all" }, {})]);
  assert.match(
    (await runCommand(["authz", "check", "-f", path])).stdout,
    /^ALLOW +_anonymous_match_nothing_ +1$/m,
  );
  dump([]);
  assert.match(
    (await runCommand(["authz", "check", "-f", path])).stdout,
    /every other request is allowed: there is no ALLOW policy/,
  );
});

for (const [args, message] of [
  [["authz"], /what to do is missing/],
  [["authz", "check"], /give either a pod/],
  [["authz", "look", "p"], /unknown "look"/],
  [["authz", "check", "-f", "package.json"], /package\.json is no config_dump/],
  [["authn"], /what to do is missing/],
  [["authn", "tls-check"], /a pod is missing/],
] as const) {
  test(`wrong usage exits 2: serin ${args.join(" ")}`, async () => {
    const { code, stderr } = await runCommand(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  });
}
