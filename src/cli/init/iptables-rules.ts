/** What is captured, and by whom; ports and CIDRs as text, `*` = all. */
export interface CaptureOptions {
  readonly outboundPort: number;
  readonly inboundPort: number;
  /** Whose traffic is the proxy's own and goes out untouched. */
  readonly proxyUids: readonly string[];
  readonly proxyGids: readonly string[];
  /** `*`, or the inbound ports to capture. */
  readonly inboundPorts: readonly string[];
  readonly excludedInboundPorts: readonly string[];
  /** Captured whatever their destination. */
  readonly outboundPorts: readonly string[];
  readonly excludedOutboundPorts: readonly string[];
  /** `*`, or the destinations to capture. */
  readonly cidrs: readonly string[];
  readonly excludedCidrs: readonly string[];
  /** Interfaces of virtual machines: what comes in there is outbound. */
  readonly virtualInterfaces: readonly string[];
  readonly excludedInterfaces: readonly string[];
}

export type Family = "ipv4" | "ipv6";

const CHAINS = ["ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT"] as const;
/** Traffic of ztunnel, never captured. */
const HBONE_PORT = 15008;
const LOOPBACK: Readonly<Record<Family, string>> = { ipv4: "127.0.0.1/32", ipv6: "::1/128" };
/** The address from which the proxy passes inbound connections on to the application. */
const PASSTHROUGH: Readonly<Record<Family, string>> = { ipv4: "127.0.0.6/32", ipv6: "::6/128" };
/** Where our chains are hooked in; the only rules outside them. */
const HOOKS = ["PREROUTING -p tcp -j ISTIO_INBOUND", "OUTPUT -j ISTIO_OUTPUT"] as const;

/**
 * The input of `iptables-restore --noflush` that captures traffic as istio-init does (REDIRECT mode).
 * `current` is what `iptables -t nat -S` says: rules of an earlier run are replaced, in one step.
 * Source: tools/istio-iptables of Istio.
 */
export function captureScript(
  options: CaptureOptions,
  family: Family,
  current: readonly string[],
): string {
  return script([
    // Declaring a chain creates or empties it.
    ...CHAINS.map((chain) => `:${chain} - [0:0]`),
    ...unhook(current),
    ...redirects(options),
    ...inboundRules(options, family),
    ...outboundRules(options, family),
    ...HOOKS.map((hook) => `-A ${hook}`),
  ]);
}

/** The input of `iptables-restore --noflush` that takes all of it back; "" when there is nothing. */
export function cleanScript(current: readonly string[]): string {
  const chains = CHAINS.filter((chain) => current.includes(`-N ${chain}`));
  if (chains.length === 0) return "";
  return script([
    ...unhook(current),
    ...chains.map((chain) => `-F ${chain}`),
    ...chains.map((chain) => `-X ${chain}`),
  ]);
}

function script(lines: readonly string[]): string {
  return ["*nat", ...lines, "COMMIT", ""].join("\n");
}

function unhook(current: readonly string[]): readonly string[] {
  return current
    .filter((line) => /^-A (PREROUTING|OUTPUT) .*-j ISTIO_(INBOUND|OUTPUT)$/.test(line))
    .map((line) => line.replace("-A", "-D"));
}

function redirects({ outboundPort, inboundPort }: CaptureOptions): readonly string[] {
  return [
    `-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports ${outboundPort}`,
    `-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports ${inboundPort}`,
  ];
}

function inboundRules(options: CaptureOptions, family: Family): readonly string[] {
  const rule = (rest: string): string => `-A ISTIO_INBOUND ${rest}`;
  const isAll = options.inboundPorts.includes("*");
  return [
    ...options.excludedInterfaces.map((name) => rule(`-i ${name} -j RETURN`)),
    ...options.virtualInterfaces.flatMap((name) => [
      ...ofFamily(options.excludedCidrs, family).map((cidr) =>
        rule(`-i ${name} -d ${cidr} -j RETURN`),
      ),
      ...destinations(options.cidrs, family).map((to) => rule(`-i ${name}${to} -j ISTIO_REDIRECT`)),
      rule(`-i ${name} -j RETURN`),
    ]),
    rule(`-p tcp --dport ${HBONE_PORT} -j RETURN`),
    ...(isAll
      ? [
          ...options.excludedInboundPorts.map((port) => rule(`-p tcp --dport ${port} -j RETURN`)),
          rule("-p tcp -j ISTIO_IN_REDIRECT"),
        ]
      : options.inboundPorts.map((port) => rule(`-p tcp --dport ${port} -j ISTIO_IN_REDIRECT`))),
  ];
}

function outboundRules(options: CaptureOptions, family: Family): readonly string[] {
  const rule = (rest: string): string => `-A ISTIO_OUTPUT ${rest}`;
  const owners = [
    ...options.proxyUids.map((uid) => `--uid-owner ${uid}`),
    ...options.proxyGids.map((gid) => `--gid-owner ${gid}`),
  ];
  const included = destinations(options.cidrs, family).map((to) =>
    rule(`${to} -j ISTIO_REDIRECT`.trim()),
  );
  return [
    ...options.excludedInterfaces.map((name) => rule(`-o ${name} -j RETURN`)),
    ...options.excludedOutboundPorts.map((port) => rule(`-p tcp --dport ${port} -j RETURN`)),
    rule(`-o lo -s ${PASSTHROUGH[family]} -j RETURN`),
    ...owners.flatMap((owner) => [
      // The proxy calls its own application by the service's address: that is inbound.
      rule(
        `-o lo ! -d ${LOOPBACK[family]} -p tcp ! --dport ${HBONE_PORT} -m owner ${owner} -j ISTIO_IN_REDIRECT`,
      ),
      // The application talks to itself.
      rule(`-o lo -m owner ! ${owner} -j RETURN`),
      rule(`-m owner ${owner} -j RETURN`),
    ]),
    rule(`-d ${LOOPBACK[family]} -j RETURN`),
    ...ofFamily(options.excludedCidrs, family).map((cidr) => rule(`-d ${cidr} -j RETURN`)),
    ...options.outboundPorts.map((port) => rule(`-p tcp --dport ${port} -j ISTIO_REDIRECT`)),
    ...included,
  ];
}

function destinations(cidrs: readonly string[], family: Family): readonly string[] {
  if (cidrs.includes("*")) return [""];
  return ofFamily(cidrs, family).map((cidr) => ` -d ${cidr}`);
}

function ofFamily(cidrs: readonly string[], family: Family): readonly string[] {
  return cidrs.filter((cidr) => cidr !== "*" && cidr.includes(":") === (family === "ipv6"));
}
