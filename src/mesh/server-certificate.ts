import { messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import type { CertificateAuthority, IssuedCertificate } from "./certificate-authority.ts";

const RENEW_AT = 0.5;
const RETRY_MS = 10_000;
const MIN_RENEWAL_MS = 5000;

/** The certificate of a server of the control plane. */
export interface ServerCertificate {
  readonly current: IssuedCertificate;
  /** Called with every later one. */
  onRenewed(listener: (certificate: IssuedCertificate) => void): void;
  stop(): void;
}

/**
 * A certificate of the mesh's authority for DNS names and addresses, made anew when half of its life is
 * over and when another authority signs.
 */
export async function createServerCertificate(parts: {
  readonly authority: CertificateAuthority;
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}): Promise<ServerCertificate> {
  const { authority, clock, logger } = parts;
  const names = [...new Set(parts.names)];
  const listeners = new Set<(certificate: IssuedCertificate) => void>();
  let current = await authority.issueServer(names);
  let isStopped = false;
  let cancel = (): void => {};
  const schedule = (delayMs: number): void => {
    cancel();
    if (!isStopped) cancel = clock.schedule(Math.max(MIN_RENEWAL_MS, delayMs), renew);
  };
  const renewInTime = ({ notBeforeMs, notAfterMs }: IssuedCertificate): void =>
    schedule(notBeforeMs + (notAfterMs - notBeforeMs) * RENEW_AT - clock.nowMs());
  function renew(): void {
    authority.issueServer(names).then(
      (next) => {
        if (isStopped) return;
        current = next;
        for (const listener of listeners) listener(next);
        renewInTime(next);
      },
      (error: unknown) => {
        logger.error({ names, reason: messageOf(error) }, "server certificate not renewed");
        schedule(RETRY_MS);
      },
    );
  }
  renewInTime(current);
  authority.onChange((change) => {
    if (change === "issuer" && !isStopped) renew();
  });
  return {
    get current() {
      return current;
    },
    onRenewed: (listener) => void listeners.add(listener),
    stop() {
      isStopped = true;
      cancel();
    },
  };
}
