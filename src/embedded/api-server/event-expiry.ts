import { timestampMs } from "../core/api/age.ts";
import { stringAt } from "../core/api/json.ts";
import type { Cluster } from "./cluster.ts";

const EVENTS = { group: "", plural: "events" };
/** As kube-apiserver's --event-ttl. */
const EVENT_TTL_MS = 3_600_000;
const CHECK_INTERVAL_MS = 60_000;

/** Removes Events an hour after they last happened; the returned function ends that. */
export function expireEvents(cluster: Cluster): () => void {
  const { storage, clock } = cluster;
  const sweep = (): void => {
    const oldestMs = clock.nowMs() - EVENT_TTL_MS;
    for (const event of storage.list(EVENTS)) {
      const times = [
        stringAt(event, "series", "lastObservedTime"),
        stringAt(event, "lastTimestamp"),
        stringAt(event, "eventTime"),
        event.metadata.creationTimestamp,
      ].map((time) => timestampMs(time) ?? 0);
      if (Math.max(...times) < oldestMs) storage.remove(EVENTS, event);
    }
    cancel = clock.schedule(CHECK_INTERVAL_MS, sweep);
  };
  let cancel = clock.schedule(CHECK_INTERVAL_MS, sweep);
  return () => cancel();
}
