import type { AuthorizationRule } from "../../../api/index.ts";
import type { MeshModel } from "../model.ts";
import { type MeshAuthorizationPolicy, policiesFor } from "../model-security.ts";
import type { Workload } from "../model-workloads.ts";
import { referenceTo } from "./reference.ts";
import { ruleWords } from "./rule-words.ts";

/** A policy that counts for a workload, in words. */
export interface PolicyOverview {
  readonly action: MeshAuthorizationPolicy["action"];
  /** `namespace/name` */
  readonly policy: string;
  readonly isDryRun: boolean;
  /** What each of its rules is about; empty = it matches nothing. */
  readonly rules: readonly string[];
}

/** The order in which actions are asked (Istio). */
const ORDER = ["AUDIT", "DENY", "ALLOW"];

/** The AuthorizationPolicies of a workload, in the order in which they count. */
export function authorizationOverview(
  model: MeshModel,
  workload: Workload,
): readonly PolicyOverview[] {
  return policiesFor(model.authorizationPolicies, workload, model.rootNamespace)
    .map((policy) => ({
      action: policy.action,
      policy: referenceTo(policy),
      isDryRun: policy.isDryRun,
      rules: policy.rules.map(ruleInWords),
    }))
    .sort((a, b) => ORDER.indexOf(a.action) - ORDER.indexOf(b.action));
}

function ruleInWords(rule: AuthorizationRule): string {
  const words = ruleWords(rule);
  return words.length === 0 ? "every request" : words.join("; ");
}
