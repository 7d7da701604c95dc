import type { UpgradeRules } from "../upgrade.ts";
import type { Scope } from "./scope.ts";

interface UpgradeConfig {
  readonly upgrade_type?: string | null | undefined;
  readonly enabled?: { readonly value?: boolean | null | undefined } | null | undefined;
}

/** Compiles the upgrade_configs of a connection manager or route; undefined without any. */
export function compileUpgrades(
  configs: readonly UpgradeConfig[] | null | undefined,
  scope: Scope,
): UpgradeRules | undefined {
  if (!configs || configs.length === 0) return undefined;
  const rules = new Map<string, boolean>();
  for (const [i, config] of configs.entries()) {
    const type = (config.upgrade_type ?? "").toLowerCase();
    if (type === "") scope.at(i, "upgrade_type").fail("must not be empty");
    // HTTP/1.1's is RFC 9298; its datagrams would be taken for a stream.
    if (type === "connect-udp") scope.at(i, "upgrade_type").fail("CONNECT-UDP is not supported");
    if (rules.has(type)) scope.at(i, "upgrade_type").fail(`duplicate upgrade ${type}`);
    rules.set(type, config.enabled ? (config.enabled.value ?? false) : true);
  }
  return rules;
}
