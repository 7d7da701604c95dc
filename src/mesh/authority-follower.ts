import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { AUTHORITY_SECRETS, type CertificateAuthority } from "./certificate-authority.ts";
import { followKind } from "./follow.ts";

/**
 * Keeps an authority at what the Secrets say, for ever: a root or intermediate that somebody puts
 * there replaces the one in use, with an overlap. One that cannot be used is named and left alone.
 * Returns at once; `stop` ends it.
 */
export function followAuthority(options: {
  readonly authority: CertificateAuthority;
  readonly store: KubeStore;
  readonly rootNamespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
}): { stop(): void } {
  const { authority, store, rootNamespace, clock, logger, random } = options;
  const abort = new AbortController();
  const secrets = new Map<string, KubeObject | undefined>();
  let adopted = "";

  const adopt = (): void => {
    // Until both were looked at nobody knows which one counts.
    if (secrets.size < AUTHORITY_SECRETS.length) return;
    const secret = AUTHORITY_SECRETS.map((name) => secrets.get(name)).find((each) => each);
    const text = JSON.stringify(secret?.["data"] ?? null);
    if (secret === undefined || text === adopted) return;
    adopted = text;
    authority.adopt(secret).catch((error: unknown) => {
      logger.error({ reason: messageOf(error) }, "authority not usable, the last one signs on");
    });
  };
  for (const name of AUTHORITY_SECRETS) {
    const isIt = ({ metadata }: KubeObject): boolean =>
      metadata.name === name && metadata.namespace === rootNamespace;
    void followKind({
      ...{ store, clock, logger, random, signal: abort.signal },
      type: RESOURCES.secret,
      select: { namespace: rootNamespace, fieldSelector: `metadata.name=${name}` },
      onList(objects) {
        secrets.set(name, objects.find(isIt));
        adopt();
      },
      onEvent(type, object) {
        if (!isIt(object)) return;
        secrets.set(name, type === "DELETED" ? undefined : object);
        adopt();
      },
    });
  }
  return { stop: () => abort.abort() };
}
