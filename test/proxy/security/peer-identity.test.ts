import "reflect-metadata";
import assert from "node:assert/strict";
import { webcrypto, X509Certificate } from "node:crypto";
import { test } from "node:test";
import {
  type JsonGeneralName,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { compileRbac } from "../../../src/proxy/core/compile/rbac.ts";
import { createScope } from "../../../src/proxy/core/compile/scope.ts";
import { compileHeaderFormat } from "../../../src/proxy/core/header-format.ts";
import { decideRbac } from "../../../src/proxy/core/rbac.ts";
import { identityOf } from "../../../src/proxy/tls/secure-contexts.ts";
import { record } from "../telemetry/record.ts";

const FIRST = "spiffe://cluster.local/ns/a/sa/first";
const SECOND = "spiffe://cluster.local/ns/a/sa/second";

/** The identity of a certificate with these names. */
async function identity(names: readonly JsonGeneralName[]) {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      keys,
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
      extensions: [new SubjectAlternativeNameExtension([...names])],
    },
    webcrypto,
  );
  return identityOf(new X509Certificate(certificate.toString("pem")).toLegacyObject());
}

function isDenied(peer: Awaited<ReturnType<typeof identity>>, name: string): boolean {
  const principals = [{ authenticated: { principal_name: { exact: name } } }];
  const { rules } = compileRbac(
    { rules: { action: 1, policies: { p: { permissions: [{ any: true }], principals } } } },
    createScope({ issues: [], warnings: [] }),
  );
  assert.ok(rules !== undefined);
  const verdict = decideRbac(rules, {
    headerValues: () => [],
    urlPath: "/",
    destinationIp: "127.0.0.1",
    destinationPort: 80,
    directRemoteIp: "127.0.0.1",
    remoteIp: "127.0.0.1",
    requestedServerName: "",
    peer,
    metadata: undefined,
  });
  return !verdict.isAllowed;
}

test("rules know every name of a certificate, not only the first", async () => {
  const peer = await identity([
    { type: "url", value: FIRST },
    { type: "url", value: SECOND },
    { type: "dns", value: "a.test" },
  ]);
  assert.equal(peer.principal, FIRST);
  for (const name of [FIRST, SECOND, "a.test"]) assert.ok(isDenied(peer, name), name);
  assert.ok(!isDenied(peer, "spiffe://cluster.local/ns/a/sa/third"));
  const options = { timeOriginMs: 0, environment: () => undefined };
  const format = compileHeaderFormat(
    "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_FINGERPRINT_256%",
    options,
    (message) => assert.fail(message),
  );
  assert.ok(typeof format === "function");
  assert.equal(
    format(record({ downstreamCertificate: peer })),
    `${FIRST},${SECOND} a.test ${peer.hash}`,
  );
});

test("a name that holds a comma is one name and nobody else's", async () => {
  const odd = `x, URI:${SECOND}, "y`;
  const peer = await identity([
    { type: "url", value: odd },
    { type: "url", value: FIRST },
    { type: "dns", value: "b.test, DNS:evil.test" },
  ]);
  assert.deepEqual(peer.uris, [odd, FIRST]);
  assert.deepEqual(peer.dnsNames, ["b.test, DNS:evil.test"]);
  assert.ok(!isDenied(peer, SECOND));
  assert.ok(!isDenied(peer, "evil.test"));
});
