/** Runs an API server on the data directory given as argument until it is killed; prints its URL. */
import { startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";

const server = await startApiServer({
  dataDir: process.argv[2] ?? "",
  port: 0,
  logger: createLogger("test", "silent"),
  clock: systemClock,
});
process.stdout.write(`${server.url}\n`);
