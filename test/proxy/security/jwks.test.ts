import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { JwksSource, JwtProvider } from "../../../src/proxy/core/jwt.ts";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  type ProxyFixture,
  route,
  startHttp,
  startProxy,
} from "../../support/proxy-fixture.ts";

interface Signer {
  readonly jwk: object;
  token(): Promise<string>;
}

async function signer(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" },
    token: () =>
      new SignJWT({})
        .setProtectedHeader({ alg: "ES256", kid })
        .setIssuer("me")
        .setSubject("alice")
        .setExpirationTime("1h")
        .sign(privateKey),
  };
}

async function setUp(
  t: TestContext,
  options: Partial<Extract<JwksSource, { kind: "remote" }>> = {},
) {
  let keys: readonly object[] = [];
  let fetches = 0;
  let status = 200;
  const idp = await startHttp(t, (request, response) => {
    fetches += 1;
    assert.equal(request.url, "/keys?x=1");
    response.statusCode = status;
    response.end(JSON.stringify({ keys }));
  });
  const app = await startHttp(t, (request, response) =>
    response.end(String(request.headers.authorization)),
  );
  const provider: JwtProvider = {
    name: "p",
    issuer: "me",
    audiences: new Set(),
    matchesSubject: undefined,
    requireExpiration: false,
    clockSkewSeconds: 60,
    locations: [{ kind: "header", name: "authorization", prefix: "Bearer " }],
    jwks: {
      kind: "remote",
      uri: `http://idp.test/keys?x=1`,
      cluster: "idp",
      timeoutMs: 2000,
      cacheMs: 600_000,
      isPrefetched: false,
      failedRefetchMs: 1000,
      retries: 0,
      backoffBaseMs: 1,
      backoffMaxMs: 5,
      ...options,
    },
    forward: false,
    payloadHeader: "",
    padPayloadHeader: false,
    payloadInMetadata: "",
    headerInMetadata: "",
    spaceDelimitedClaims: [],
    claimToHeaders: [],
  };
  const everything = route(forwardTo("app"));
  const proxy = await startProxy(
    t,
    httpConfig([cluster("app", [endpoint(app)]), cluster("idp", [endpoint(idp)])], [everything], {
      filters: [
        {
          name: "jwt",
          isDisabled: false,
          kind: "jwt",
          jwt: {
            rules: [
              { ...everything, requirement: { kind: "provider", provider, audiences: undefined } },
            ],
            named: new Map(),
            bypassCorsPreflight: false,
            stripFailureResponse: false,
            sanitizedHeaders: [],
          },
        },
      ],
    }),
  );
  return {
    proxy,
    fetches: () => fetches,
    publish: (...signers: readonly Signer[]) => {
      keys = signers.map(({ jwk }) => jwk);
    },
    answer: (code: number) => {
      status = code;
    },
  };
}

async function ask(proxy: ProxyFixture, token: string): Promise<readonly [number, string]> {
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return [response.status, await response.text()];
}

test("a remote key set is fetched through its cluster, once, and kept", async (t) => {
  const { proxy, publish, fetches } = await setUp(t);
  const one = await signer("one");
  publish(one);
  const token = await one.token();
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask(proxy, token)));
  for (const answer of answers) assert.deepEqual(answer, [200, "undefined"]);
  assert.equal(fetches(), 1);
});

test("an old key set is fetched again: keys may rotate", async (t) => {
  const { proxy, publish, fetches } = await setUp(t, { cacheMs: 0 });
  const [one, two] = [await signer("one"), await signer("two")];
  publish(one);
  assert.equal((await ask(proxy, await one.token()))[0], 200);
  publish(two);
  assert.equal((await ask(proxy, await two.token()))[0], 200);
  assert.deepEqual(await ask(proxy, await one.token()), [
    401,
    "Jwks doesn't have key to match kid or alg from Jwt",
  ]);
  assert.ok(fetches() >= 3);
});

test("unknown keys do not make the proxy fetch at every request", async (t) => {
  const { proxy, publish, fetches } = await setUp(t);
  const [one, stranger] = [await signer("one"), await signer("stranger")];
  publish(one);
  for (let round = 0; round < 5; round += 1) {
    assert.equal((await ask(proxy, await stranger.token()))[0], 401);
  }
  assert.equal(fetches(), 1);
});

test("without keys tokens are refused; with retries a failing key server is asked again", async (t) => {
  const failing = await setUp(t);
  const one = await signer("one");
  failing.publish(one);
  failing.answer(500);
  assert.deepEqual(await ask(failing.proxy, await one.token()), [
    401,
    "Jwks remote fetch is failed",
  ]);
  failing.answer(200);
  assert.equal((await ask(failing.proxy, await one.token()))[0], 200);

  const retrying = await setUp(t, { retries: 3 });
  retrying.publish(one);
  retrying.answer(503);
  const asked = ask(retrying.proxy, await one.token());
  setTimeout(() => retrying.answer(200), 1);
  await asked;
  assert.ok(retrying.fetches() >= 1);
});
