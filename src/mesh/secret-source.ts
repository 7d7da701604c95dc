import { createHash } from "node:crypto";
import { rootCertificates } from "node:tls";
import { messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { encode, SECRET_TYPE } from "../xds/index.ts";
import type { CertificateAuthority } from "./certificate-authority.ts";
import { spiffeId } from "./core/spiffe.ts";
import { SYSTEM_ROOTS } from "./core/translate/upstream-tls.ts";
import type { XdsResource } from "./core/xds-resource.ts";
import type { SecretSource, WorkloadIdentity } from "./identity.ts";

const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";
/** Renewed between these parts of a certificate's life, so that not all proxies come at once. */
const RENEW_FROM = 0.4;
const RENEW_UNTIL = 0.5;
const RETRY_MS = 5000;
/** Over this time every certificate is made anew when the issuer changed. */
const REISSUE_SPREAD_MS = 5000;
/** However short a certificate lives: never in a tight loop. */
const MIN_RENEWAL_MS = 5000;

interface Entry {
  readonly secret: Promise<XdsResource>;
  readonly cancel: () => void;
}

/** SDS from the authority: one certificate an identity, shared by its proxies, renewed in time. */
export function createSecretSource(parts: {
  readonly authority: CertificateAuthority;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  /** Something worth counting. */
  readonly onCertificate?: (outcome: "asked" | "issued" | "failed") => void;
}): SecretSource & { stop(): void } {
  const { authority, clock, logger, random } = parts;
  const entries = new Map<string, Entry>();
  const listeners = new Set<(identity: WorkloadIdentity) => void>();
  let isStopped = false;
  /** Everybody who asked for something. */
  const identities = new Map<string, WorkloadIdentity>();
  const rootSecret = (): XdsResource =>
    secretOf("ROOTCA", {
      validation_context: { trusted_ca: { inline_bytes: bytes(authority.rootCertificatePem) } },
    });
  let root = rootSecret();

  const tell = (identity: WorkloadIdentity): void => {
    for (const listener of listeners) listener(identity);
  };
  const renew = (identity: WorkloadIdentity): void => {
    if (isStopped) return;
    entries.get(spiffeId(identity))?.cancel();
    entries.delete(spiffeId(identity));
    tell(identity);
  };
  const issue = (identity: WorkloadIdentity): Entry => {
    let cancel = (): void => {};
    parts.onCertificate?.("asked");
    const secret = authority.issue(identity).then((issued) => {
      parts.onCertificate?.("issued");
      // Of what is left: certificates are valid from before they were made.
      const leftMs = issued.notAfterMs - clock.nowMs();
      const part = RENEW_FROM + random() * (RENEW_UNTIL - RENEW_FROM);
      const dueMs = leftMs * part;
      if (!isStopped) {
        cancel = clock.schedule(Math.max(MIN_RENEWAL_MS, dueMs), () => renew(identity));
      }
      return secretOf("default", {
        tls_certificate: {
          certificate_chain: { inline_bytes: bytes(issued.certificateChainPem) },
          private_key: { inline_bytes: bytes(issued.privateKeyPem) },
        },
      });
    });
    secret.catch((error: unknown) => {
      parts.onCertificate?.("failed");
      logger.error({ identity: spiffeId(identity), reason: messageOf(error) }, "no certificate");
      if (!isStopped) cancel = clock.schedule(RETRY_MS, () => renew(identity));
    });
    return { secret, cancel: () => cancel() };
  };

  authority.onChange((change) => {
    if (isStopped) return;
    if (change === "roots") {
      root = rootSecret();
      // At once: who does not know a root refuses peers that have a certificate under it.
      for (const identity of identities.values()) tell(identity);
      return;
    }
    // Not all at once: signing takes its time, and both issuers are trusted.
    for (const [id, { cancel }] of entries) {
      cancel();
      const identity = identities.get(id);
      if (identity === undefined) entries.delete(id);
      else clock.schedule(random() * REISSUE_SPREAD_MS, () => renew(identity));
    }
  });

  return {
    async secretFor(identity, name) {
      identities.set(spiffeId(identity), identity);
      if (name === "ROOTCA") return root;
      if (name === SYSTEM_ROOTS) return systemRoots();
      if (name !== "default") return undefined;
      const id = spiffeId(identity);
      const entry = entries.get(id) ?? issue(identity);
      entries.set(id, entry);
      return await entry.secret;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop() {
      isStopped = true;
      for (const { cancel } of entries.values()) cancel();
      entries.clear();
    },
  };
}

let publicRoots: XdsResource | undefined;

/** Node's own list of certificate authorities. */
function systemRoots(): XdsResource {
  publicRoots ??= secretOf(SYSTEM_ROOTS, {
    validation_context: { trusted_ca: { inline_bytes: bytes(rootCertificates.join("\n")) } },
  });
  return publicRoots;
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, "utf8");
}

function secretOf(name: string, content: Parameters<typeof encode<typeof SECRET>>[1]): XdsResource {
  const body = encode(SECRET, { name, ...content });
  const version = createHash("sha256").update(body).digest("hex").slice(0, 16);
  return { typeUrl: SECRET_TYPE, name, version, body };
}
