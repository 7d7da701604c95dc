import { createInterface } from "node:readline/promises";
import type { CommandIo } from "../command.ts";

/** Asks on the terminal; anything but y or yes, and the end of the input, is a no. */
export async function confirmed(question: string, { stdout, signal }: CommandIo): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: stdout });
  try {
    const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
    const answer = await Promise.race([lines.question(question, { signal }), ended]);
    const isYes = /^y(es)?$/i.test(answer.trim());
    if (!isYes) stdout.write("Cancelled.\n");
    return isYes;
  } finally {
    lines.close();
  }
}
