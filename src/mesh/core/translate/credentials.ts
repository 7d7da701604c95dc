import type { MessageTypes } from "../../../xds/index.ts";
import { type Credentials, keyPairOf, trustedCaOf } from "../model-credentials.ts";
import { ADS } from "./config-source.ts";

type Secret = MessageTypes["envoy.extensions.transport_sockets.tls.v3.Secret"];
type SecretConfig = MessageTypes["envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"];

/** How Istio's proxies call the Secrets of the cluster. */
export const CREDENTIAL_PREFIX = "kubernetes://";
const CA_SUFFIX = "-cacert";

/** Asks for the certificate and key of a credential by SDS. */
export function keyPairConfig(name: string): SecretConfig {
  return { name: CREDENTIAL_PREFIX + name, sds_config: ADS };
}

/** Asks for the certificate authorities of a credential by SDS. */
export function trustedCaConfig(name: string): SecretConfig {
  return { name: CREDENTIAL_PREFIX + name + CA_SUFFIX, sds_config: ADS };
}

/** The Secrets of a namespace that proxies may ask for by these credential names. */
export function credentialSecrets(
  credentials: Credentials,
  namespace: string,
  names: Iterable<string>,
): readonly Secret[] {
  return [...new Set(names)].flatMap((name): Secret[] => {
    const pair = keyPairOf(credentials, namespace, name);
    const trustedCa = trustedCaOf(credentials, namespace, name);
    return [
      ...(pair === undefined
        ? []
        : [
            {
              name: CREDENTIAL_PREFIX + name,
              tls_certificate: {
                certificate_chain: { inline_bytes: pair.certificateChain },
                private_key: { inline_bytes: pair.privateKey },
              },
            },
          ]),
      ...(trustedCa === undefined
        ? []
        : [
            {
              name: CREDENTIAL_PREFIX + name + CA_SUFFIX,
              validation_context: { trusted_ca: { inline_bytes: trustedCa } },
            },
          ]),
    ];
  });
}
