import { formatPath, type Issue, SerinError } from "../../../base/index.ts";

/** A place in a resource while it is compiled; everything wrong with the resource is collected. */
export interface Scope {
  at(...keys: PropertyKey[]): Scope;
  /** Records a problem at this place. */
  fail(message: string): void;
  /** Records a field that works but is not honoured yet; logged, never refused. */
  warn(message: string): void;
}

export interface Findings {
  readonly issues: Issue[];
  readonly warnings: Issue[];
}

/** A scope at the root of a resource that collects into `findings`. */
export function createScope(findings: Findings, path: readonly PropertyKey[] = []): Scope {
  return {
    at: (...keys) => createScope(findings, [...path, ...keys]),
    fail: (message) => void findings.issues.push({ path: formatPath(path), message }),
    warn: (message) => void findings.warnings.push({ path: formatPath(path), message }),
  };
}

/**
 * Runs a compiler over one resource and gives what it built. Throws SERIN_INVALID_XDS naming every
 * bad field: `RouteConfiguration reviews: virtual_hosts[0].domains[1]: …`.
 */
export function compileResource<T>(
  subject: string,
  compile: (scope: Scope) => T,
  onWarning: (message: string) => void = () => {},
): T {
  const findings: Findings = { issues: [], warnings: [] };
  const value = compile(createScope(findings));
  if (findings.issues.length > 0) {
    throw new SerinError("SERIN_INVALID_XDS", `${subject}: ${listed(findings.issues)}`, {
      source: "remote",
    });
  }
  for (const warning of findings.warnings) onWarning(`${subject}: ${listed([warning])}`);
  return value;
}

function listed(issues: readonly Issue[]): string {
  return issues.map((i) => (i.path === "" ? i.message : `${i.path}: ${i.message}`)).join("; ");
}
