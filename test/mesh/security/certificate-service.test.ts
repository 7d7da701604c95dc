import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";
import { RESOURCES } from "../../../src/api/index.ts";
import { decode, encode } from "../../../src/xds/index.ts";
import { createAuthority } from "../../support/certificates.ts";
import { ROOT_NAMESPACE, startPlane, startWorld } from "./world.ts";

const METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
const same = (bytes: Buffer): Buffer => bytes;

async function start(t: TestContext) {
  const world = await startWorld(t);
  const plane = await startPlane(t, world);
  const secret = await world.store.get(RESOURCES.secret, {
    namespace: ROOT_NAMESPACE,
    name: "istio-ca-secret",
  });
  const data = secret?.["data"] as Record<string, string>;
  const root = Buffer.from(data["ca-cert.pem"] ?? "", "base64");
  for (const namespace of ["default", "shop"]) {
    if (namespace !== "default") {
      await world.store.create(RESOURCES.namespace, {
        ...{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      });
    }
    await world.store.create(RESOURCES.serviceAccount, {
      ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: "reviews" } },
    });
  }
  const token = (namespace = "default", audience = "istio-ca", expirationSeconds = 3600) =>
    world.api.local.createToken(
      { namespace, serviceAccount: "reviews" },
      { audiences: [audience], expirationSeconds },
    );
  return { plane, root, token };
}

/** A request whose names are somebody else's. */
function requestFor(t: TestContext, ...newkey: readonly string[]): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-csr-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const csr = join(dir, "csr.pem");
  execFileSync(
    "openssl",
    [
      ...["req", "-new", "-nodes", ...newkey, "-keyout", join(dir, "key.pem"), "-out", csr],
      ...["-subj", "/CN=admin"],
      ...["-addext", "subjectAltName=URI:spiffe://cluster.local/ns/istio-system/sa/istiod"],
    ],
    { stdio: "ignore" },
  );
  return readFileSync(csr, "utf8");
}

interface Asked {
  readonly port: number;
  readonly root: Buffer;
  readonly token?: string;
  readonly csr: string;
  readonly seconds?: number;
  readonly server?: string;
}

/** The certificates that come back; rejects with gRPC's error. */
function ask({ port, root, token, csr, seconds = 0, server }: Asked): Promise<readonly string[]> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createSsl(root), {
    "grpc.ssl_target_name_override": server ?? "istiod.istio-system.svc",
  });
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  const message = Buffer.from(
    encode("istio.v1.auth.IstioCertificateRequest", { csr, validity_duration: seconds }),
  );
  const deadline = Date.now() + 20_000;
  return new Promise<readonly string[]>((resolve, reject) => {
    client.makeUnaryRequest(METHOD, same, same, message, metadata, { deadline }, (error, bytes) => {
      if (error !== null || bytes === undefined) reject(error ?? new Error("no answer"));
      else resolve(decode("istio.v1.auth.IstioCertificateResponse", bytes).cert_chain ?? []);
    });
  }).finally(() => client.close());
}

