import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "../../scripts/fuzz/run.ts";

/** `FUZZ_SECONDS` and `FUZZ_SEED` repeat a run; see scripts/fuzz.ts. */
const SECONDS = Number(process.env["FUZZ_SECONDS"] ?? 30);
const SEED = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

test(`whatever comes from outside is taken or refused (seed ${SEED})`, async () => {
  const outcome = await fuzz(SEED, SECONDS);
  assert.equal(outcome.kind, "done", JSON.stringify({ startedWith: SEED, ...outcome }));
});
