import { field, listField, textField } from "./config-dump.ts";

/** An AuthorizationPolicy as a proxy has it: an entry of an RBAC filter for each of its rules. */
export interface RbacPolicy {
  readonly action: "ALLOW" | "DENY" | "AUDIT";
  /** `namespace/name`; "" for a filter that has no policy, and so lets nothing through. */
  readonly policy: string;
  readonly isDryRun: boolean;
  /** How many rules the proxy has of it. */
  readonly rules: number;
}

/** Istio's names of entries: `ns[default]-policy[deny-all]-rule[0]`. */
const ENTRY = /^ns\[(.+?)\]-policy\[(.+)\]-rule\[(\d+)\]$/;
const ORDER = ["AUDIT", "DENY", "ALLOW"];

/** The policies in the RBAC filters, of HTTP and of connections, of a proxy's listeners. */
export function rbacPolicies(listeners: readonly unknown[]): readonly RbacPolicy[] {
  const found = new Map<string, { policy: RbacPolicy; rules: Set<string> }>();
  for (const config of listeners.flatMap(rbacFilters)) {
    for (const [name, isDryRun] of [
      ["rules", false],
      ["shadow_rules", true],
    ] as const) {
      const rules = field(config, name);
      if (rules === undefined) continue;
      const action = actionOf(textField(rules, "action"));
      const entries = Object.keys((field(rules, "policies") ?? {}) as object);
      if (entries.length === 0) note(found, { action, policy: "", isDryRun, rules: 0 }, "");
      for (const entry of entries) {
        const [, namespace = "", policy = entry, rule = ""] = ENTRY.exec(entry) ?? [];
        const full = namespace === "" ? policy : `${namespace}/${policy}`;
        note(found, { action, policy: full, isDryRun, rules: 0 }, rule);
      }
    }
  }
  const all = [...found.values()].map(({ policy, rules }) => ({ ...policy, rules: rules.size }));
  // The filter of connections lacks what asks for HTTP: that says nothing beside the one for HTTP.
  const isTold = ({ action, isDryRun }: RbacPolicy): boolean =>
    all.some((each) => each.policy !== "" && each.action === action && each.isDryRun === isDryRun);
  return all
    .filter((each) => each.policy !== "" || !isTold(each))
    .sort(
      (a, b) => ORDER.indexOf(a.action) - ORDER.indexOf(b.action) || (a.policy < b.policy ? -1 : 1),
    );
}

function note(
  found: Map<string, { policy: RbacPolicy; rules: Set<string> }>,
  policy: RbacPolicy,
  rule: string,
): void {
  const key = `${policy.action} ${policy.policy} ${policy.isDryRun}`;
  const known = found.get(key) ?? { policy, rules: new Set() };
  known.rules.add(rule);
  found.set(key, known);
}

function rbacFilters(listener: unknown): readonly unknown[] {
  const chains = [...listField(listener, "filter_chains"), field(listener, "default_filter_chain")];
  return chains
    .flatMap((chain) => listField(chain, "filters"))
    .flatMap((filter) => [filter, ...listField(filter, "typed_config", "http_filters")])
    .map((filter) => field(filter, "typed_config"))
    .filter((config) => /\.rbac\.v3\.RBAC$/.test(textField(config, "@type")));
}

/** protobuf JSON leaves out ALLOW, the default. */
function actionOf(text: string): RbacPolicy["action"] {
  if (text === "DENY") return "DENY";
  return text === "LOG" ? "AUDIT" : "ALLOW";
}
