import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizationRule } from "../../../../src/api/index.ts";
import type { MeshAuthorizationPolicy } from "../../../../src/mesh/core/model-security.ts";
import { authorizationPolicyFrom, policiesFor } from "../../../../src/mesh/core/model-security.ts";
import {
  httpAuthorization,
  tcpAuthorization,
} from "../../../../src/mesh/core/translate/authorization.ts";
import { toJson, unpackAny } from "../../../../src/xds/index.ts";

const HTTP = "envoy.extensions.filters.http.rbac.v3.RBAC";
const TCP = "envoy.extensions.filters.network.rbac.v3.RBAC";

function policy(
  rules: readonly AuthorizationRule[],
  options: Partial<MeshAuthorizationPolicy> = {},
): MeshAuthorizationPolicy {
  return {
    name: "p",
    namespace: "default",
    matchLabels: undefined,
    action: "ALLOW",
    rules,
    isDryRun: false,
    ...options,
  };
}

function http(...policies: readonly MeshAuthorizationPolicy[]) {
  return httpAuthorization(policies, "cluster.local").map((filter) => {
    const message = unpackAny(HTTP, filter.typed_config);
    assert.ok(message !== undefined);
    return toJson(HTTP, message);
  });
}

function tcp(...policies: readonly MeshAuthorizationPolicy[]) {
  return tcpAuthorization(policies, "cluster.local").map((filter) => {
    const message = unpackAny(TCP, filter.typed_config);
    assert.ok(message !== undefined);
    return toJson(TCP, message);
  });
}

const NAME = "ns[default]-policy[p]-rule[0]";

test("no policy: no filter; an empty ALLOW policy denies all; an empty rule allows all", () => {
  assert.deepEqual(http(), []);
  assert.deepEqual(http(policy([])), [{ rules: {} }]);
  assert.deepEqual(http(policy([{}])), [
    {
      rules: {
        policies: { [NAME]: { permissions: [{ any: true }], principals: [{ any: true }] } },
      },
    },
  ]);
});

test("the textbook's allow-productpage", () => {
  const rule: AuthorizationRule = {
    from: [{ source: { principals: ["cluster.local/ns/default/sa/productpage"] } }],
    to: [{ operation: { methods: ["GET"], paths: ["/reviews/*"] } }],
  };
  assert.deepEqual(http(policy([rule])), [
    {
      rules: {
        policies: {
          [NAME]: {
            permissions: [
              {
                and_rules: {
                  rules: [
                    { header: { name: ":method", string_match: { exact: "GET" } } },
                    { url_path: { path: { prefix: "/reviews/" } } },
                  ],
                },
              },
            ],
            principals: [
              {
                authenticated: {
                  principal_name: { exact: "spiffe://cluster.local/ns/default/sa/productpage" },
                },
              },
            ],
          },
        },
      },
    },
  ]);
});

test("AUDIT, DENY and ALLOW in this order; what is on trial is a shadow", () => {
  const filters = http(
    policy([{}], { name: "allow" }),
    policy([{}], { name: "deny", action: "DENY" }),
    policy([{}], { name: "audit", action: "AUDIT" }),
    policy([{}], { name: "trial", action: "DENY", isDryRun: true }),
  );
  assert.deepEqual(
    filters.map((filter) => [
      (filter as { rules?: { action?: string } }).rules?.action ?? "ALLOW",
      (filter as { shadow_rules_stat_prefix?: string }).shadow_rules_stat_prefix,
    ]),
    [
      ["LOG", undefined],
      ["DENY", "istio_dry_run_deny_"],
      ["ALLOW", undefined],
    ],
  );
});

/** The tests of one rule's only source, operation or condition. */
function only(rule: AuthorizationRule): { permissions: unknown[]; principals: unknown[] } {
  const [filter] = http(policy([rule])) as { rules: { policies?: Record<string, never> } }[];
  return filter?.rules.policies?.[NAME] ?? { permissions: [], principals: [] };
}

