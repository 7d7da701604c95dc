import { usageError } from "../usage.ts";

/** What is asked for: `reviews:9080`, or a URL whose path counts unless another one is given. */
export function parseTarget(
  to: string,
  path: string,
): { readonly authority: string; readonly target: string; readonly scheme: "http" | "https" } {
  if (/^https?:\/\//.test(to)) {
    if (!URL.canParse(to)) throw usageError(`--to must be HOST[:PORT] (found ${to})`);
    const { host, pathname, search } = new URL(to);
    const target = checkedPath(path === "/" ? `${pathname}${search}` : path);
    return { authority: host, target, scheme: to.startsWith("https:") ? "https" : "http" };
  }
  const authority = to.replace(/^(?:svc|services?)\//, "");
  const port = /:(\d+)$/.exec(authority)?.[1];
  if (!/^[^\s/?#:]+(?::\d{1,5})?$/.test(authority) || Number(port ?? 1) > 65_535) {
    throw usageError(`--to must be HOST[:PORT] (found ${to})`);
  }
  return { authority, target: checkedPath(path), scheme: "http" };
}

function checkedPath(path: string): string {
  if (/^\/[\x21-\x7e]*$/.test(path)) return path;
  throw usageError(`--path must begin with / and hold no spaces (found ${path})`);
}

/** `name=value` or `name: value`, the names in lower case. Throws SERIN_USAGE. */
export function parseHeaders(all: readonly string[]): readonly (readonly [string, string])[] {
  return all.map((text) => {
    const found = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*[=:]\s*(.*)$/s.exec(text);
    const [, name = "", value = ""] = found ?? [];
    if (found === null || name.toLowerCase() === "host") {
      throw usageError(`--header must be NAME=VALUE, and the host is --to (found ${text})`);
    }
    return [name.toLowerCase(), value];
  });
}

/** `role=admin`; one that is repeated is a list, `a.b=c` is within `a`. Undefined without any. */
export function parseClaims(all: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  if (all.length === 0) return undefined;
  const claims: Record<string, unknown> = {};
  for (const text of all) {
    const equals = text.indexOf("=");
    if (equals < 1) throw usageError(`--claim must be NAME=VALUE (found ${text})`);
    const path = text.slice(0, equals).split(".");
    const last = path.pop() ?? "";
    let place = claims;
    for (const key of path) {
      const inner = place[key];
      const next =
        typeof inner === "object" && inner !== null && !Array.isArray(inner) ? inner : {};
      place[key] = next;
      place = next as Record<string, unknown>;
    }
    const before = place[last];
    const value = text.slice(equals + 1);
    place[last] =
      before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return claims;
}

/** Whatever could be a token in these texts: three parts of base64url. */
export function tokensIn(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.flatMap((text) => text.match(/[\w-]+\.[\w-]+\.[\w-]+/g) ?? []))];
}
