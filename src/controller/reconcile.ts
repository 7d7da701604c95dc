import type { MetricsProvider } from "../analysis/index.ts";
import type { KubeObject, ResourceType } from "../api/index.ts";
import type { KubeStore, ObjectKey } from "../kube/store.ts";
import type { Clock } from "../runtime/index.ts";
import { apply } from "./apply.ts";
import { decide } from "./core/decide.ts";
import { FINALIZER } from "./core/phases/terminating.ts";
import { plan } from "./core/plan.ts";
import { measure } from "./measure.ts";
import { observe } from "./observe.ts";
import type { Publisher } from "./publish.ts";

export interface ReconcileContext {
  readonly store: KubeStore;
  readonly metrics: MetricsProvider;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly awaitProxyAcks: boolean;
}

/**
 * One pass over one Canary: observe, plan, measure, decide, apply, publish. Answers when to look
 * again without an event (ms), or undefined to wait for one. Throws what stopped it.
 */
export async function reconcile(
  context: ReconcileContext,
  type: ResourceType,
  key: ObjectKey,
): Promise<number | undefined> {
  const { store, clock, awaitProxyAcks } = context;
  const canary = await store.get(type, key);
  if (canary === undefined || isGone(canary)) return undefined;
  const nowMs = clock.nowMs();
  const observation = await observe(store, canary, { awaitProxyAcks, nowMs });
  const verdicts = await measure(context.metrics, observation, plan(observation, nowMs));
  const decision = decide({ observation, verdicts, nowMs });
  const isChanged = await apply(store, type, observation, decision, nowMs);
  context.publisher.count(observation, decision);
  // Only what is new is said: a pass that changed nothing repeats nothing.
  if (isChanged) await context.publisher.announce(canary, decision.events, clock.nowMs());
  return decision.requeueAfterMs;
}

/** Being deleted, and not waiting for us: others' finalizers are others' business. */
function isGone({ metadata: { deletionTimestamp, finalizers = [] } }: KubeObject): boolean {
  return deletionTimestamp !== undefined && !finalizers.includes(FINALIZER);
}
