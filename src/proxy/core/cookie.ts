/** What a cookie is made of beside its value. */
export interface CookieShape {
  readonly name: string;
  readonly path: string;
  readonly attributes: readonly (readonly [name: string, value: string])[];
}

/** A cookie of the request (RFC 6265 §4.2); undefined when absent or empty. */
export function cookieValue(header: string, name: string): string | undefined {
  for (const pair of header.split(";")) {
    const split = pair.indexOf("=");
    if (split < 0 || pair.slice(0, split).trim() !== name) continue;
    const value = pair
      .slice(split + 1)
      .trim()
      .replace(/^"(.*)"$/, "$1");
    return value === "" ? undefined : value;
  }
  return undefined;
}

/** A Set-Cookie value as Envoy writes it; `ttlSeconds` 0 = for the client's session. */
export function cookieOf(
  { name, path, attributes }: CookieShape,
  ttlSeconds: number,
  value: string,
): string {
  return [
    `${name}="${value}"`,
    ...(ttlSeconds === 0 ? [] : [`Max-Age=${ttlSeconds}`]),
    ...(path === "" ? [] : [`Path=${path}`]),
    ...attributes.map(([key, text]) => (text === "" ? key : `${key}=${text}`)),
    "HttpOnly",
  ].join("; ");
}
