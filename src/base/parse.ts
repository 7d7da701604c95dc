import type { ZodError } from "zod";
import { SerinError } from "./errors.ts";

/** One thing wrong with a document. `path` reads `spec.http[0].route[1].weight`. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/** A path as people write it: `["spec","http",0]` becomes `spec.http[0]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let out = "";
  for (const key of path) {
    if (typeof key === "number") out += `[${key}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(String(key)))
      out += out === "" ? String(key) : `.${String(key)}`;
    else out += `[${JSON.stringify(String(key))}]`;
  }
  return out;
}

/** Every problem zod found, one entry per bad path; unknown keys each get their own. */
export function issuesOf(error: ZodError): Issue[] {
  return error.issues.flatMap((issue): Issue[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        path: formatPath([...issue.path, key]),
        message: "unknown field",
      }));
    }
    return [{ path: formatPath(issue.path), message: issue.message }];
  });
}

/**
 * One error that lists every bad field of a document.
 * `subject` names the document: `Canary shop/cart`.
 */
export function invalidDocument(subject: string, issues: readonly Issue[]): SerinError {
  const list = issues
    .map((i) => (i.path === "" ? i.message : `${i.path}: ${i.message}`))
    .join("; ");
  return new SerinError("SERIN_INVALID_RESOURCE", `${subject}: ${list}`, { source: "caller" });
}
