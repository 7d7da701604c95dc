import type { MessageTypes } from "../../../xds/index.ts";
import { type Credentials, keyPairOf, trustedCaOf } from "../model-credentials.ts";
import { ADS } from "./config-source.ts";

type Secret = MessageTypes["envoy.extensions.transport_sockets.tls.v3.Secret"];
type SecretConfig = MessageTypes["envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"];

/** How Istio's proxies call the Secrets of the cluster. */
const CREDENTIAL_PREFIX = "kubernetes://";
/** Istio's prefix where Gateway API names the Secret's namespace. */
const GATEWAY_CREDENTIAL_PREFIX = "kubernetes-gateway://";
const CA_SUFFIX = "-cacert";

/** A credential as configuration names it. */
export interface CredentialRef {
  readonly name: string;
  /** undefined = the proxy's own namespace. */
  readonly namespace?: string | undefined;
}

/** Whether an SDS resource is a Secret of the cluster. */
export function isCredential(resource: string): boolean {
  return resource.startsWith(CREDENTIAL_PREFIX) || resource.startsWith(GATEWAY_CREDENTIAL_PREFIX);
}

function secretName({ name, namespace }: CredentialRef): string {
  return namespace === undefined
    ? CREDENTIAL_PREFIX + name
    : `${GATEWAY_CREDENTIAL_PREFIX}${namespace}/${name}`;
}

/** Asks for the certificate and key of a credential by SDS. */
export function keyPairConfig(ref: CredentialRef): SecretConfig {
  return { name: secretName(ref), sds_config: ADS };
}

/** Asks for the certificate authorities of a credential by SDS. */
export function trustedCaConfig(ref: CredentialRef): SecretConfig {
  return { name: secretName(ref) + CA_SUFFIX, sds_config: ADS };
}

/** The Secrets that the proxies of a namespace may ask for by these credentials. */
export function credentialSecrets(
  credentials: Credentials,
  proxyNamespace: string,
  refs: Iterable<CredentialRef>,
): readonly Secret[] {
  const distinct = new Map([...refs].map((ref) => [secretName(ref), ref]));
  return [...distinct].flatMap(([resource, ref]): Secret[] => {
    const namespace = ref.namespace ?? proxyNamespace;
    const pair = keyPairOf(credentials, namespace, ref.name);
    const trustedCa = trustedCaOf(credentials, namespace, ref.name);
    return [
      ...(pair === undefined
        ? []
        : [
            {
              name: resource,
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
              name: resource + CA_SUFFIX,
              validation_context: { trusted_ca: { inline_bytes: trustedCa } },
            },
          ]),
    ];
  });
}
