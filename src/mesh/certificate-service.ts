import { status } from "@grpc/grpc-js";
import { messageOf, SerinError } from "../base/index.ts";
import type { Logger } from "../runtime/index.ts";
import { decode, encode } from "../xds/index.ts";
import type { CertificateAuthority } from "./certificate-authority.ts";
import { spiffeId } from "./core/spiffe.ts";
import type { GrpcMethod } from "./grpc-server.ts";
import type { Authenticator } from "./identity.ts";

/** Larger requests are not looked at: they hold a public key and a name. */
const MAX_REQUEST_CHARACTERS = 16_384;

export interface CertificateServiceOptions {
  readonly authority: CertificateAuthority;
  readonly authenticator: Authenticator;
  readonly logger: Logger;
  /** Something worth counting. */
  readonly onCertificate: (outcome: "asked" | "issued" | "failed") => void;
}

/**
 * istio.v1.auth.IstioCertificateService: signs the keys that workloads keep to themselves. Who asks is
 * told by its service account token alone; what a request says of names counts for nothing. The
 * certificate lives as long as asked for, at most as long as all others do.
 */
export function certificateService(options: CertificateServiceOptions): GrpcMethod {
  const { authority, authenticator, logger, onCertificate } = options;
  return {
    path: "/istio.v1.auth.IstioCertificateService/CreateCertificate",
    kind: "unary",
    async handle(call) {
      const header = String(call.metadata.get("authorization")[0] ?? "");
      const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
      if (token === undefined)
        throw refused(status.UNAUTHENTICATED, "a service account token is missing");
      const identity = await authenticate(authenticator, token);
      if (identity === undefined) throw refused(status.UNAUTHENTICATED, "the token is not valid");
      onCertificate("asked");
      try {
        const { csr = "", lifetimeMs } = requestOf(call.request);
        const chain = await authority.sign(csr, identity, lifetimeMs);
        onCertificate("issued");
        logger.info({ identity: spiffeId(identity) }, "certificate signed");
        const certificates = chain.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g) ?? [];
        return encode("istio.v1.auth.IstioCertificateResponse", {
          cert_chain: [...certificates, authority.rootCertificatePem],
        });
      } catch (error) {
        onCertificate("failed");
        if (error instanceof SerinError && error.code === "SERIN_INVALID_RESOURCE") {
          throw refused(status.INVALID_ARGUMENT, error.message);
        }
        throw error;
      }
    },
  };
}

async function authenticate(authenticator: Authenticator, token: string) {
  try {
    return await authenticator.authenticate(token);
  } catch (error) {
    throw refused(status.UNAVAILABLE, messageOf(error));
  }
}

interface CertificateRequest {
  readonly csr: string;
  /** Undefined: as long as the authority's certificates live. */
  readonly lifetimeMs: number | undefined;
}

function requestOf(bytes: Buffer): CertificateRequest {
  let csr = "";
  let seconds = 0;
  try {
    const message = decode("istio.v1.auth.IstioCertificateRequest", bytes);
    csr = message.csr ?? "";
    seconds = Number(message.validity_duration ?? 0);
  } catch (error) {
    throw refused(status.INVALID_ARGUMENT, `the request cannot be read: ${messageOf(error)}`);
  }
  if (csr.length > MAX_REQUEST_CHARACTERS) {
    throw refused(
      status.INVALID_ARGUMENT,
      `the request exceeds ${MAX_REQUEST_CHARACTERS} characters`,
    );
  }
  if (seconds < 0) throw refused(status.INVALID_ARGUMENT, "validity_duration must not be negative");
  return { csr, lifetimeMs: seconds === 0 ? undefined : seconds * 1000 };
}

/** An error that gRPC tells its client. */
function refused(code: status, details: string): Error {
  return Object.assign(new Error(details), { code, details });
}
