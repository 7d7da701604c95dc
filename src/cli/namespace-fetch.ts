import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { messageOf, SerinError } from "../base/index.ts";

/** An answer, read to its end. */
export interface FetchedPage {
  readonly status: number;
  readonly body: string;
}

const MAX_BYTES = 256 * 1024 * 1024;
/** Runs in the pod's network with nothing but Node: asks, and prints what came. */
const SCRIPT = `const [url, method] = process.argv.slice(1);
fetch(url, { method, signal: AbortSignal.timeout(10000) })
  .then(async (response) => process.stdout.write(JSON.stringify({ status: response.status, body: await response.text() })))
  .catch((error) => { console.error(error.cause?.message ?? error.message); process.exitCode = 1; });`;

/**
 * Asks for a page from within a network namespace of this machine, where a pod of `serin up --network
 * netns` has its loopback. Throws SERIN_UNAVAILABLE: it is not there, nobody answers, or only root may.
 */
export async function fetchInNamespace(
  namespace: string,
  url: string,
  method: "GET" | "POST",
): Promise<FetchedPage> {
  const inside = [`--net=/run/netns/${namespace}`, process.execPath, "-e", SCRIPT, url, method];
  try {
    const { stdout } = await promisify(execFile)("nsenter", inside, { maxBuffer: MAX_BYTES });
    return JSON.parse(stdout) as FetchedPage;
  } catch (error) {
    const told = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new SerinError(
      "SERIN_UNAVAILABLE",
      `${url} is not reached in the network namespace ${namespace} (of this machine, for root alone): ${told || messageOf(error)}`,
      { source: "remote", retry: "yes", cause: error },
    );
  }
}
