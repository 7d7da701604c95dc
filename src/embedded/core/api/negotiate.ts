/** How a client wants an answer; everything is JSON underneath. */
export interface Representation {
  readonly kind: "Object" | "Table" | "PartialObjectMetadata";
  readonly mediaType: "application/json" | "application/yaml";
  /** Of Table and PartialObjectMetadata: `v1` or `v1beta1` of meta.k8s.io. */
  readonly version: string;
}

export const OFFERED = ["application/json", "application/yaml"];

/** One alternative of an Accept header. */
export interface MediaRange {
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** The alternatives of an Accept header, best first (by q, then as written). */
export function parseAccept(header: string | undefined): readonly MediaRange[] {
  const ranges = (header ?? "").trim() === "" ? ["*/*"] : (header ?? "").split(",");
  return ranges
    .map((range) => {
      const [type = "", ...parts] = range.split(";").map((part) => part.trim());
      const parameters = Object.fromEntries(
        parts.map((part) => {
          const [name = "", ...value] = part.split("=");
          return [name.toLowerCase(), value.join("=")];
        }),
      );
      return { type: type.toLowerCase(), parameters };
    })
    .filter(({ parameters }) => Number(parameters["q"] ?? "1") > 0)
    .sort((a, b) => Number(b.parameters["q"] ?? "1") - Number(a.parameters["q"] ?? "1"));
}

/**
 * The first alternative of an Accept header that this server has; undefined when there is none.
 * Protobuf is passed over: every client offers JSON beside it.
 */
export function negotiate(header: string | undefined): Representation | undefined {
  for (const { type, parameters } of parseAccept(header)) {
    const isJson = ["application/json", "*/*", "application/*"].includes(type);
    if (!isJson && type !== "application/yaml") continue;
    const as = parameters["as"];
    const mediaType = isJson ? "application/json" : "application/yaml";
    const version = parameters["v"] ?? "v1";
    if (as === undefined) return { kind: "Object", mediaType, version };
    if (parameters["g"] !== "meta.k8s.io" || !["v1", "v1beta1"].includes(version)) continue;
    if (as === "Table") return { kind: "Table", mediaType, version };
    if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList") {
      return { kind: "PartialObjectMetadata", mediaType, version };
    }
  }
  return undefined;
}
