/** Which upgrades are allowed, by their type in lower case; `connect` stands for the method CONNECT. */
export type UpgradeRules = ReadonlyMap<string, boolean>;

/** No rules. */
export const NO_UPGRADES: UpgradeRules = new Map();

/**
 * What a request wants of its connection beyond HTTP, or undefined: `connect`, or the value of its
 * Upgrade field in lower case. `h2c` is only ignored, as any server may (RFC 9110 §7.8).
 */
export function wantedUpgrade(method: string, upgrade: string | undefined): string | undefined {
  if (method === "CONNECT") return "connect";
  const type = upgrade?.toLowerCase();
  return type === "h2c" ? undefined : type;
}

/** Whether an upgrade is allowed: the route's word goes before the connection manager's, as in Envoy. */
export function allowsUpgrade(
  type: string,
  route: UpgradeRules | undefined,
  manager: UpgradeRules | undefined,
): boolean {
  return route?.get(type) ?? manager?.get(type) ?? false;
}
