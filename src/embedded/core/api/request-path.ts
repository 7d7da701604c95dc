/** Where a URL path of the Kubernetes API points. */
export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  /** "" for cluster-scoped resources and for lists over all namespaces. */
  readonly namespace: string;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/**
 * Parses `/api/v1/…` and `/apis/GROUP/VERSION/…`; undefined when the path names no resource
 * (discovery, health, anything else).
 */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const segments = path.split("/").slice(1);
  if (segments.at(-1) === "") segments.pop();
  const isCore = segments[0] === "api";
  if (!isCore && segments[0] !== "apis") return undefined;
  const [group, version] = isCore ? ["", segments[1]] : [segments[1], segments[2]];
  const rest = segments.slice(isCore ? 2 : 3);
  if (group === undefined || version === undefined || rest.length === 0) return undefined;
  // `namespaces/N/PLURAL…` is namespaced; `namespaces/N` and its subresources are the namespace.
  const isNamespaced =
    rest[0] === "namespaces" &&
    rest.length > 2 &&
    !(isCore && rest.length === 3 && ["status", "finalize"].includes(rest[2] ?? ""));
  const namespace = isNamespaced ? (rest[1] ?? "") : "";
  const [plural, name, ...subresource] = isNamespaced ? rest.slice(2) : rest;
  if (plural === undefined || plural === "") return undefined;
  return {
    group,
    version,
    namespace,
    plural,
    name,
    subresource: subresource.length === 0 ? undefined : subresource.join("/"),
  };
}
