/** How a route changes the host that the upstream sees; the first that is set counts. */
export interface HostRewrite {
  readonly literal: string | undefined;
  /** The value of this request header, where it has one. */
  readonly header: string | undefined;
  /** Of the path; `substitution` in JavaScript's notation. */
  readonly pathRegex: { readonly pattern: RegExp; readonly substitution: string } | undefined;
  /** The name of the endpoint, where it has one. */
  readonly isAutomatic: boolean;
  /** The former host goes into x-forwarded-host. */
  readonly appendsForwardedHost: boolean;
}

/** The host that a request gets before an endpoint is chosen; undefined = it stays. `path` without query. */
export function rewrittenHost(
  rewrite: HostRewrite,
  path: string,
  header: (name: string) => string | undefined,
): string | undefined {
  if (rewrite.literal !== undefined) return rewrite.literal;
  if (rewrite.header !== undefined) return header(rewrite.header) || undefined;
  if (rewrite.pathRegex === undefined) return undefined;
  const { pattern, substitution } = rewrite.pathRegex;
  return path.replace(pattern, substitution) || undefined;
}
