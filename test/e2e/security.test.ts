import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const skip = skipWithout("kubectl");

test("the textbook's policies, with real traffic: deny all, allow by principal, method and path, JWT, claims, STRICT", {
  skip,
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const apply = async (manifest: string): Promise<void> => {
    const file = join(dataDir, "manifest.yaml");
    writeFileSync(file, manifest);
    await kubectl("apply", "-f", file);
  };
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
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

  await apply(`apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: default }
spec: {}
`);
  await becomes("deny-all", pageUrl, 403);
  assert.equal((await ask(pageUrl)).body, "RBAC: access denied");

  await apply(`apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: allow-page, namespace: default }
spec:
  selector: { matchLabels: { app: productpage } }
  rules: [{}]
---
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: allow-productpage, namespace: default }
spec:
  selector: { matchLabels: { app: reviews } }
  action: ALLOW
  rules:
  - from:
    - source: { principals: ["cluster.local/ns/default/sa/productpage"] }
    to:
    - operation: { methods: ["GET"], paths: ["/reviews/*"] }
`);
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
  await apply(`apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec:
  mtls: { mode: STRICT }
`);
  await becomes("plain text under STRICT", `http://${reviews}:9080/reviews/0`, 0);
});
