import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, createServer, type TLSSocket } from "node:tls";
import { RESOURCES } from "../../../src/api/index.ts";
import { createAuthenticator } from "../../../src/mesh/authenticator.ts";
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from "../../../src/mesh/certificate-authority.ts";
import { createSecretSource } from "../../../src/mesh/secret-source.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { ROOT_NAMESPACE, silent, startWorld, TRUST_DOMAIN } from "./world.ts";

const options = { rootNamespace: ROOT_NAMESPACE, trustDomain: TRUST_DOMAIN };
const REVIEWS = { trustDomain: TRUST_DOMAIN, namespace: "default", serviceAccount: "reviews" };
const REVIEWS_ID = "spiffe://cluster.local/ns/default/sa/reviews";
const create = (store = new MemoryStore()): Promise<CertificateAuthority> =>
  createCertificateAuthority({ ...options, store, clock: systemClock });

test("the root survives restarts, and two control planes that start at once agree on it", async (t) => {
  const { store } = await startWorld(t);
  const make = () => createCertificateAuthority({ ...options, store, clock: systemClock });
  const [one, two] = await Promise.all([make(), make()]);
  assert.equal(one.rootCertificatePem, two.rootCertificatePem);
  assert.equal((await make()).rootCertificatePem, one.rootCertificatePem);
});

test("a workload's certificate names its service account and nothing else, and chains to the root", async () => {
  const authority = await create();
  const issued = await authority.issue(REVIEWS);
  const leaf = new X509Certificate(issued.certificateChainPem);
  const root = new X509Certificate(authority.rootCertificatePem);
  assert.equal(leaf.subjectAltName, `URI:${REVIEWS_ID}`);
  assert.equal(leaf.subject ?? "", "");
  assert.equal(leaf.ca, false);
  assert.ok(leaf.checkIssued(root) && leaf.verify(root.publicKey));
  const lifeMs = leaf.validToDate.getTime() - leaf.validFromDate.getTime();
  assert.ok(lifeMs > 23.9 * 3_600_000 && lifeMs < 24.2 * 3_600_000, String(lifeMs));
});

