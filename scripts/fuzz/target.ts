import type { Random } from "./random.ts";

/** One piece of code under fuzzing. */
export interface FuzzTarget {
  readonly name: string;
  /** Makes one input and checks what the code does with it. Throws FuzzFailure when it is wrong. */
  run(random: Random): void;
}

/** A broken promise of the code under test, with the input that broke it. */
export class FuzzFailure extends Error {
  readonly input: string;

  constructor(message: string, input: string | Buffer, cause?: unknown) {
    super(message, { cause });
    this.input = typeof input === "string" ? input : input.toString("latin1");
  }
}

/** Throws FuzzFailure unless the condition holds. */
export function promise(
  condition: boolean,
  message: string,
  input: string | Buffer,
): asserts condition {
  if (!condition) throw new FuzzFailure(message, input);
}
