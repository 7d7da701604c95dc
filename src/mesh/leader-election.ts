import { type KubeObject, RESOURCES } from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";

const LEASE = "serin-control-plane-leader";
/** client-go's defaults. */
const DURATION_MS = 15_000;
const RENEW_MS = 2000;
/** Who cannot renew stops leading before others may take over. */
const RENEW_DEADLINE_MS = 10_000;
/** How long giving the lease back may take. */
const STOP_MS = 1000;
/** Part of the renewal's pause that is left to chance. */
const JITTER = 0.2;

export interface LeaderElectionOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  readonly namespace: string;
  /** Of this candidate; who comes back under the same name leads on at once. */
  readonly name: string;
  /** It leads from now on. Others may have written what it is to write. */
  readonly onLead: () => void;
}

/** One of several control planes writes what all of them know. */
export interface LeaderElection {
  /** Settled once it was found out for the first time. */
  readonly first: Promise<void>;
  isLeader(): boolean;
  /** Lets another one lead at once. */
  stop(): Promise<void>;
}

/**
 * Leads while it holds a Lease of the Kubernetes API. A holder that has not renewed for 15 s, by this
 * process's own clock, has lost it. Without the API nobody leads. Source: client-go, "leaderelection".
 */
export function startLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { store, clock, logger, random, namespace, name, onLead } = options;
  let leadsUntilMs = 0;
  let isStopped = false;
  let cancel = (): void => {};
  /** What was last seen of the holder, and when it was seen to change. */
  let seen: { readonly text: string; readonly atMs: number } | undefined;

  const isLeader = (): boolean => !isStopped && clock.nowMs() < leadsUntilMs;

  const write = async (lease: KubeObject | undefined): Promise<void> => {
    const atMs = clock.nowMs();
    const before = specOf(lease);
    const isMine = before["holderIdentity"] === name;
    const transitions = Number(before["leaseTransitions"] ?? 0);
    const now = new Date(atMs).toISOString().replace("Z", "000Z");
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: DURATION_MS / 1000,
      acquireTime: isMine ? (before["acquireTime"] ?? now) : now,
      renewTime: now,
      leaseTransitions: isMine || lease === undefined ? transitions : transitions + 1,
    };
    const metadata = { ...lease?.metadata, name: LEASE, namespace };
    const object = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
    if (lease === undefined) await store.create(RESOURCES.lease, object);
    else await store.update(RESOURCES.lease, object);
    const led = isLeader();
    leadsUntilMs = atMs + RENEW_DEADLINE_MS;
    if (led || isStopped) return;
    logger.info({ name }, "leads the control planes");
    onLead();
  };

  const attempt = async (): Promise<void> => {
    const lease = await store.get(RESOURCES.lease, { namespace, name: LEASE });
    const spec = specOf(lease);
    const holder = spec["holderIdentity"] ?? "";
    const text = JSON.stringify([holder, spec["renewTime"]]);
    if (seen?.text !== text) seen = { text, atMs: clock.nowMs() };
    const isFree = lease === undefined || holder === "" || holder === name;
    if (isFree || clock.nowMs() - seen.atMs >= DURATION_MS) await write(lease);
    else leadsUntilMs = 0;
  };

  const turn = async (): Promise<void> => {
    try {
      await attempt();
    } catch (error) {
      // Somebody else was faster: that is no fault.
      const isRace = error instanceof SerinError && error.code === "SERIN_CONFLICT";
      if (!isRace) logger.warn({ reason: messageOf(error) }, "the lease cannot be renewed");
    }
    if (isStopped) return;
    cancel = clock.schedule(RENEW_MS * (1 + JITTER * random()), () => void turn());
  };

  const first = turn();
  return {
    first,
    isLeader,
    async stop() {
      const led = isLeader();
      isStopped = true;
      cancel();
      if (!led) return;
      const release = async (): Promise<void> => {
        const lease = await store.get(RESOURCES.lease, { namespace, name: LEASE });
        if (lease === undefined || specOf(lease)["holderIdentity"] !== name) return;
        const spec = { ...specOf(lease), holderIdentity: "", leaseDurationSeconds: 1 };
        await store.update(RESOURCES.lease, { ...lease, spec });
      };
      const released = release().catch((error: unknown) => {
        // Then the others wait until it runs out.
        logger.debug({ reason: messageOf(error) }, "the lease was not given back");
      });
      await Promise.race([released, new Promise<void>((done) => clock.schedule(STOP_MS, done))]);
    },
  };
}

function specOf(lease: KubeObject | undefined): Readonly<Record<string, unknown>> {
  const spec: unknown = lease?.["spec"];
  return typeof spec === "object" && spec !== null ? (spec as Record<string, unknown>) : {};
}
