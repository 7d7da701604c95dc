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

/** How exactly a pattern names a host: exact names first, then the longer wildcard. */
export function specificity(pattern: string): number {
  return pattern.startsWith("*") ? pattern.length : Number.MAX_SAFE_INTEGER;
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
