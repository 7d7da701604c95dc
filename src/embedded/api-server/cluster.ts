import type { Clock, Logger } from "../../runtime/index.ts";
import type { PodExec, PodLogs } from "../local-api.ts";
import { Admission } from "./admission.ts";
import type { Credentials } from "./credentials.ts";
import { ListPages } from "./list-pages.ts";
import { Registry } from "./registry.ts";
import { Remover } from "./remover.ts";
import { Storage } from "./storage.ts";
import { Writer } from "./writer.ts";

/** Everything a request may need; one per API server. */
export interface Cluster {
  readonly storage: Storage;
  readonly registry: Registry;
  readonly writer: Writer;
  readonly remover: Remover;
  readonly pages: ListPages;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Set once the node agent runs. */
  podLogs: PodLogs | undefined;
  /** Set once the node agent runs. */
  podExec: PodExec | undefined;
}

/** Opens the data directory and wires the parts. Throws SERIN_DATA_DIR. */
export function openCluster(options: {
  readonly dataDir: string;
  readonly credentials: (dataDir: string) => Credentials;
  readonly clock: Clock;
  readonly logger: Logger;
}): Cluster {
  const { clock, logger } = options;
  const storage = new Storage(options.dataDir);
  try {
    const credentials = options.credentials(options.dataDir);
    const registry = new Registry(storage);
    const admission = new Admission(storage, logger);
    const parts = { storage, registry, admission, clock };
    return {
      storage,
      registry,
      writer: new Writer(parts),
      remover: new Remover(parts),
      pages: new ListPages(),
      credentials,
      clock,
      logger,
      podLogs: undefined,
      podExec: undefined,
    };
  } catch (error) {
    storage.close();
    throw error;
  }
}
