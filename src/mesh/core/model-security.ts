import type {
  AuthorizationPolicySpec,
  AuthorizationRule,
  JwtRule,
  KubeObject,
  RequestAuthenticationSpec,
  StringMap,
} from "../../api/index.ts";

/** What both kinds of policy have: where they apply. */
interface Scoped {
  readonly name: string;
  readonly namespace: string;
  /** undefined = every workload of the namespace (or of the mesh, in the root namespace). */
  readonly matchLabels: StringMap | undefined;
}

/** An AuthorizationPolicy; the model holds them oldest first. */
export interface MeshAuthorizationPolicy extends Scoped {
  readonly action: "ALLOW" | "DENY" | "AUDIT";
  readonly rules: readonly AuthorizationRule[];
  /** Annotation `istio.io/dry-run: "true"`: counted and logged, never enforced. */
  readonly isDryRun: boolean;
}

/** A RequestAuthentication; the model holds them oldest first. */
export interface MeshRequestAuthentication extends Scoped {
  readonly jwtRules: readonly JwtRule[];
}

function scopeOf(object: KubeObject, labels: StringMap | undefined): Scoped {
  return {
    name: object.metadata.name,
    namespace: object.metadata.namespace ?? "default",
    matchLabels: Object.keys(labels ?? {}).length > 0 ? labels : undefined,
  };
}

/**
 * CUSTOM would ask an external authorizer. There is none to ask, so what it is for is denied, as Istio
 * does when the provider cannot be found: nobody is let in unasked.
 */
export function authorizationPolicyFrom(
  object: KubeObject,
  spec: AuthorizationPolicySpec,
): MeshAuthorizationPolicy {
  const action = spec.action ?? "ALLOW";
  return {
    ...scopeOf(object, spec.selector?.matchLabels),
    action: action === "CUSTOM" ? "DENY" : action,
    rules: spec.rules ?? [],
    isDryRun: object.metadata.annotations?.["istio.io/dry-run"] === "true",
  };
}

export function requestAuthenticationFrom(
  object: KubeObject,
  spec: RequestAuthenticationSpec,
): MeshRequestAuthentication {
  return { ...scopeOf(object, spec.selector?.matchLabels), jwtRules: spec.jwtRules ?? [] };
}

/**
 * The policies that count for a workload: those of its namespace and of the root namespace whose
 * selector fits; all of them together (Istio: authorization policies and JWT rules are joined).
 */
export function policiesFor<Policy extends Scoped>(
  policies: readonly Policy[],
  workload: { readonly namespace: string; readonly labels: StringMap },
  rootNamespace: string,
): readonly Policy[] {
  return policies.filter(
    ({ namespace, matchLabels }) =>
      (namespace === workload.namespace || namespace === rootNamespace) &&
      Object.entries(matchLabels ?? {}).every(([key, value]) => workload.labels[key] === value),
  );
}
