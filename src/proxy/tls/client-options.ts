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
    rejectUnauthorized: tls.trustedCaPem !== undefined,
    checkServerIdentity: (_, certificate) =>
      isAcceptedPeer(tls, certificate)
        ? undefined
        : new Error("certificate verify failed: no subject alternative name matches"),
    ...(tls.sni === undefined || tls.sni === "" ? {} : { servername: tls.sni }),
    ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
  };
}
