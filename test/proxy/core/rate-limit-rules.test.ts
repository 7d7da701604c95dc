import assert from "node:assert/strict";
import { test } from "node:test";
import { compileLocalRateLimit } from "../../../src/proxy/core/compile/local-rate-limit.ts";
import { compileRateLimitRules } from "../../../src/proxy/core/compile/rate-limit-rules.ts";
import { createScope, type Findings } from "../../../src/proxy/core/compile/scope.ts";
import { descriptorKey, descriptorsOf } from "../../../src/proxy/core/rate-limit-rules.ts";

const found = (): Findings => ({ issues: [], warnings: [] });
const subject = (headers: Readonly<Record<string, string>>) => ({
  header: (name: string) => headers[name],
  remoteIp: "10.0.0.1",
  cluster: "a",
});
const user = { request_headers: { header_name: "X-User", descriptor_key: "user" } };
const key = (value: string) => ({ generic_key: { descriptor_value: value } });

/** The descriptors of a request with these headers, and what was wrong with the rules. */
function descriptors(rules: readonly object[], headers = {}, stage = 0) {
  const findings = found();
  const compiled = compileRateLimitRules(rules, createScope(findings));
  return {
    keys: descriptorsOf(compiled, stage, subject(headers)),
    issues: findings.issues.map(({ path }) => path),
  };
}

const CASES = [
  [
    "two actions are one descriptor",
    [{ actions: [key("a"), user] }],
    { "x-user": "eve" },
    [
      [
        ["generic_key", "a"],
        ["user", "eve"],
      ],
    ],
  ],
  ["an absent header takes the descriptor away", [{ actions: [key("a"), user] }], {}, []],
  [
    "unless it may be skipped",
    [
      {
        actions: [key("a"), { request_headers: { ...user.request_headers, skip_if_absent: true } }],
      },
    ],
    {},
    [[["generic_key", "a"]]],
  ],
  [
    "nothing but what is skipped is no descriptor",
    [{ actions: [{ request_headers: { ...user.request_headers, skip_if_absent: true } }] }],
    {},
    [],
  ],
  ["another stage does not count", [{ stage: { value: 1 }, actions: [key("a")] }], {}, []],
  [
    "address and cluster",
    [{ actions: [{ remote_address: {} }] }, { actions: [{ destination_cluster: {} }] }],
    {},
    [[["remote_address", "10.0.0.1"]], [["destination_cluster", "a"]]],
  ],
] as const;
for (const [name, rules, headers, expected] of CASES) {
  test(name, () => {
    const { keys, issues } = descriptors(rules, headers);
    assert.deepEqual(issues, []);
    assert.deepEqual(keys, expected.map(descriptorKey));
  });
}

test("what is wrong with rules is told with its place", () => {
  const wrong = (rule: object) => descriptors([rule]).issues;
  assert.deepEqual(wrong({ actions: [] }), ["[0].actions"]);
  assert.deepEqual(wrong({ actions: [{}] }), ["[0].actions[0]"]);
  assert.deepEqual(wrong({ stage: { value: 11 }, actions: [key("a")] }), ["[0].stage"]);
  assert.deepEqual(wrong({ actions: [key("")] }), ["[0].actions[0].generic_key.descriptor_value"]);
  assert.deepEqual(wrong({ actions: [{ header_value_match: { descriptor_value: "a" } }] }), [
    "[0].actions[0].header_value_match.headers",
  ]);
});

test("a descriptor is neither empty nor twice there", () => {
  const findings = found();
  const token_bucket = { max_tokens: 1, fill_interval: { seconds: 1 } };
  const entries = [{ key: "a", value: "b" }];
  compileLocalRateLimit(
    {
      stat_prefix: "x",
      descriptors: [
        { entries, token_bucket },
        { entries, token_bucket },
        { entries: [{ key: "a", value: "" }], token_bucket },
        { entries: [], token_bucket },
        { entries: [{ key: "c", value: "d" }] },
      ],
    },
    { readFile: () => new Uint8Array(), environment: () => undefined, timeOriginMs: 0 },
    createScope(findings),
  );
  assert.deepEqual(
    findings.issues.map(({ path }) => path),
    [
      "descriptors[1]",
      "descriptors[2].entries[0].value",
      "descriptors[3].entries",
      "descriptors[4].token_bucket",
      "descriptors[4].token_bucket.max_tokens",
      "descriptors[4].token_bucket.fill_interval",
    ],
  );
});
