import type { Clock, Logger } from "../../runtime/index.ts";
import type { ImageMap } from "../core/node-agent/image-map.ts";
import type { LocalApi } from "../local-api.ts";
import type { ClusterNetwork } from "./cluster-network.ts";
import type { EventRecorder } from "./events.ts";
import type { LogStore } from "./log-store.ts";
import type { ProcessLedger } from "./process-ledger.ts";

/** What every pod on the node shares. */
export interface NodeContext {
  readonly api: LocalApi;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly imageMap: ImageMap;
  readonly events: EventRecorder;
  readonly logs: LogStore;
  readonly ledger: ProcessLedger;
  readonly network: ClusterNetwork;
  /** `<dir>/<uid>` is a pod's own directory. */
  readonly podsDir: string;
  readonly capacity: Readonly<Record<string, number>>;
}
