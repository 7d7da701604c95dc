import assert from "node:assert/strict";
import { test } from "node:test";
import { usableCredential } from "../../../src/mesh/credential-check.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import { createAuthority } from "../../support/certificates.ts";

const authority = await createAuthority();
const [one, two] = [await authority.issue("spiffe://one"), await authority.issue("spiffe://two")];
const logger = createLogger("test", "error");
const usable = (data: Readonly<Record<string, string>>): readonly string[] => {
  const encoded = Object.entries(data).map(([key, text]) => [
    key,
    Buffer.from(text).toString("base64"),
  ]);
  const secret = {
    ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace: "n" } },
    data: Object.fromEntries(encoded),
  };
  return Object.keys(usableCredential(secret, logger)["data"] as object).sort();
};
const pair = { "tls.crt": one.certificatePem, "tls.key": one.keyPem };

for (const [what, data, expected] of [
  ["a pair", pair, ["tls.crt", "tls.key"]],
  ["Istio's spelling", { cert: one.certificatePem, key: one.keyPem }, ["cert", "key"]],
  ["another's key", { ...pair, "tls.key": two.keyPem }, []],
  ["no key", { "tls.crt": one.certificatePem }, []],
  ["nonsense", { "tls.crt": "a", "tls.key": "b", "ca.crt": "c" }, []],
  ["authorities", { "ca.crt": authority.certificatePem }, ["ca.crt"]],
  ["other secrets", { ...pair, password: "hunter2" }, ["tls.crt", "tls.key"]],
  ["nothing", {}, []],
] as const) {
  test(`of a Secret is kept what TLS can use: ${what}`, () => {
    assert.deepEqual(usable(data), expected);
  });
}
