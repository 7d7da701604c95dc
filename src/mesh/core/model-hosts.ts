import { SERVICE_DOMAIN } from "./model-services.ts";

/**
 * A host of a resource in `namespace` as a full name: a name without dots is a service of that
 * namespace (Istio), `name.ns` and `name.ns.svc` are completed when they name a service.
 */
export function resolveHost(
  host: string,
  namespace: string,
  isService: (host: string) => boolean,
): string {
  const lower = host.toLowerCase();
  if (lower === "*" || lower.startsWith("*.")) return lower;
  if (!lower.includes(".")) return `${lower}.${namespace}.${SERVICE_DOMAIN}`;
  if (isService(lower)) return lower;
  const completed = `${lower.replace(/\.svc$/, "")}.${SERVICE_DOMAIN}`;
  return isService(completed) ? completed : lower;
}

/** Whether `pattern` (a full name, `*.suffix` or `*`) covers `host`. */
export function coversHost(pattern: string, host: string): boolean {
  if (pattern === "*" || pattern === host) return true;
  return (
    pattern.startsWith("*") && host.length >= pattern.length && host.endsWith(pattern.slice(1))
  );
}

/**
 * Finds what names a host most exactly: by its full name, else by the longest wildcard; the first of
 * the list among equals. Cost: the number of wildcards.
 */
export function hostLookup<T>(
  all: readonly T[],
  hostsOf: (each: T) => readonly string[],
): (host: string) => T | undefined {
  const exact = new Map<string, T>();
  const wildcards: { readonly pattern: string; readonly value: T }[] = [];
  for (const value of all) {
    for (const host of hostsOf(value)) {
      if (host.startsWith("*")) wildcards.push({ pattern: host, value });
      else if (!exact.has(host)) exact.set(host, value);
    }
  }
  // Stable, so that the first of equally long ones stays first.
  wildcards.sort((a, b) => b.pattern.length - a.pattern.length);
  return (host) =>
    exact.get(host) ?? wildcards.find(({ pattern }) => coversHost(pattern, host))?.value;
}

/** Whether a resource of `namespace` with this `exportTo` is seen from `client`. */
export function isVisible(
  resource: { readonly namespace: string; readonly exportTo: readonly string[] },
  client: string,
): boolean {
  return resource.exportTo.some(
    (target) =>
      target === "*" || target === client || (target === "." && resource.namespace === client),
  );
}
