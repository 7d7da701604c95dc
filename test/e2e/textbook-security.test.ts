import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { serin } from "../support/cli.ts";
import { ENGINES, type Engine, engineLabel, skipWithoutEngine } from "../support/engines.ts";
import { askThrough } from "../support/mesh-client.ts";
import {
  eventually,
  type Kubectl,
  kubectlOf,
  podIp,
  temporary,
  up,
} from "../support/serin-cluster.ts";

/** What `openssl s_client -showcerts` in a pod, and `openssl x509 -text`, say of a server. */
async function showCertificates(kubectl: Kubectl, pod: string, place: string): Promise<string> {
  const run = promisify(execFile);
  const show = ["openssl", "s_client", "-showcerts", "-alpn", "istio", "-connect", place];
  // Without a certificate of its own the client is refused, after it has seen the server's.
  const stdout = await kubectl("exec", pod, "-c", "istio-proxy", "--", ...show).catch(
    (error: { readonly stdout: string }) => error.stdout,
  );
  const [leaf = ""] =
    /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(stdout) ?? [];
  const text = run("openssl", ["x509", "-noout", "-text"]);
  text.child.stdin?.end(leaf);
  return stdout + (await text).stdout;
}

for (const engine of ENGINES) {
  test(
    `the textbook's policies, with real traffic: deny all, allow by principal, method and path, JWT, claims, STRICT (sidecars: ${engine})`,
    {
      skip: skipWithoutEngine(engine),
      timeout: 300_000,
    },
    (t) => withPolicies(t, engine),
  );
}

