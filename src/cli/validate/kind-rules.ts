import { allCustomResourceDefinitions, type KubeObject, nearestOf } from "../../api/index.ts";
import { isChecked, templateOf } from "../../mesh/index.ts";

/** What is wrong with a resource besides its spec. */
export interface KindProblem {
  readonly isError: boolean;
  readonly message: string;
  readonly path: readonly (string | number)[];
}

interface Served {
  readonly group: string;
  readonly kind: string;
  readonly versions: readonly string[];
}

const SERVED: readonly Served[] = allCustomResourceDefinitions().map((definition) => {
  const { group, names, versions } = definition["spec"] as {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string }[];
  };
  return { group, kind: names.kind, versions: versions.map(({ name }) => name) };
});
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const MAX_NAME_CHARACTERS = 253;

/**
 * Whether a resource can be what it says: of a kind and version that there is, with a name that can be
 * one. Of Kubernetes' kinds, what Istio's documentation asks of the pods and services of a mesh.
 */
export function kindProblems(object: KubeObject): readonly KindProblem[] {
  return [...nameProblems(object), ...versionProblems(object), ...workloadProblems(object)];
}

function nameProblems({ metadata: { name } }: KubeObject): readonly KindProblem[] {
  if (NAME.test(name) && name.length <= MAX_NAME_CHARACTERS) return [];
  const message = `metadata.name: must be a DNS name in lower case (found ${JSON.stringify(name)})`;
  return [{ isError: true, message, path: ["metadata", "name"] }];
}

function versionProblems(object: KubeObject): readonly KindProblem[] {
  const { apiVersion, kind } = object;
  const [group = "", version = ""] = apiVersion.split("/");
  const ofGroup = SERVED.filter((each) => each.group === group);
  if (ofGroup.length === 0) return unknownGroup(group);
  const known = ofGroup.find((each) => each.kind === kind);
  if (known === undefined) {
    // Not a slip but a kind of Istio's that nothing here reads: valid there, and nothing here.
    const kinds = ofGroup.map((each) => each.kind);
    const nearest = nearestOf(kind, kinds);
    const meant =
      nearest === undefined ? ` (known: ${kinds.join(", ")})` : `, did you mean ${nearest}?`;
    const message = `kind: ${kind} of ${group} is not known here and has no effect${meant}`;
    return [{ isError: nearest !== undefined, message, path: ["kind"] }];
  }
  if (known.versions.includes(version) || !isChecked(object)) return [];
  const message = `apiVersion: ${kind} is served in ${known.versions.join(", ")} (found ${version})`;
  return [{ isError: true, message, path: ["apiVersion"] }];
}

function unknownGroup(group: string): readonly KindProblem[] {
  if (!group.endsWith("istio.io")) return [];
  const message = `apiVersion: nothing here reads ${group}: the resource has no effect`;
  return [{ isError: false, message, path: ["apiVersion"] }];
}

/** Labels that metrics and traces tell workloads apart by. */
const TELEMETRY_LABELS = [
  ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"],
  ["version", "app.kubernetes.io/version", "service.istio.io/canonical-revision"],
] as const;

function workloadProblems(object: KubeObject): readonly KindProblem[] {
  const template = object.kind === "Pod" ? undefined : templateOf(object);
  if (template === undefined) return [];
  const metadata = template["metadata"] as { readonly labels?: object } | undefined;
  const labels = Object.keys(metadata?.labels ?? {});
  return TELEMETRY_LABELS.filter((names) => !names.some((name) => labels.includes(name))).map(
    (names) => ({
      isError: false,
      message: `the pods have no label ${names[0]} (or ${names.slice(1).join(", ")}), by which metrics and traces tell them apart`,
      path: ["spec", "template", "metadata", "labels"],
    }),
  );
}
