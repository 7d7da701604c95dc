import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Explanation } from "../../src/mesh/index.ts";
import { runCommand } from "../cli/run-command.ts";
import { askThrough } from "../support/mesh-client.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const REQUESTS = 40;

/** A request, as `explain` is asked about it and as it is sent. */
interface Asked {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Scenario {
  readonly what: string;
  readonly manifest: string;
  readonly requests: readonly Asked[];
}

const SUBSETS = `apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: { name: reviews, namespace: default }
spec:
  host: reviews
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
  - { name: v3, labels: { version: v3 } }
`;

const route = (spec: string): string => `---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: { name: reviews, namespace: default }
spec:
  hosts: [reviews]
  http:
${spec}`;

const policy = (name: string, spec: string): string => `---
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: default }
spec: ${spec}
`;

const V1 = "  - route: [{ destination: { host: reviews, subset: v1 } }]\n";

const scenarios = (jwks: string, token: string): readonly Scenario[] => [
  { what: "no rules", manifest: SUBSETS, requests: [{}] },
  {
    what: "matches, weights, redirects and rewrites",
    manifest: `${SUBSETS}${route(`  - match: [{ headers: { user: { exact: jason } } }, { uri: { regex: "/reviews/[5-9]" } }]
    route: [{ destination: { host: reviews, subset: v2 } }]
  - match: [{ uri: { exact: /old } }]
    redirect: { uri: /new, redirectCode: 302 }
  - match: [{ uri: { prefix: /api/ } }]
    rewrite: { uri: /reviews/ }
    route: [{ destination: { host: reviews, subset: v3 } }]
  - match: [{ queryParams: { lost: {} } }]
    route: [{ destination: { host: reviews, subset: v9 } }]
  - match: [{ sourceLabels: { app: ratings } }]
    route: [{ destination: { host: reviews, subset: v3 } }]
  - match: [{ withoutHeaders: { canary: {} } }]
    route: [{ destination: { host: reviews, subset: v1 } }]
  - route:
    - { destination: { host: reviews, subset: v1 }, weight: 70 }
    - { destination: { host: reviews, subset: v2 }, weight: 30 }
`)}`,
    requests: [
      { headers: { user: "jason" } },
      { headers: { user: "bob" } },
      { path: "/reviews/7" },
      { path: "/old" },
      { path: "/api/3" },
      { path: "/reviews/1?lost=1" },
      { headers: { canary: "yes" } },
    ],
  },
  {
    what: "no rule that matches",
    manifest: `${SUBSETS}${route(`  - match: [{ uri: { prefix: /reviews } }]
    route: [{ destination: { host: reviews, subset: v1 } }]
`)}`,
    requests: [{ path: "/elsewhere" }, {}],
  },
  {
    what: "faults",
    manifest: `${SUBSETS}${route(`  - fault: { abort: { percentage: { value: 40 }, httpStatus: 418 } }
    route: [{ destination: { host: reviews, subset: v1 } }]
`)}`,
    requests: [{}],
  },
  {
    what: "policies of paths, headers, callers and single versions",
    manifest: `${SUBSETS}${route(`  - match: [{ uri: { prefix: /api/ } }]
    rewrite: { uri: /reviews/ }
    route: [{ destination: { host: reviews, subset: v1 } }]
  - match: [{ headers: { canary: {} } }]
    route:
    - { destination: { host: reviews, subset: v1 }, weight: 50 }
    - { destination: { host: reviews, subset: v2 }, weight: 50 }
${V1}`)}${policy(
      "allow",
      `{ selector: { matchLabels: { app: reviews } }, rules: [{ from: [{ source: { principals: ["cluster.local/ns/default/sa/default"] } }], to: [{ operation: { paths: ["/reviews/*"] } }] }] }`,
    )}${policy(
      "deny-guests",
      `{ selector: { matchLabels: { app: reviews } }, action: DENY, rules: [{ when: [{ key: "request.headers[user]", values: ["guest*"] }] }] }`,
    )}${policy("deny-v2", `{ selector: { matchLabels: { version: v2 } }, action: DENY, rules: [{}] }`)}`,
    requests: [
      {},
      { path: "/api/3" },
      { path: "/other" },
      { path: "/x/../reviews/1" },
      { headers: { user: "guest-1" } },
      { headers: { canary: "yes" } },
    ],
  },
  {
    what: "requests placed by a hash, and weights by the same",
    manifest: `${SUBSETS.replace("spec:", "spec:\n  trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: user } } }")}${route(`  - match: [{ uri: { prefix: /reviews/2 } }]
    route:
    - { destination: { host: reviews, subset: v1 }, weight: 50 }
    - { destination: { host: reviews, subset: v2 }, weight: 50 }
  - route: [{ destination: { host: reviews } }]
`)}`,
    requests: ["ann", "bob", "cat", "dan"].flatMap((user) => [
      { headers: { user } },
      { headers: { user }, path: "/reviews/2" },
    ]),
  },
  {
    what: "STRICT, and a client that sends plain text",
    manifest: `${SUBSETS.replace("spec:", "spec:\n  trafficPolicy: { tls: { mode: DISABLE } }")}${route(V1)}---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: default, namespace: default }
spec: { mtls: { mode: STRICT } }
`,
    requests: [{}],
  },
  {
    what: "tokens",
    manifest: `${SUBSETS}${route(V1)}---
apiVersion: security.istio.io/v1beta1
kind: RequestAuthentication
metadata: { name: jwt, namespace: default }
spec:
  selector: { matchLabels: { app: reviews } }
  jwtRules: [{ issuer: "https://example.com", jwks: '${jwks}' }]
${policy(
  "admins",
  `{ selector: { matchLabels: { app: reviews } }, rules: [{ when: [{ key: "request.auth.claims[role]", values: ["admin"] }] }] }`,
)}`,
    requests: [
      {},
      { headers: { authorization: `Bearer ${token}` } },
      { headers: { authorization: `Bearer ${token.slice(0, -8)}AAAAAAAA` } },
      { headers: { authorization: "Bearer a.b.c" } },
    ],
  },
];

/** What `explain` says comes of a request: `status version` with its share of a hundred. */
function predicted({ outcomes }: Explanation): ReadonlyMap<string, number> {
  const shares = new Map<string, number>();
  for (const { sharePercent, status, workload } of outcomes) {
    const version = workload?.replace(/^reviews-/, "") ?? "";
    const key = status === "application" ? `answered by ${version}` : `${status ?? "closed"}`;
    shares.set(key, (shares.get(key) ?? 0) + sharePercent);
  }
  return shares;
}

/** Whether what was seen can come of these shares: nothing else, and within five standard deviations. */
function fits(seen: ReadonlyMap<string, number>, shares: ReadonlyMap<string, number>): boolean {
  const isKnown = [...seen.keys()].every((key) => shares.has(key));
  return (
    isKnown &&
    [...shares].every(([key, percent]) => {
      const p = percent / 100;
      const deviation = Math.sqrt(REQUESTS * p * (1 - p));
      return Math.abs((seen.get(key) ?? 0) - REQUESTS * p) <= 5 * deviation + 1e-6;
    })
  );
}

test("the operator's commands tell the truth about a mesh with traffic", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const env = { KUBECONFIG: `${dataDir}/kubeconfig` };
  const serin = (...args: readonly string[]) => runCommand(args, env);
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  for (const name of ["productpage", "reviews", "ratings"]) {
    await kubectl("apply", "-f", `examples/bookinfo/${name}.yaml`);
  }
  for (const name of ["productpage-v1", "reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
  }
  const page = await podIp(kubectl, "productpage");
  const path = "jsonpath={.items[0].metadata.name}";
  const pod = (await kubectl("get", "pods", "-l", "app=productpage", "-o", path)).trim();

  const sent = async ({ path: target = "/reviews/1", headers = {} }: Asked) => {
    const { status, body } = await askThrough(page, `http://reviews:9080${target}`, headers);
    const version = /"version":\s*"(v\d)"/.exec(body)?.[1];
    // An answer of the application's own, whatever its status.
    const isOwn = version !== undefined || /not found|no such/i.test(body);
    return isOwn && status !== 403 ? `answered by ${version ?? "?"}` : `${status}`;
  };
  const round = async (asked: Asked): Promise<ReadonlyMap<string, number>> => {
    const seen = new Map<string, number>();
    for (let i = 0; i < REQUESTS; i += 1) {
      const key = await sent(asked);
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    return seen;
  };
  const explained = async (asked: Asked, ...more: readonly string[]): Promise<Explanation> => {
    const headers = Object.entries(asked.headers ?? {}).flatMap(([name, value]) => [
      "--header",
      `${name}=${value}`,
    ]);
    const { code, stdout, stderr } = await serin(
      ...["explain", "--from", "productpage", "--to", "reviews:9080", "-o", "json"],
      ...["--path", asked.path ?? "/reviews/1", ...headers, ...more],
    );
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Explanation;
  };

  const { privateKey, publicKey } = await generateKeyPair("RS256");
  const key = { ...(await exportJWK(publicKey)), kid: "k", alg: "RS256" };
  const token = await new SignJWT({ role: ["dev", "admin"] })
    .setProtectedHeader({ alg: "RS256", kid: "k" })
    .setIssuer("https://example.com")
    .setSubject("alice")
    .setExpirationTime("1h")
    .sign(privateKey);

  for (const { what, manifest, requests } of scenarios(JSON.stringify({ keys: [key] }), token)) {
    await t.test(`explain says what real traffic does: ${what}`, async () => {
      const file = join(dataDir, "scenario.yaml");
      writeFileSync(file, manifest);
      const dry = await Promise.all(
        requests.map((asked) => explained(asked, "--with-policy", file)),
      );
      await kubectl("apply", "-f", file);
      for (const [i, asked] of requests.entries()) {
        const explanation = await explained(asked);
        const shares = predicted(explanation);
        assert.deepEqual(predicted(dry[i] ?? explanation), shares, "as the dry run said");
        let seen: ReadonlyMap<string, number> = new Map();
        await eventually("traffic is as explained", async () => {
          seen = await round(asked);
          return fits(seen, shares);
        }).catch((error: unknown) => {
          const told = JSON.stringify([...shares]);
          throw new Error(`${JSON.stringify(asked)}: ${told}, seen ${JSON.stringify([...seen])}`, {
            cause: error,
          });
        });
      }
      await kubectl("delete", "-f", file);
    });
  }

  await t.test("proxy-status: everything is as the control plane means it", async () => {
    await eventually("every proxy is in step, and productpage's has what it should", async () => {
      const [all, one] = [await serin("proxy-status"), await serin("ps", pod)];
      const rows = all.stdout.trim().split("\n");
      return (
        rows.length === 6 &&
        rows.slice(1).every((row) => /( SYNCED +){5}serin-control-plane +\d/.test(row)) &&
        one.stdout === "Clusters Match\nListeners Match\nRoutes Match\nEndpoints Match\n"
      );
    });
  });

  await t.test("authn tls-check prints the textbook's line", async () => {
    const file = join(dataDir, "strict.yaml");
    writeFileSync(
      file,
      `apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: default, namespace: default }
spec: { mtls: { mode: STRICT } }
`,
    );
    await kubectl("apply", "-f", file);
    const host = "reviews.default.svc.cluster.local";
    const { code, stdout } = await serin("authn", "tls-check", `${pod}.default`, host);
    assert.equal(
      stdout.replaceAll(/ +/g, " "),
      `HOST:PORT STATUS SERVER CLIENT AUTHN POLICY\n${host}:9080 OK STRICT ISTIO default/default\n`,
    );
    assert.equal(code, 0);
    await kubectl("delete", "-f", file);
  });

  await t.test(
    "authz check shows what the proxy of a pod enforces, and what it does not yet",
    async () => {
      const file = join(dataDir, "policies.yaml");
      writeFileSync(
        file,
        `${policy("deny-all", "{}")}${policy(
          "no-guests",
          `{ selector: { matchLabels: { app: reviews } }, action: DENY, rules: [{ when: [{ key: "request.headers[user]", values: ["guest"] }] }] }`,
        )}`,
      );
      await kubectl("apply", "-f", file);
      const v1 = (await kubectl("get", "pods", "-l", "app=reviews,version=v1", "-o", path)).trim();
      let shown = await serin("authz", "check", v1);
      await eventually("the proxy has both", async () => {
        shown = await serin("authz", "check", v1);
        return shown.code === 0 && shown.stdout.includes("no-guests");
      });
      assert.deepEqual(
        shown.stdout.split("\n").map((line) => line.replaceAll(/(?<=\S) {2,}/g, " | ")),
        [
          "ACTION | AuthorizationPolicy | RULES",
          "DENY | no-guests.default | 1",
          "ALLOW | deny-all.default | 0",
          "",
          "In this order: a request that a DENY rule matches is denied (403); one that an ALLOW rule matches is allowed, any other is denied (403).",
          "  DENY no-guests.default rules[0]: when request.headers[user] is guest",
          "  ALLOW deny-all.default: has no rules, and matches nothing",
          "",
        ],
      );
      await kubectl("delete", "-f", file);
    },
  );

  await t.test(
    "describe tells where a pod is exposed, and a request there is answered",
    async () => {
      const installed = await serin("install", "--set", "profile=default", "-y");
      assert.equal(installed.code, 0, installed.stderr);
      await kubectl("apply", "-f", "examples/bookinfo/gateway.yaml");
      const { code, stdout } = await serin("describe", "pod", pod);
      assert.equal(code, 0);
      const url = /^Exposed on Ingress Gateway (http:\/\/\S+)$/m.exec(stdout)?.[1] ?? "";
      assert.deepEqual(stdout.split("\n"), [
        `Pod: ${pod}`,
        "   Pod Ports: 9080 (productpage), 15090 (istio-proxy)",
        "--------------------",
        "Service: productpage",
        "   Port: http 9080/HTTP targets pod port 9080",
        "--------------------",
        "Effective PeerAuthentication:",
        "   Workload mTLS mode: PERMISSIVE",
        "--------------------",
        `Exposed on Ingress Gateway ${url}`,
        "Gateway: bookinfo-gateway",
        "VirtualService: bookinfo",
        "   Match: path is /productpage",
        "   Match: path begins with /static",
        "",
      ]);
      await eventually(`${url}/productpage is answered`, () =>
        fetch(`${url}/productpage`).then(
          (response) => response.text().then(() => response.status === 200),
          () => false,
        ),
      );
      for (const [target, status] of [
        ["/productpage", 200],
        ["/elsewhere", 404],
      ] as const) {
        const { stdout: text } = await serin(
          ...["explain", "--from", "istio-ingressgateway.istio-system", "--to", url],
          ...["--path", target, "-o", "json"],
        );
        const [outcome] = (JSON.parse(text) as Explanation).outcomes;
        const expected = outcome?.status === "application" ? 200 : outcome?.status;
        assert.equal(expected, status, text);
        assert.equal((await fetch(`${url}${target}`)).status, status);
      }
      const service = await serin("describe", "service", "productpage", "-o", "json");
      assert.deepEqual(JSON.parse(service.stdout).exposures[0].urls, [url]);
      assert.equal((await serin("describe", "pod", "nobody")).code, 1);
      assert.equal((await serin("describe", "service", "nobody")).code, 1);
    },
  );
});
