import { setFlagsFromString } from "node:v8";
import { parentPort, workerData } from "node:worker_threads";
import { enableLinearRegExpFallback } from "../../src/proxy/regexp-engine.ts";
import { DOWNGRADE } from "./downgrade.ts";
import { HTTP1_TARGETS } from "./http1.ts";
import { HTTP2_TARGETS } from "./http2.ts";
import { JWT } from "./jwt.ts";
import { createRandom } from "./random.ts";
import { FuzzFailure, type FuzzTarget } from "./target.ts";
import { TEXT_TARGETS } from "./text.ts";
import { XDS_TARGETS } from "./xds.ts";

/** Add a target here: it gets its share of the time at once. */
const TARGETS: readonly FuzzTarget[] = [
  ...HTTP1_TARGETS,
  ...HTTP2_TARGETS,
  DOWNGRADE,
  JWT,
  ...TEXT_TARGETS,
  ...XDS_TARGETS,
];

/** What the main thread gives. `progress`: [seed of the current input, target's index, inputs so far]. */
export interface FuzzWork {
  readonly seed: number;
  readonly seconds: number;
  readonly progress: Int32Array<SharedArrayBuffer>;
}

/** What it gets back. */
export type FuzzResult =
  | { readonly kind: "targets"; readonly names: readonly string[] }
  | { readonly kind: "done"; readonly inputs: Readonly<Record<string, number>> }
  | {
      readonly kind: "failure";
      readonly target: string;
      readonly seed: number;
      readonly message: string;
      readonly input: string;
    };

// Long enough to amortise looking at the clock, short enough to keep to the time.
const INPUTS_PER_TURN = 50;

function main({ seed, seconds, progress }: FuzzWork): void {
  // Lets the expression target ask for the linear engine by name (flag l).
  setFlagsFromString("--enable-experimental-regexp-engine");
  enableLinearRegExpFallback();
  tell({ kind: "targets", names: TARGETS.map(({ name }) => name) });
  const inputs: Record<string, number> = {};
  const until = performance.now() + seconds * 1000;
  let next = seed;
  do {
    for (const [index, target] of TARGETS.entries()) {
      for (let turn = 0; turn < INPUTS_PER_TURN; turn += 1) {
        next = (next + 1) | 0;
        progress[0] = next;
        progress[1] = index;
        progress[2] = (progress[2] ?? 0) + 1;
        try {
          target.run(createRandom(next));
        } catch (error) {
          tell(failureOf(target, next, error));
          return;
        }
      }
      inputs[target.name] = (inputs[target.name] ?? 0) + INPUTS_PER_TURN;
    }
  } while (performance.now() < until);
  tell({ kind: "done", inputs });
}

function failureOf(target: FuzzTarget, seed: number, error: unknown): FuzzResult {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.stack : "";
  const input = error instanceof FuzzFailure ? error.input : "";
  return { kind: "failure", target: target.name, seed, message: `${stack}\n${cause}`, input };
}

function tell(result: FuzzResult): void {
  parentPort?.postMessage(result);
}

main(workerData as FuzzWork);