async function withPolicies(t: TestContext, engine: Engine): Promise<void> {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const apply = async (manifest: string): Promise<void> => {
    const file = join(dataDir, "manifest.yaml");
    writeFileSync(file, manifest);
    await kubectl("apply", "-f", file);
  };
  await kubectl("label", "namespace", "default", "istio-injection=enabled", engineLabel(engine));
  await apply(
    "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: productpage, namespace: default }\n",
  );
  await kubectl("apply", "-f", "examples/bookinfo/reviews.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/ratings.yaml");
  await kubectl("apply", "-f", "examples/bookinfo/productpage.yaml");
  await kubectl("set", "serviceaccount", "deployment/productpage-v1", "productpage");
  for (const name of ["productpage-v1", "reviews-v1", "ratings-v1"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
  }
  // The pod of the former service account is gone.
  await eventually("one productpage pod is left", async () => {
    const names = await kubectl("get", "pods", "-l", "app=productpage", "-o", "name");
    return names.trim().split("\n").length === 1;
  });
  const page = await podIp(kubectl, "productpage");
  const reviews = await podIp(kubectl, "reviews");
  const ask = async (
    url: string,
    headers: Record<string, string> = {},
  ): Promise<{ readonly status: number; readonly body: string }> => {
    try {
      const response = await fetch(url, { headers });
      return { status: response.status, body: await response.text() };
    } catch {
      return { status: 0, body: "" };
    }
  };
  const pageUrl = `http://${page}:9080/api/v1/products/0/reviews`;
  const becomes = async (
    what: string,
    url: string,
    status: number,
    headers: Record<string, string> = {},
  ): Promise<void> => {
    let last = { status: -1, body: "" };
    // Several times running: policies reach one sidecar after the other.
    let inARow = 0;
    await eventually(`${what}: ${status} from ${url}`, async () => {
      last = await ask(url, headers);
      inARow = last.status === status ? inARow + 1 : 0;
      return inARow === 10;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; last: ${last.status} ${last.body.slice(0, 300)}`);
    });
  };
  await becomes("without policies", pageUrl, 200);

  const applyExample = (name: string): Promise<string> =>
    kubectl("apply", "-f", `examples/bookinfo/security/${name}.yaml`);
  await applyExample("authorizationpolicy-deny-all");
  await becomes("deny-all", pageUrl, 403);
  assert.equal((await ask(pageUrl)).body, "RBAC: access denied");

  await apply(`apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: allow-page, namespace: default }
spec:
  selector: { matchLabels: { app: productpage } }
  rules: [{}]
`);
  await applyExample("authorizationpolicy-allow-productpage");
  await becomes("productpage may ask reviews", pageUrl, 200);
  assert.equal((await ask(`http://${reviews}:9080/reviews/0`)).status, 403, "a stranger may not");

  await assert.rejects(
    apply(`apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: broken, namespace: default }
spec:
  action: DENY
  rules: []
`),
    /spec\.rules/,
  );

  const { privateKey, publicKey } = await generateKeyPair("RS256");
  const key = { ...(await exportJWK(publicKey)), kid: "k", alg: "RS256" };
  const token = (claims: Record<string, unknown>, expires = "1h"): Promise<string> =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "RS256", kid: "k" })
      .setIssuer("https://example.com")
      .setSubject("alice")
      .setAudience("productpage")
      .setExpirationTime(expires)
      .sign(privateKey);
  await apply(`apiVersion: security.istio.io/v1beta1
kind: RequestAuthentication
metadata: { name: jwt-auth, namespace: default }
spec:
  selector: { matchLabels: { app: productpage } }
  jwtRules:
  - issuer: "https://example.com"
    audiences: ["productpage"]
    jwks: '${JSON.stringify({ keys: [key] })}'
`);
  const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
  await becomes("a bad token", pageUrl, 401, bearer("a.b.c"));
  await becomes("no token is nobody, and nobody is allowed", pageUrl, 200);
  assert.equal((await ask(pageUrl, bearer(await token({})))).status, 200);
  const expired = await ask(pageUrl, bearer(await token({}, "-2h")));
  assert.deepEqual([expired.status, expired.body], [401, "Jwt is expired"]);

  await apply(`apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: allow-page, namespace: default }
spec:
  selector: { matchLabels: { app: productpage } }
  action: ALLOW
  rules:
  - when:
    - key: request.auth.claims[role]
      values: ["admin"]
`);
  await becomes("nobody is no admin", pageUrl, 403);
  assert.equal((await ask(pageUrl, bearer(await token({ role: "admin" })))).status, 200);
  assert.equal((await ask(pageUrl, bearer(await token({ role: ["dev", "admin"] })))).status, 200);
  assert.equal((await ask(pageUrl, bearer(await token({ role: "dev" })))).status, 403);

  await kubectl("delete", "authorizationpolicies", "--all");
  await becomes("without policies again", `http://${reviews}:9080/reviews/0`, 200);
  // The textbook's rule for an application called admin-service, on one that there is.
  await applyExample("authorizationpolicy-admin-only");
  await kubectl(
    ...["patch", "authorizationpolicy", "admin-only", "--type=merge", "-p"],
    JSON.stringify({ spec: { selector: { matchLabels: { app: "productpage" } } } }),
  );
  await becomes("nobody is no admin for the textbook's rule either", pageUrl, 403);
  assert.equal((await ask(pageUrl, bearer(await token({ role: "admin" })))).status, 200);
  await kubectl("delete", "authorizationpolicies", "--all");
  await kubectl("delete", "requestauthentications", "--all");

  // The keys are nowhere to be had here: what is no valid token is refused, nobody is let through.
  await applyExample("requestauthentication-jwt");
  await becomes("a token that cannot be checked", pageUrl, 401, bearer(await token({})));
  assert.equal((await ask(pageUrl)).status, 200);
  await kubectl("delete", "requestauthentications", "--all");

  await applyExample("peerauthentication-default");
  await becomes("plain text under STRICT", `http://${reviews}:9080/reviews/0`, 0);
  assert.equal((await askThrough(page, "http://reviews:9080/reviews/0")).status, 200, "mutual TLS");
  await applyExample("peerauthentication-permissive");
  await becomes("plain text under PERMISSIVE", `http://${reviews}:9080/reviews/0`, 200);
  await applyExample("peerauthentication-reviews");
  await becomes("plain text to a service that is STRICT", `http://${reviews}:9080/reviews/0`, 0);
  await becomes("plain text to another", pageUrl, 200);

  const name = (await kubectl("get", "pods", "-l", "app=productpage", "-o", "name")).trim();
  const check = await serin(
    dataDir,
    ...["authn", "tls-check", `${name.replace("pod/", "")}.default`],
    "reviews.default.svc.cluster.local",
  );
  assert.match(
    check.stdout,
    /^HOST:PORT +STATUS +SERVER +CLIENT +AUTHN POLICY\nreviews\.default\.svc\.cluster\.local:9080 +OK +STRICT +ISTIO +default\/reviews-mtls\n$/,
  );

  const shown = await showCertificates(kubectl, name, `${reviews}:9080`);
  assert.match(
    shown,
    /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/default\/sa\/default/,
  );
  // OpenSSL, in ours, adds the root to the workload's; Envoy's library sends the workload's alone.
  assert.equal(shown.match(/BEGIN CERTIFICATE/g)?.length, engine === "serin" ? 2 : 1);

  await t.test("kube-inject -f FILE | kubectl apply -f -", async () => {
    await apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: plain }\n");
    const injected = await serin(dataDir, "kube-inject", "-f", "examples/bookinfo/ratings.yaml");
    assert.equal(injected.code, 0, injected.stderr);
    writeFileSync(join(dataDir, "injected.yaml"), injected.stdout);
    await kubectl("apply", "-n", "plain", "-f", join(dataDir, "injected.yaml"));
    await kubectl("rollout", "status", "-n", "plain", "deployment/ratings-v1", "--timeout=90s");
    assert.match(await kubectl("get", "pods", "-n", "plain"), /^ratings-v1-\S+ +2\/2 +Running/m);
  });
}
