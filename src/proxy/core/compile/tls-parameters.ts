import type { envoy_extensions_transport_sockets_tls_v3_TlsParameters as Parameters } from "../../../xds/index.ts";
import {
  CIPHER_SUITES,
  DEFAULT_TLS_PARAMETERS,
  ECDH_CURVES,
  SIGNATURE_ALGORITHMS,
  TLS13_SUITES,
  type TlsParameters,
} from "../tls-parameters.ts";
import type { Scope } from "./scope.ts";

/** TlsProtocol: 0 TLS_AUTO, 1 TLSv1_0, 2 TLSv1_1, 3 TLSv1_2, 4 TLSv1_3. */
const TLS_1_2 = 3;
const TLS_1_3 = 4;

/** Compiles tls_params. TLS below 1.2 is not spoken: as a floor it means 1.2, as a ceiling nothing. */
export function compileTlsParameters(
  parameters: Parameters | null | undefined,
  scope: Scope,
): TlsParameters {
  if (!parameters) return DEFAULT_TLS_PARAMETERS;
  const floor = parameters.tls_minimum_protocol_version ?? 0;
  const ceiling = parameters.tls_maximum_protocol_version ?? 0;
  if (floor > 0 && floor < TLS_1_2) {
    scope.at("tls_minimum_protocol_version").warn("TLS below 1.2 is not offered");
  }
  if (ceiling > 0 && ceiling < TLS_1_2) {
    scope.at("tls_maximum_protocol_version").fail("must be TLSv1_2 or TLSv1_3");
  }
  if (ceiling > 0 && floor > ceiling) {
    scope.at("tls_maximum_protocol_version").fail("is below tls_minimum_protocol_version");
  }
  const list = (
    field: "cipher_suites" | "ecdh_curves" | "signature_algorithms",
    known: ReadonlySet<string>,
  ): string | undefined => {
    const names = (parameters[field] ?? []).flatMap((entry) => {
      // BoringSSL: names in brackets are equally good.
      const group = /^\[(.*)\]$/.exec(entry)?.[1];
      return field === "cipher_suites" && group !== undefined ? group.split("|") : [entry];
    });
    for (const name of names) {
      if (!known.has(name)) scope.at(field).fail(`${name} is not known`);
    }
    return names.length === 0 ? undefined : names.join(":");
  };
  const suites = list("cipher_suites", CIPHER_SUITES);
  return {
    minVersion: floor === TLS_1_3 ? "TLSv1.3" : "TLSv1.2",
    maxVersion: ceiling === TLS_1_2 ? "TLSv1.2" : "TLSv1.3",
    ciphers: suites === undefined ? undefined : `${suites}:${TLS13_SUITES}`,
    ecdhCurve: list("ecdh_curves", ECDH_CURVES),
    sigalgs: list("signature_algorithms", SIGNATURE_ALGORITHMS),
  };
}
