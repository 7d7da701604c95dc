import type { HttpCase } from "./case.ts";
import { CHUNKS } from "./chunks.ts";
import { FIELDS } from "./fields.ts";
import { FRAMING } from "./framing.ts";
import { REQUEST_LINES } from "./request-line.ts";
import { TARGETS } from "./target.ts";

/** Everything that has been thought of. */
export const CORPUS: readonly HttpCase[] = [
  ...REQUEST_LINES,
  ...TARGETS,
  ...FRAMING,
  ...CHUNKS,
  ...FIELDS,
];

/** The case's bytes with its own names for the two targets, so that what is seen can be told apart. */
export function bytesOf(subject: HttpCase, index: number): Buffer {
  const text = subject.bytes
    .replaceAll("/first", nameOf("/first", index))
    .replaceAll("/smuggled", nameOf("/smuggled", index));
  return Buffer.from(text, "latin1");
}

/** The name a target of a case goes by in run number `index`; as long as the original. */
export function nameOf(target: string, index: number): string {
  const number = String(index).padStart(4, "0");
  return target.replace("/first", `/c${number}`).replace("/smuggled", `/smug${number}`);
}
