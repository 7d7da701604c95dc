import type { ConnectionOptions } from "node:tls";
import type { TlsConfig } from "../config/runtime-config.ts";
import { isAcceptedPeer, type SecureContexts } from "./secure-contexts.ts";

/**
 * How to open TLS to an upstream: its certificate must come from the configured CA and carry one of
 * the configured names; without a CA nothing is verified, as Envoy does. `protocols` is the ALPN offer.
 */
export function clientTlsOptions(
  contexts: SecureContexts,
  tls: TlsConfig,
  protocols: readonly string[],
): ConnectionOptions {
  return {
    secureContext: contexts.get(tls),
    // What has no authority to be compared with is refused, once anything is asked of it.
    rejectUnauthorized:
      tls.trustedCaPem !== undefined || tls.subjectAltNames.length > 0 || tls.pins !== undefined,
    checkServerIdentity: (_, certificate) =>
      isAcceptedPeer(tls, certificate)
        ? undefined
        : new Error("certificate verify failed: neither its names nor its pins match"),
    ...(tls.sni === undefined || tls.sni === "" ? {} : { servername: tls.sni }),
    ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
  };
}
