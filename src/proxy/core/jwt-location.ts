import type { TokenLocation } from "./jwt.ts";
import { queryValues } from "./route.ts";

/** Where tokens may be. */
export interface TokenCarrier {
  /** Path and query. */
  readonly target: string;
  /** The first value of a header. */
  first(name: string): string | undefined;
  /** All values of a header, joined. */
  joined(name: string): string | undefined;
}

/** What stands at a location; undefined for nothing. */
export function tokenAt(location: TokenLocation, request: TokenCarrier): string | undefined {
  switch (location.kind) {
    case "header": {
      const value = request.first(location.name);
      if (value === undefined || location.prefix === "") return value;
      // Envoy looks for the prefix anywhere and takes what could be a token behind it.
      const at = value.indexOf(location.prefix);
      if (at < 0) return undefined;
      return /^[^\s,;"]*/.exec(value.slice(at + location.prefix.length).trimStart())?.[0];
    }
    case "query": {
      const query = request.target.indexOf("?");
      return query < 0
        ? undefined
        : queryValues(request.target.slice(query + 1)).get(location.name);
    }
    case "cookie":
      return cookieValue(request.joined("cookie") ?? "", location.name);
  }
}

function cookieValue(cookies: string, name: string): string | undefined {
  for (const pair of cookies.split(";")) {
    const split = pair.indexOf("=");
    if (split >= 0 && pair.slice(0, split).trim() === name) {
      return pair
        .slice(split + 1)
        .trim()
        .replace(/^"(.*)"$/, "$1");
    }
  }
  return undefined;
}