const any = { any: true };
const jwt = (path: readonly string[], string_match: object) => ({
  metadata: {
    filter: "envoy.filters.http.jwt_authn",
    path: path.map((key) => ({ key })),
    value: {
      or_match: {
        value_matchers: [{ string_match }, { list_match: { one_of: { string_match } } }],
      },
    },
  },
});
const SOURCES: readonly (readonly [name: string, rule: AuthorizationRule, principal: unknown])[] = [
  [
    "a namespace",
    { from: [{ source: { namespaces: ["prod"] } }] },
    { authenticated: { principal_name: { safe_regex: { regex: ".*/ns/prod/.*" } } } },
  ],
  [
    "namespaces by pattern",
    { from: [{ source: { namespaces: ["prod-*"] } }] },
    { authenticated: { principal_name: { safe_regex: { regex: ".*/ns/prod-.*/.*" } } } },
  ],
  [
    "any principal",
    { from: [{ source: { principals: ["*"] } }] },
    { authenticated: { principal_name: { safe_regex: { regex: ".+" } } } },
  ],
  [
    "not a principal",
    { from: [{ source: { notPrincipals: ["td/ns/a/sa/b"] } }] },
    { not_id: { authenticated: { principal_name: { exact: "spiffe://td/ns/a/sa/b" } } } },
  ],
  [
    "a service account of the policy's namespace",
    { from: [{ source: { serviceAccounts: ["web"] } }] },
    {
      authenticated: {
        principal_name: { safe_regex: { regex: "spiffe://[^/]+/ns/default/sa/web" } },
      },
    },
  ],
  [
    "an address",
    { from: [{ source: { ipBlocks: ["10.0.0.1"] } }] },
    { direct_remote_ip: { address_prefix: "10.0.0.1", prefix_len: 32 } },
  ],
  [
    "ranges of the original client",
    { from: [{ source: { remoteIpBlocks: ["10.0.0.0/8", "::1"] } }] },
    {
      or_ids: {
        ids: [
          { remote_ip: { address_prefix: "10.0.0.0", prefix_len: 8 } },
          { remote_ip: { address_prefix: "::1", prefix_len: 128 } },
        ],
      },
    },
  ],
  [
    "any request principal",
    { from: [{ source: { requestPrincipals: ["*"] } }] },
    {
      and_ids: {
        ids: [
          jwt(["payload", "iss"], { safe_regex: { regex: ".+" } }),
          jwt(["payload", "sub"], { safe_regex: { regex: ".+" } }),
        ],
      },
    },
  ],
  [
    "one request principal",
    { from: [{ source: { requestPrincipals: ["https://a.test/bob"] } }] },
    {
      and_ids: {
        ids: [
          jwt(["payload", "iss"], { exact: "https://a.test" }),
          jwt(["payload", "sub"], { exact: "bob" }),
        ],
      },
    },
  ],
  [
    "a claim",
    { when: [{ key: "request.auth.claims[role]", values: ["admin"] }] },
    jwt(["payload", "role"], { exact: "admin" }),
  ],
  [
    "a nested claim",
    { when: [{ key: "request.auth.claims[a][b]", values: ["x*"] }] },
    jwt(["payload", "a", "b"], { prefix: "x" }),
  ],
  [
    "a header",
    { when: [{ key: "request.headers[X-User]", values: ["jason"] }] },
    { header: { name: "X-User", string_match: { exact: "jason" } } },
  ],
  [
    "no such header value",
    { when: [{ key: "request.headers[x]", notValues: ["*"] }] },
    { not_id: { header: { name: "x", string_match: { safe_regex: { regex: ".+" } } } } },
  ],
  [
    "audiences",
    { when: [{ key: "request.auth.audiences", values: ["me"] }] },
    jwt(["payload", "aud"], { exact: "me" }),
  ],
];
for (const [name, rule, principal] of SOURCES) {
  test(`caller: ${name}`, () => {
    assert.deepEqual(only(rule), { permissions: [any], principals: [principal] });
  });
}

const OPERATIONS: readonly (readonly [
  name: string,
  rule: AuthorizationRule,
  permission: unknown,
])[] = [
  [
    "a host, whatever its case",
    { to: [{ operation: { hosts: ["a.test"] } }] },
    { header: { name: ":authority", string_match: { exact: "a.test", ignore_case: true } } },
  ],
  [
    "ports",
    { to: [{ operation: { ports: ["80", "81"] } }] },
    { or_rules: { rules: [{ destination_port: 80 }, { destination_port: 81 }] } },
  ],
  [
    "not a method",
    { to: [{ operation: { notMethods: ["GET"] } }] },
    { not_rule: { header: { name: ":method", string_match: { exact: "GET" } } } },
  ],
  [
    "a path by its end",
    { to: [{ operation: { paths: ["*/info"] } }] },
    { url_path: { path: { suffix: "/info" } } },
  ],
  [
    "a path template",
    { to: [{ operation: { paths: ["/a/{*}/b/{**}"] } }] },
    { url_path: { path: { safe_regex: { regex: "/a/[^/]+/b/.*" } } } },
  ],
  [
    "the server name",
    { when: [{ key: "connection.sni", values: ["*.a.test"] }] },
    { requested_server_name: { suffix: ".a.test" } },
  ],
  [
    "the destination's port",
    { when: [{ key: "destination.port", values: ["80"] }] },
    { destination_port: 80 },
  ],
];
for (const [name, rule, permission] of OPERATIONS) {
  test(`operation: ${name}`, () => {
    assert.deepEqual(only(rule), { permissions: [permission], principals: [any] });
  });
}

test("CUSTOM denies what it is for: there is no authorizer to ask", () => {
  const object = { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy" };
  const rules = [{ to: [{ operation: { paths: ["/admin"] } }] }];
  const found = authorizationPolicyFrom(
    { ...object, metadata: { name: "p", namespace: "default" } },
    { action: "CUSTOM", provider: { name: "ext" }, rules },
  );
  assert.deepEqual(http(found), http(policy(rules, { action: "DENY" })));
  assert.match(JSON.stringify(http(found)), /"action":"DENY".*"\/admin"/);
});

test("a key that nobody knows makes the rule match nothing", () => {
  assert.deepEqual(only({ when: [{ key: "request.moon", values: ["x"] }] }), {
    permissions: [],
    principals: [],
  });
});

test("without HTTP: an ALLOW rule that asks for it is dropped, a DENY rule loses the question", () => {
  const rule: AuthorizationRule = {
    to: [{ operation: { methods: ["GET"], ports: ["9000"] } }],
  };
  assert.deepEqual(tcp(policy([rule])), [{ rules: {}, stat_prefix: "tcp." }]);
  assert.deepEqual(tcp(policy([rule], { action: "DENY" })), [
    {
      rules: {
        action: "DENY",
        policies: { [NAME]: { permissions: [{ destination_port: 9000 }], principals: [any] } },
      },
      stat_prefix: "tcp.",
    },
  ]);
});

test("policies of the own and of the root namespace count together, where their selector fits", () => {
  const all = [
    policy([], { name: "own" }),
    policy([], { name: "other", namespace: "elsewhere" }),
    policy([], { name: "root", namespace: "istio-system" }),
    policy([], { name: "selected", matchLabels: { app: "a" } }),
    policy([], { name: "not-selected", matchLabels: { app: "b" } }),
  ];
  const workload = { namespace: "default", labels: { app: "a", version: "v1" } };
  assert.deepEqual(
    policiesFor(all, workload, "istio-system").map(({ name }) => name),
    ["own", "root", "selected"],
  );
});
