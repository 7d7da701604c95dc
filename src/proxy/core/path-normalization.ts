import { pathOf } from "./route.ts";

/** How request paths are brought into one form before anybody matches them. */
export interface PathNormalization {
  /** RFC 3986: dot segments, unreserved characters, backslashes (Envoy: normalize_path). */
  readonly isNormalized: boolean;
  /** Neighbouring slashes become one. */
  readonly mergesSlashes: boolean;
  /** What becomes of `%2F` and `%5C` in a path (Envoy: path_with_escaped_slashes_action). */
  readonly escapedSlashes: "keep" | "reject" | "redirect" | "decode";
}

export type NormalizedTarget =
  | { readonly kind: "accepted"; readonly target: string }
  /** The client should ask for this instead. */
  | { readonly kind: "redirected"; readonly target: string }
  /** `target` is how far it came, for the access log. */
  | { readonly kind: "rejected"; readonly target: string };

const ESCAPED_SLASH = /%2F|%5C/i;

/**
 * A request target (path and query) in the form that is matched and forwarded, in Envoy's order:
 * escaped slashes, normalization, merging. The query stays as it is.
 */
export function normalizeRequestTarget(
  target: string,
  { isNormalized, mergesSlashes, escapedSlashes }: PathNormalization,
): NormalizedTarget {
  let decoded = target;
  let kind: "accepted" | "redirected" = "accepted";
  if (escapedSlashes !== "keep") {
    const path = pathOf(target);
    if (ESCAPED_SLASH.test(path)) {
      decoded = path.replaceAll(/%2F/gi, "/").replaceAll(/%5C/gi, "\\") + target.slice(path.length);
      if (escapedSlashes === "reject") return { kind: "rejected", target: decoded };
      if (escapedSlashes === "redirect") kind = "redirected";
    }
  }
  const normal = isNormalized ? normalizeTarget(decoded) : decoded;
  if (normal === undefined) return { kind: "rejected", target: decoded };
  return { kind, target: mergesSlashes ? mergeSlashes(normal) : normal };
}

/** What Envoy's URL library writes as an escape: characters that no path may hold (RFC 3986 §3.3). */
const NOT_IN_PATHS = /["<>^`{|}]/g;
const UNUSUAL = /[%\\"<>^`{|}]|\/\./;

/**
 * The target with its path normalized (RFC 3986 §6.2.2.2 and §6.2.2.3, as Envoy's normalize_path):
 * unreserved characters decoded, forbidden ones escaped, dot segments resolved (with parameters too:
 * some servers read `..;x` as `..`), backslashes turned. Undefined when an encoded NUL hides in it.
 */
export function normalizeTarget(target: string): string | undefined {
  // The usual target has nothing to normalize.
  if (!UNUSUAL.test(target)) return target;
  let path = pathOf(target);
  const query = target.slice(path.length);
  if (path.includes("%00")) return undefined;
  path = path
    .replaceAll("\\", "/")
    .replace(/%([0-9A-Fa-f]{2})/g, (encoded, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return /[A-Za-z0-9\-._~]/.test(character) ? character : encoded;
    })
    .replace(NOT_IN_PATHS, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return removeDotSegments(path) + query;
}

function removeDotSegments(path: string): string {
  const out: string[] = [];
  const segments = path.split("/");
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    const parameters = segment.indexOf(";");
    const name = parameters < 0 ? segment : segment.slice(0, parameters);
    if (name === "..") {
      if (out.length > 1) out.pop();
      if (isLast) out.push("");
    } else if (name === ".") {
      if (isLast) out.push("");
    } else {
      out.push(segment);
    }
  }
  const joined = out.join("/");
  return joined === "" ? "/" : joined;
}

/**
 * The target with neighbouring slashes of its path made one. Envoy keeps a first and a last slash,
 * even when nothing stands between them.
 */
export function mergeSlashes(target: string): string {
  if (!target.includes("//")) return target;
  const path = pathOf(target);
  if (!path.includes("//")) return target;
  const names = path.split("/").filter((name) => name !== "");
  return `/${names.join("/")}${path.endsWith("/") ? "/" : ""}${target.slice(path.length)}`;
}
