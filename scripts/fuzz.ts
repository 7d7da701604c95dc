/**
 * `node scripts/fuzz.ts [--seconds N] [--seed S]`: random mutations of what comes from outside (HTTP/1
 * and HTTP/2, xDS, ClientHello, paths, formats, expressions) against the promises of the code that
 * reads it. Ten minutes by default. Exit code 1 for a broken promise or a hang; the seed it prints,
 * given again with `--seconds 0`, begins with the input that did it.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz/run.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [seed, seconds] = [Number(values.seed), Number(values.seconds)];
if (!Number.isSafeInteger(seed) || !(seconds >= 0)) {
  console.error("usage: node scripts/fuzz.ts [--seconds N] [--seed S]");
  process.exit(2);
}
console.log(`fuzzing for ${seconds} s with seed ${seed}`);
const outcome = await fuzz(seed, seconds);
if (outcome.kind === "done") {
  console.table(outcome.inputs);
  process.exit(0);
}
console.error(`${outcome.target} with seed ${outcome.seed}: ${outcome.message}`);
console.error(`input: ${JSON.stringify(outcome.input)}`);
process.exit(1);
