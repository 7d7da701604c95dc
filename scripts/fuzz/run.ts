import { Worker } from "node:worker_threads";
import type { FuzzResult, FuzzWork } from "./worker.ts";

/** No input may take longer: it is a hang, or as good as one. */
const HANG_MS = 10_000;
const POLL_MS = 500;

/** How a run ended. */
export type FuzzOutcome = Exclude<FuzzResult, { readonly kind: "targets" }>;

/**
 * Fuzzes every target in turn in a worker thread for about `seconds`, and watches it from here: an
 * input that takes ten seconds is reported as a failure too. The same seed makes the same inputs.
 */
export async function fuzz(seed: number, seconds: number): Promise<FuzzOutcome> {
  const progress = new Int32Array(new SharedArrayBuffer(12));
  const workerData: FuzzWork = { seed, seconds, progress };
  const worker = new Worker(new URL("worker.ts", import.meta.url), { workerData });
  const { promise, resolve, reject } = Promise.withResolvers<FuzzOutcome>();
  let names: readonly string[] = [];
  worker.on("message", (result: FuzzResult) => {
    if (result.kind === "targets") names = result.names;
    else resolve(result);
  });
  worker.on("error", reject);
  let seenInputs = -1;
  let sinceMs = performance.now();
  const watch = setInterval(() => {
    const inputs = progress[2] ?? 0;
    if (inputs !== seenInputs) {
      seenInputs = inputs;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > HANG_MS) {
      const target = names[progress[1] ?? 0] ?? "";
      resolve({ kind: "failure", target, seed: progress[0] ?? 0, message: "hangs", input: "" });
    }
  }, POLL_MS);
  try {
    return await promise;
  } finally {
    clearInterval(watch);
    await worker.terminate();
  }
}
