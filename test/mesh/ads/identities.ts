import { createHash } from "node:crypto";
import type { XdsResource } from "../../../src/mesh/core/xds-resource.ts";
import type { Authenticator, SecretSource, WorkloadIdentity } from "../../../src/mesh/identity.ts";
import { encode, SECRET_TYPE } from "../../../src/xds/index.ts";
import { createAuthority } from "../../support/certificates.ts";

export interface Identities {
  readonly authenticator: Authenticator;
  readonly secrets: SecretSource;
  /** Issues new certificates, as a rotation does. */
  rotate(): void;
}

/** Two tokens (`good` of default/default, `foreign` of another namespace) and real certificates. */
export async function createIdentities(): Promise<Identities> {
  const authority = await createAuthority();
  const namespaces: Readonly<Record<string, string>> = { good: "default", foreign: "elsewhere" };
  const listeners = new Set<(identity: WorkloadIdentity) => void>();
  const identityOf = (namespace: string): WorkloadIdentity => ({
    trustDomain: "cluster.local",
    namespace,
    serviceAccount: "default",
  });
  let serial = 0;
  const certificates = new Map<number, ReturnType<typeof authority.issue>>();
  return {
    authenticator: {
      async authenticate(token) {
        const namespace = namespaces[token];
        return namespace === undefined ? undefined : identityOf(namespace);
      },
    },
    secrets: {
      async secretFor({ namespace, serviceAccount }, name) {
        if (name === "ROOTCA") {
          return secret(name, {
            validation_context: { trusted_ca: { inline_string: authority.certificatePem } },
          });
        }
        if (name !== "default") return undefined;
        const id = `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`;
        const issued = certificates.get(serial) ?? authority.issue(id);
        certificates.set(serial, issued);
        const { certificatePem, keyPem } = await issued;
        return secret(name, {
          tls_certificate: {
            certificate_chain: { inline_string: certificatePem },
            private_key: { inline_string: keyPem },
          },
        });
      },
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    rotate() {
      serial += 1;
      for (const each of listeners) each(identityOf("default"));
    },
  };
}

function secret(name: string, content: object): XdsResource {
  const message = "envoy.extensions.transport_sockets.tls.v3.Secret";
  const body = encode(message, { name, ...content });
  const version = createHash("sha256").update(body).digest("hex");
  return { typeUrl: SECRET_TYPE, name, version, body };
}