const BROKEN = [
  [
    "a key that is another's",
    (a: Secret, b: Secret) => ({ ...a, "ca-key.pem": b["ca-key.pem"] }),
    /key is not the certificate's/,
  ],
  [
    "no certificate",
    (a: Secret) => ({ "ca-key.pem": a["ca-key.pem"] }),
    /must be a root certificate/,
  ],
] as const;
type Secret = Readonly<Record<string, string | undefined>>;
for (const [name, breakIt, message] of BROKEN) {
  test(`a root Secret with ${name} is refused by name`, async () => {
    const secretOf = async (store: MemoryStore): Promise<Secret> => {
      await create(store);
      const key = { namespace: ROOT_NAMESPACE, name: "istio-ca-secret" };
      return (await store.get(RESOURCES.secret, key))?.["data"] as Secret;
    };
    const data = breakIt(await secretOf(new MemoryStore()), await secretOf(new MemoryStore()));
    const store = new MemoryStore();
    await store.create(RESOURCES.secret, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace: ROOT_NAMESPACE, name: "istio-ca-secret" },
      data,
    });
    await assert.rejects(create(store), (error: Error) => {
      assert.match(error.message, /Secret istio-system\/istio-ca-secret/);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("two workloads shake hands, each sees the other's name, and a stranger is refused", async (t) => {
  const authority = await create();
  const stranger = await (await create()).issue(REVIEWS);
  const server = await authority.issue(REVIEWS);
  const client = await authority.issue({ ...REVIEWS, serviceAccount: "productpage" });
  const ca = authority.rootCertificatePem;
  const listener = createServer(
    { key: server.privateKeyPem, cert: server.certificateChainPem, ca, requestCert: true },
    (socket: TLSSocket) => {
      socket.on("error", () => undefined);
      socket.end(socket.authorized ? (socket.getPeerCertificate().subjectaltname ?? "") : "no");
    },
  ).listen(0, "127.0.0.1");
  t.after(() => listener.close());
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const hello = async (with_: { privateKeyPem: string; certificateChainPem: string }) => {
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca,
      key: with_.privateKeyPem,
      cert: with_.certificateChainPem,
      // A SPIFFE id is no host name; it is compared below.
      checkServerIdentity: () => undefined,
    });
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(socket, "secureConnect");
    const peer = socket.getPeerCertificate().subjectaltname;
    await once(socket, "close").catch(() => undefined);
    return { peer, seen: Buffer.concat(chunks).toString() };
  };
  assert.deepEqual(await hello(client), {
    peer: `URI:${REVIEWS_ID}`,
    seen: "URI:spiffe://cluster.local/ns/default/sa/productpage",
  });
  listener.removeAllListeners("tlsClientError");
  await assert.rejects(hello(stranger).then(({ seen }) => assert.match(seen, /^URI/)));
});

test("a request's own names are ignored; weak keys and wrong signatures are refused", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "serin-csr-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const request = (...newkey: readonly string[]): string => {
    const [key, csr] = [join(dir, "key.pem"), join(dir, "csr.pem")];
    const names = ["-subj", "/CN=admin", "-addext", "subjectAltName=URI:spiffe://evil/ns/x/sa/y"];
    execFileSync(
      "openssl",
      ["req", "-new", "-nodes", ...newkey, "-keyout", key, "-out", csr, ...names],
      {
        stdio: "ignore",
      },
    );
    return readFileSync(csr, "utf8");
  };
  const authority = await create();
  const ec = request("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256");
  const signed = new X509Certificate(await authority.sign(ec, REVIEWS));
  assert.equal(signed.subjectAltName, `URI:${REVIEWS_ID}`);
  await authority.sign(request("-newkey", "rsa:2048"), REVIEWS);
  await assert.rejects(authority.sign(request("-newkey", "rsa:1024"), REVIEWS), /2048 bits/);
  await assert.rejects(authority.sign("junk", REVIEWS), /cannot be read/);
  const lines = ec.split("\n");
  const broken = lines.toSpliced(
    -3,
    1,
    (lines.at(-3) ?? "").replace(/^./, (c) => (c === "A" ? "B" : "A")),
  );
  await assert.rejects(authority.sign(broken.join("\n"), REVIEWS), {
    code: "SERIN_INVALID_RESOURCE",
  });
});

test("a certificate is shared, and renewed before half of its life is over", async (t: TestContext) => {
  const clock = new ManualClock(Date.now());
  const authority = await createCertificateAuthority({
    ...options,
    store: new MemoryStore(),
    clock,
  });
  const source = createSecretSource({ authority, clock, logger: silent, random: () => 0.5 });
  t.after(() => source.stop());
  const changed: string[] = [];
  source.onChange(({ serviceAccount }) => changed.push(serviceAccount));
  const [one, two] = await Promise.all([
    source.secretFor(REVIEWS, "default"),
    source.secretFor(REVIEWS, "default"),
  ]);
  assert.equal(one, two);
  assert.equal(await source.secretFor(REVIEWS, "other"), undefined);
  clock.advance(9 * 3_600_000);
  assert.deepEqual(changed, []);
  clock.advance(3 * 3_600_000);
  assert.deepEqual(changed, ["reviews"]);
  assert.notEqual((await source.secretFor(REVIEWS, "default"))?.version, one?.version);
});

test("tokens prove a service account for their audience only", async (t) => {
  const { api, store } = await startWorld(t);
  await store.create(RESOURCES.serviceAccount, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { namespace: "default", name: "reviews" },
  });
  const token = (audience: string) =>
    api.local.createToken(
      { namespace: "default", serviceAccount: "reviews" },
      { audiences: [audience], expirationSeconds: 3600 },
    );
  const authenticator = createAuthenticator({
    ...{ store, trustDomain: TRUST_DOMAIN, clock: systemClock },
    audience: "istio-ca",
  });
  assert.deepEqual(await authenticator.authenticate(await token("istio-ca")), REVIEWS);
  assert.equal(await authenticator.authenticate(await token("somebody-else")), undefined);
  assert.equal(await authenticator.authenticate("junk"), undefined);
});
