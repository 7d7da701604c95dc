import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../support/manual-clock.ts";
import { configMap, pod } from "./manifests.ts";
import { at, eventually, type Json, startTestServer, type TestServer } from "./test-server.ts";

const ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts";
const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";

async function review(
  server: TestServer,
  token: string,
  audiences: readonly string[],
): Promise<Json> {
  const answer = await server.ok("POST", REVIEWS, { body: { spec: { token, audiences } } });
  return answer["status"] as Json;
}

async function startWithAccount(
  ...options: Parameters<typeof startTestServer>
): Promise<TestServer> {
  const server = await startTestServer(...options);
  await eventually(
    "the default account is there",
    async () => (await server.call("GET", `${ACCOUNTS}/default`)).code === 200,
  );
  return server;
}

test("without a good token nothing is answered but health and version", async (t) => {
  const server = await startTestServer(t);
  for (const token of ["wrong", "a.b.c", `${server.token}x`]) {
    const answer = await server.call("GET", "/api/v1/namespaces", { token });
    assert.equal(answer.code, 401);
    assert.equal(answer.json["reason"], "Unauthorized");
  }
  const none = await server.call("GET", "/api/v1/namespaces", { headers: { authorization: "" } });
  assert.equal(none.code, 401);
  for (const path of ["/healthz", "/readyz", "/livez", "/version"]) {
    assert.equal((await server.call("GET", path, { headers: { authorization: "" } })).code, 200);
  }
});

test("a token request makes a JWT that a review accepts for its audience only", async (t) => {
  const server = await startWithAccount(t);
  const request = { spec: { audiences: ["istio-ca"], expirationSeconds: 600 } };
  const answer = await server.ok("POST", `${ACCOUNTS}/default/token`, { body: request });
  const token = String(at(answer, "status", "token"));
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as Json;
  assert.equal(claims["sub"], "system:serviceaccount:default:default");
  assert.deepEqual(claims["aud"], ["istio-ca"]);
  assert.equal(at(claims, "kubernetes.io", "serviceaccount", "name"), "default");

  const good = await review(server, token, ["istio-ca", "other"]);
  assert.equal(good["authenticated"], true);
  assert.deepEqual(good["audiences"], ["istio-ca"]);
  assert.equal(at(good, "user", "username"), "system:serviceaccount:default:default");
  assert.ok((at(good, "user", "groups") as string[]).includes("system:serviceaccounts:default"));
  assert.equal((await review(server, token, ["other"]))["authenticated"], false);
  assert.equal(
    (await review(server, token, []))["authenticated"],
    false,
    "not meant for the API server",
  );
  const [head, body, signature = ""] = token.split(".");
  const forged = `${head}.${body}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
  assert.equal((await review(server, forged, ["istio-ca"]))["authenticated"], false);
  const short = await server.call("POST", `${ACCOUNTS}/default/token`, {
    body: { spec: { expirationSeconds: 5 } },
  });
  assert.equal(short.code, 422);
});

test("a token ends with its time, its pod and its account", async (t) => {
  const clock = new ManualClock(Date.now());
  const server = await startWithAccount(t, { clock });
  const created = await server.ok("POST", "/api/v1/namespaces/default/pods", { body: pod("p") });
  const podUid = String(at(created, "metadata", "uid"));
  const make = (podName?: string): Promise<string> =>
    server.api.local.createToken(
      { namespace: "default", serviceAccount: "default" },
      {
        audiences: ["x"],
        expirationSeconds: 3600,
        ...(podName === undefined ? {} : { podName, podUid }),
      },
    );
  const bound = await make("p");
  const free = await make();
  const status = await review(server, bound, ["x"]);
  assert.equal(status["authenticated"], true);
  assert.deepEqual(at(status, "user", "extra", "authentication.kubernetes.io/pod-name"), ["p"]);
  await server.ok("DELETE", "/api/v1/namespaces/default/pods/p");
  assert.equal((await review(server, bound, ["x"]))["authenticated"], false, "the pod is gone");
  assert.equal((await review(server, free, ["x"]))["authenticated"], true);
  clock.advance(3_600_000);
  assert.equal((await review(server, free, ["x"]))["authenticated"], false, "the time is over");
  await assert.rejects(
    server.api.local.createToken(
      { namespace: "default", serviceAccount: "nobody" },
      { audiences: [], expirationSeconds: 600 },
    ),
    { code: "SERIN_NOT_FOUND" },
  );
});

test("a service account may read, but neither write nor see secrets", async (t) => {
  const server = await startWithAccount(t);
  const token = await server.api.local.createToken(
    { namespace: "default", serviceAccount: "default" },
    { audiences: [], expirationSeconds: 600 },
  );
  const maps = "/api/v1/namespaces/default/configmaps";
  assert.equal((await server.call("GET", maps, { token })).code, 200);
  const write = await server.call("POST", maps, { token, body: configMap("x") });
  assert.equal(write.code, 403);
  assert.match(
    String(write.json["message"]),
    /configmaps is forbidden: User "system:serviceaccount:default:default" cannot create resource "configmaps" in API group "" in the namespace "default"/,
  );
  assert.equal((await server.call("GET", "/api/v1/secrets", { token })).code, 403);
  const self = await server.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
    token,
    body: {},
  });
  assert.equal(at(self, "status", "userInfo", "username"), "system:serviceaccount:default:default");
});
