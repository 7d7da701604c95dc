import type { z } from "zod";

/** What is wrong with a value, and where in it. */
export type Problem = readonly [path: readonly PropertyKey[], message: string];

/** A refinement of rules that concern several fields: every problem becomes an issue of its own. */
export function rules<Value>(
  find: (value: Value) => Iterable<Problem>,
): (value: Value, context: z.RefinementCtx) => void {
  return (value, context) => {
    for (const [path, message] of find(value)) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  };
}