test("certificates by request: names by the token alone, EC and RSA, no longer than all others", async (t) => {
  const { plane, root, token } = await start(t);
  const port = plane.ports.secure;
  for (const [namespace, newkey] of [
    ["default", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
    ["shop", ["-newkey", "rsa:2048"]],
  ] as const) {
    const csr = requestFor(t, ...newkey);
    const chain = await ask({ port, root, token: await token(namespace), csr, seconds: 3600 });
    const leaf = new X509Certificate(chain[0] ?? "");
    assert.equal(leaf.subjectAltName, `URI:spiffe://cluster.local/ns/${namespace}/sa/reviews`);
    assert.equal(leaf.subject ?? "", "");
    assert.ok(leaf.verify(new X509Certificate(root).publicKey));
    assert.equal(chain.at(-1), root.toString());
    const hours = (leaf.validToDate.getTime() - Date.now()) / 3_600_000;
    assert.ok(hours > 0.9 && hours <= 1, `${hours} h`);
  }
  const csr = requestFor(t, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256");
  const [long = ""] = await ask({ port, root, token: await token(), csr, seconds: 10 ** 9 });
  const hours = (new X509Certificate(long).validToDate.getTime() - Date.now()) / 3_600_000;
  assert.ok(hours > 23.9 && hours <= 24, `${hours} h`);
  const metrics = await (await fetch(`http://127.0.0.1:${plane.ports.debug}/metrics`)).text();
  assert.match(metrics, /^citadel_server_csr_count 3$/m);
  assert.match(metrics, /^citadel_server_success_cert_issuance_count 3$/m);
});

test("who proves nothing gets nothing", async (t) => {
  const { plane, root, token } = await start(t);
  const port = plane.ports.secure;
  const csr = requestFor(t, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256");
  const good = await token();
  const [header = "", payload = "", signature = ""] = good.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { sub: string };
  const forged = Buffer.from(
    JSON.stringify({ ...claims, sub: "system:serviceaccount:istio-system:istiod" }),
  ).toString("base64url");
  const stranger = Buffer.from((await createAuthority()).certificatePem);
  const rows: readonly (readonly [name: string, asked: Asked, code: status])[] = [
    ["no token", { port, root, csr }, status.UNAUTHENTICATED],
    ["no JWT", { port, root, csr, token: "junk" }, status.UNAUTHENTICATED],
    [
      "a token for somebody else",
      { port, root, csr, token: await token("default", "https://kubernetes.default.svc") },
      status.UNAUTHENTICATED,
    ],
    [
      "a token whose subject was changed",
      { port, root, csr, token: `${header}.${forged}.${signature}` },
      status.UNAUTHENTICATED,
    ],
    ["no request", { port, root, csr: "junk", token: good }, status.INVALID_ARGUMENT],
    [
      "a weak key",
      { port, root, csr: requestFor(t, "-newkey", "rsa:1024"), token: good },
      status.INVALID_ARGUMENT,
    ],
    [
      "a lifetime below nothing",
      { port, root, csr, token: good, seconds: -1 },
      status.INVALID_ARGUMENT,
    ],
    [
      "a request of a megabyte",
      { port, root, csr: "x".repeat(1_000_000), token: good },
      status.INVALID_ARGUMENT,
    ],
    ["an unknown authority", { port, root: stranger, csr, token: good }, status.UNAVAILABLE],
    [
      "a server of another name",
      { port, root, csr, token: good, server: "istiod.evil.svc" },
      status.UNAVAILABLE,
    ],
  ];
  for (const [name, asked, code] of rows) {
    await t.test(name, () => assert.rejects(ask(asked), { code }));
  }

  await t.test("a token that has expired", async () => {
    // The shortest that the API server gives out; time goes by for whoever checks it.
    const old = await token("default", "istio-ca", 600);
    assert.equal((await ask({ port, root, csr, token: old })).length, 2);
    const { exp } = JSON.parse(Buffer.from(old.split(".")[1] ?? "", "base64url").toString()) as {
      exp: number;
    };
    t.mock.timers.enable({ apis: ["Date"], now: exp * 1000 + 1000 });
    try {
      await assert.rejects(ask({ port, root, csr, token: old }), { code: status.UNAUTHENTICATED });
    } finally {
      t.mock.timers.reset();
    }
  });

  await t.test("plain text on the port of TLS", async () => {
    const socket = connect(port, "127.0.0.1");
    let received = 0;
    socket.on("data", (bytes: Buffer) => {
      received += bytes.length;
    });
    socket.on("error", () => {});
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await once(socket, "close");
    // At most an alert of TLS.
    assert.ok(received < 20, `${received} bytes`);
  });

  await t.test("nothing listens on another address than loopback's own", async () => {
    for (const each of [plane.ports.debug, plane.ports.xds]) {
      const socket = connect(each, "127.9.9.9");
      const [error] = await once(socket, "error");
      assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED");
    }
  });
});
