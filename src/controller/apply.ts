import type { KubeObject, ResourceType } from "../api/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Decision, Effect } from "./core/decision.ts";
import { canonicalJson, objectAt } from "./core/json.ts";
import type { Observation } from "./core/observation.ts";
import { encodeStatus } from "./core/state.ts";

/**
 * Makes a decision true: effects in order, then one status write, then finalizers. Every update carries the
 * resourceVersion it was decided on, so a write by anybody else in between ends the pass with
 * SERIN_CONFLICT. Answers whether the status changed.
 */
export async function apply(
  store: KubeStore,
  type: ResourceType,
  observation: Observation,
  decision: Decision,
  nowMs: number,
): Promise<boolean> {
  for (const effect of decision.effects) await write(store, effect);
  const { canary, state } = observation;
  const { nextState } = decision;
  const oldMessage = objectAt(canary, "status")["message"];
  const message = decision.message ?? (typeof oldMessage === "string" ? oldMessage : "");
  const isSame =
    canonicalJson(nextState) === canonicalJson(state) && message === (oldMessage ?? "");
  const isChanged = !isSame && nextState.kind !== "New";
  let written = canary;
  if (isChanged) {
    const status = encodeStatus(nextState, message, canary["status"], nowMs);
    written = await store.update(type, { ...canary, status }, { subresource: "status" });
  }
  const { finalizers } = decision;
  if (finalizers !== undefined) {
    await store.update(type, { ...written, metadata: { ...written.metadata, finalizers } });
  }
  return isChanged;
}

function write(store: KubeStore, { verb, type, object }: Effect): Promise<KubeObject> {
  return verb === "create" ? store.create(type, object) : store.update(type, object);
}
