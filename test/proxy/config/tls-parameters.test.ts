import assert from "node:assert/strict";
import { test } from "node:test";
import { createScope, type Scope } from "../../../src/proxy/core/compile/scope.ts";
import { compileTransportSocket } from "../../../src/proxy/core/compile/tls.ts";
import { packAny } from "../../../src/xds/index.ts";

const CONTEXT = { timeOriginMs: 0, environment: () => undefined, readFile: () => Buffer.alloc(0) };
const HASH = "ab".repeat(32);
const PEM = "-----BEGIN CERTIFICATE-----\n";

/** What is wrong with a transport socket, with the path from its common_tls_context on. */
function issuesOf(side: "upstream" | "downstream", common_tls_context: object): readonly string[] {
  const issues: Parameters<typeof createScope>[0]["issues"] = [];
  const scope: Scope = createScope({ issues, warnings: [] });
  const typed_config =
    side === "upstream"
      ? packAny("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
          common_tls_context,
        })
      : packAny("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {
          common_tls_context: {
            tls_certificate_sds_secret_configs: [{ name: "own" }],
            ...common_tls_context,
          },
        });
  compileTransportSocket({ name: "tls", typed_config }, side, CONTEXT, scope);
  return issues.map(
    ({ path, message }) => `${path.replace(/^.*common_tls_context\.?/, "")}: ${message}`,
  );
}

const CASES: readonly (readonly ["upstream" | "downstream", object, RegExp | undefined])[] = [
  ["upstream", { tls_params: { tls_minimum_protocol_version: 4 } }, undefined],
  ["upstream", { tls_params: { tls_minimum_protocol_version: 1 } }, undefined],
  [
    "upstream",
    { tls_params: { tls_maximum_protocol_version: 2 } },
    /^tls_params\.tls_maximum_protocol_version: must be/,
  ],
  [
    "upstream",
    { tls_params: { tls_minimum_protocol_version: 4, tls_maximum_protocol_version: 3 } },
    /tls_maximum_protocol_version: is below/,
  ],
  ["upstream", { tls_params: { cipher_suites: ["[AES128-SHA|AES256-SHA]"] } }, undefined],
  [
    "upstream",
    { tls_params: { cipher_suites: ["RC4-MD5"] } },
    /cipher_suites: RC4-MD5 is not known/,
  ],
  ["upstream", { tls_params: { ecdh_curves: ["P-999"] } }, /ecdh_curves: P-999 is not known/],
  [
    "upstream",
    { tls_params: { signature_algorithms: ["md5"] } },
    /signature_algorithms: md5 is not known/,
  ],
  [
    "downstream",
    { validation_context: { verify_certificate_hash: [HASH.toUpperCase()] } },
    undefined,
  ],
  [
    "downstream",
    { validation_context: { verify_certificate_hash: ["ab"] } },
    /verify_certificate_hash\.?\[0\]: must be 64/,
  ],
  [
    "downstream",
    { validation_context: { verify_certificate_spki: ["ab"] } },
    /verify_certificate_spki\.?\[0\]: must be 32 bytes/,
  ],
  ["upstream", { validation_context: { verify_certificate_hash: [HASH] } }, /need trusted_ca/],
  [
    "downstream",
    {
      validation_context: {
        match_typed_subject_alt_names: [{ san_type: 3, matcher: { exact: "a" } }],
      },
    },
    /without trusted CA is insecure/,
  ],
  [
    "downstream",
    {
      validation_context: {
        trusted_ca: { inline_string: PEM },
        match_typed_subject_alt_names: [{ san_type: 5, matcher: { exact: "a" } }],
      },
    },
    /san_type: must be EMAIL/,
  ],
  [
    "downstream",
    {
      validation_context: {
        trusted_ca: { inline_string: PEM },
        crl: { inline_string: "x" },
      },
    },
    /crl: is not supported/,
  ],
];

for (const [side, context, expected] of CASES) {
  const name = `${side} ${JSON.stringify(context)}`;
  test(expected === undefined ? `takes ${name}` : `refuses ${name}`, () => {
    const issues = issuesOf(side, context);
    if (expected === undefined) assert.deepEqual(issues, []);
    else assert.match(issues.join("\n"), expected);
  });
}
