import type { KubeObject } from "../../../../api/index.ts";
import { messageOf } from "../../../../base/index.ts";
import type { AnalysisContext, Analyzer, Finding } from "../context.ts";

/** What the validating webhook refuses or warns of, and what the control plane leaves out. */
export const schemaAnalyzer: Analyzer = {
  name: "schema",
  description: "invalid resources, fields without effect, and what the control plane leaves out",
  codes: ["IST0101", "IST0106", "IST0133", "SRN0009"],
  *analyze(context) {
    const told = new Set<string>();
    for (const object of context.all) {
      for (const finding of schemaFindings(object, context.check)) {
        told.add(`${keyOf(object)} ${finding.message}`);
        yield finding;
      }
    }
    yield* modelFindings(context, told);
  },
};

/** What `check` says of one resource: an error for each bad field, or a warning for each without effect. */
export function* schemaFindings(
  object: KubeObject,
  check: AnalysisContext["check"],
): Generator<Finding> {
  try {
    for (const message of check(object)) {
      yield { code: "IST0133", object, message, path: pathIn(message) };
    }
  } catch (error) {
    const { namespace = "default", name } = object.metadata;
    const text = messageOf(error).replace(`${object.kind} ${namespace}/${name}: `, "");
    for (const message of text.split("; ")) {
      yield { code: "IST0106", object, message, path: pathIn(message) };
    }
  }
}

/** The field that a message begins with: `spec.http[0].route: …`. */
function pathIn(message: string): readonly (string | number)[] {
  const [path = ""] = /^spec(?:\.[\w-]+|\[\d+\])*/.exec(message) ?? [];
  return [...path.matchAll(/[\w-]+/g)].map(([part]) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** Problems that other analyzers name by codes of their own. */
const ELSEWHERE = [
  /is not a service; requests to it get 503$/,
  /which no DestinationRule defines; requests to it get 503$/,
  /already has the older VirtualService/,
];
const MISSING = /is not served: there is no /;

function* modelFindings(context: AnalysisContext, told: ReadonlySet<string>): Generator<Finding> {
  const objects = new Map(context.all.map((object) => [keyOf(object), object]));
  for (const { kind, namespace, name, message } of context.model.problems) {
    const key = `${kind} ${namespace || "default"}/${name}`;
    const object = objects.get(key);
    if (object === undefined || ELSEWHERE.some((pattern) => pattern.test(message))) continue;
    // Invalid resources and fields without effect were named above.
    if (told.has(`${key} ${message}`) || message.startsWith(`${key}: `)) continue;
    const code = MISSING.test(message) ? "IST0101" : "SRN0009";
    yield { code, object, message, path: pathIn(message) };
  }
}

function keyOf({ kind, metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace ?? "default"}/${metadata.name}`;
}
