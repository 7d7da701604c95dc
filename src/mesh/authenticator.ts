import { createHash } from "node:crypto";
import { z } from "zod";
import { RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock } from "../runtime/index.ts";
import type { Authenticator, WorkloadIdentity } from "./identity.ts";

/** A review counts this long at most: a deleted pod's token must not live on here. */
const CACHE_MS = 60_000;
const MAX_CACHED = 10_000;
/** A refusal is remembered for this long: a client that keeps trying costs one review in a while. */
const REFUSED_MS = 5000;
const PREFIX = "system:serviceaccount:";
const POD_NAME = "authentication.kubernetes.io/pod-name";

const review = z.object({
  authenticated: z.boolean().default(false),
  audiences: z.array(z.string()).default([]),
  user: z
    .object({
      username: z.string().default(""),
      extra: z.record(z.string(), z.array(z.string())).default({}),
    })
    .default({ username: "", extra: {} }),
});

interface Cached {
  /** Undefined: the token proves nothing. */
  readonly identity: WorkloadIdentity | undefined;
  readonly untilMs: number;
}

/** Checks service account tokens with the API server (TokenReview), for one audience. */
export function createAuthenticator(parts: {
  readonly store: KubeStore;
  readonly trustDomain: string;
  readonly audience: string;
  readonly clock: Clock;
}): Authenticator {
  const { store, trustDomain, audience, clock } = parts;
  const cache = new Map<string, Cached>();
  return {
    async authenticate(token) {
      const key = createHash("sha256").update(token).digest("hex");
      const nowMs = clock.nowMs();
      const known = cache.get(key);
      if (known !== undefined && known.untilMs > nowMs) return known.identity;
      cache.delete(key);
      const status = await ask(store, token, audience);
      const identity = identityOf(status, trustDomain, audience);
      if (cache.size >= MAX_CACHED) cache.clear();
      const untilMs =
        identity === undefined ? nowMs + REFUSED_MS : Math.min(nowMs + CACHE_MS, expiryMs(token));
      cache.set(key, { identity, untilMs });
      return identity;
    },
  };
}

async function ask(
  store: KubeStore,
  token: string,
  audience: string,
): Promise<z.infer<typeof review>> {
  try {
    const answer = await store.create(RESOURCES.tokenReview, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      metadata: { name: "" },
      spec: { token, audiences: [audience] },
    });
    return review.parse(answer["status"] ?? {});
  } catch (error) {
    throw new SerinError("SERIN_UNAVAILABLE", `cannot check a token: ${messageOf(error)}`, {
      source: "remote",
      retry: "yes",
      cause: error,
    });
  }
}

function identityOf(
  { authenticated, audiences, user }: z.infer<typeof review>,
  trustDomain: string,
  audience: string,
): WorkloadIdentity | undefined {
  if (!authenticated || !audiences.includes(audience)) return undefined;
  if (!user.username.startsWith(PREFIX)) return undefined;
  const [namespace, serviceAccount] = user.username.slice(PREFIX.length).split(":");
  if (!namespace || !serviceAccount) return undefined;
  const podName = user.extra[POD_NAME]?.[0];
  return {
    trustDomain,
    namespace,
    serviceAccount,
    ...(podName === undefined ? {} : { podName }),
  };
}

/** When a JWT says it ends; the API server has checked it. */
function expiryMs(token: string): number {
  try {
    const payload: unknown = JSON.parse(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"),
    );
    return z.object({ exp: z.number() }).parse(payload).exp * 1000;
  } catch {
    // Not a JWT: the cache's own bound holds.
    return Number.POSITIVE_INFINITY;
  }
}
