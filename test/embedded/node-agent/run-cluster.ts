/** Runs a cluster on the data directory given as argument until it is killed; prints its URL. */
import { startCluster } from "../../../src/embedded/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";

const cluster = await startCluster({
  dataDir: process.argv[2] ?? "",
  apiPort: 0,
  imageMap: [],
  network: "loopback",
  logger: createLogger("test", "error"),
  clock: systemClock,
});
process.stdout.write(`${cluster.apiUrl}\n`);
