import { SerinError } from "../../base/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { applyRules, removeRules } from "../init/apply-rules.ts";
import { type CaptureOptions, captureScript, type Family } from "../init/iptables-rules.ts";
import { parseFlags, parsePort } from "../usage.ts";

const help = `Usage: serin init [flags]

Captures the TCP traffic of this network namespace for the sidecar, with the iptables rules of
istio-init: what goes out is redirected to port 15001, what comes in to port 15006. Needs root. Runs as
often as you like: rules of an earlier run are replaced.

Flags (lists are separated by commas; * = all)
  -p, --envoy-port PORT                            outbound traffic goes there (default 15001)
  -z, --inbound-capture-port PORT                  inbound traffic goes there (default 15006)
  -u, --proxy-uid UIDS                             users whose traffic is the proxy's (default 1337)
  -g, --proxy-gid GIDS                             groups likewise (default: the users)
  -m, --istio-inbound-interception-mode MODE       REDIRECT, the only one
  -i, --istio-service-cidr CIDRS                   destinations to capture (default *)
  -x, --istio-service-exclude-cidr CIDRS           destinations to leave alone
  -b, --istio-inbound-ports PORTS                  inbound ports to capture (default *)
  -d, --istio-local-exclude-ports PORTS            inbound ports to leave alone (default 15090,15021,15020)
  -q, --istio-outbound-ports PORTS                 outbound ports to capture whatever their destination
  -o, --istio-local-outbound-ports-exclude PORTS   outbound ports to leave alone
  -k, --istio-kubevirt-interfaces NAMES            interfaces whose inbound traffic counts as outbound
  -c, --istio-exclude-interfaces NAMES             interfaces to leave alone
      --ipv6                                       IPv6 too, with ip6tables
      --dry-run                                    print the input of iptables-restore, change nothing
      --clean                                      take all of it back
  -h, --help                                       this text

Exit codes: 0 done; 2 wrong usage, no root, or no iptables.
`;

const text = (short: string, value: string) => ({ type: "string", short, default: value }) as const;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    "envoy-port": text("p", "15001"),
    "inbound-capture-port": text("z", "15006"),
    "proxy-uid": text("u", "1337"),
    "proxy-gid": { type: "string", short: "g" },
    "istio-inbound-interception-mode": text("m", "REDIRECT"),
    "istio-service-cidr": text("i", "*"),
    "istio-service-exclude-cidr": text("x", ""),
    "istio-inbound-ports": text("b", "*"),
    "istio-local-exclude-ports": text("d", "15090,15021,15020"),
    "istio-outbound-ports": text("q", ""),
    "istio-local-outbound-ports-exclude": text("o", ""),
    "istio-kubevirt-interfaces": text("k", ""),
    "istio-exclude-interfaces": text("c", ""),
    ipv6: { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    clean: { type: "boolean", default: false },
  });
  const mode = values["istio-inbound-interception-mode"];
  if (mode !== "REDIRECT") {
    throw usage(`--istio-inbound-interception-mode must be REDIRECT (found ${mode})`);
  }
  const families: readonly Family[] = values.ipv6 ? ["ipv4", "ipv6"] : ["ipv4"];
  const ports = (flag: keyof typeof values & string) => {
    const list = listOf(String(values[flag] ?? ""));
    for (const port of list) if (port !== "*") parsePort(flag, port);
    return list;
  };
  const options: CaptureOptions = {
    outboundPort: parsePort("envoy-port", values["envoy-port"]),
    inboundPort: parsePort("inbound-capture-port", values["inbound-capture-port"]),
    proxyUids: matching("proxy-uid", values["proxy-uid"], /^\d+$/),
    proxyGids: matching("proxy-gid", values["proxy-gid"] ?? values["proxy-uid"], /^\d+$/),
    inboundPorts: ports("istio-inbound-ports"),
    excludedInboundPorts: ports("istio-local-exclude-ports"),
    outboundPorts: ports("istio-outbound-ports"),
    excludedOutboundPorts: ports("istio-local-outbound-ports-exclude"),
    cidrs: matching("istio-service-cidr", values["istio-service-cidr"], CIDR),
    excludedCidrs: matching(
      "istio-service-exclude-cidr",
      values["istio-service-exclude-cidr"],
      CIDR,
    ),
    virtualInterfaces: matching(
      "istio-kubevirt-interfaces",
      values["istio-kubevirt-interfaces"],
      INTERFACE,
    ),
    excludedInterfaces: matching(
      "istio-exclude-interfaces",
      values["istio-exclude-interfaces"],
      INTERFACE,
    ),
  };
  if (values["dry-run"]) {
    for (const family of families) {
      io.stdout.write(`# ${family}\n${captureScript(options, family, [])}`);
    }
    return 0;
  }
  requireRoot();
  for (const family of families) {
    if (values.clean) removeRules(family);
    else applyRules(options, family);
  }
  return 0;
}

// Everything from flags stands in rules later: nothing but these may pass.
const CIDR = /^(\*|[0-9.]+(\/\d{1,2})?|[0-9a-fA-F:]+(\/\d{1,3})?)$/;
const INTERFACE = /^[A-Za-z0-9_.@-]{1,15}\+?$/;

function matching(flag: string, value: string, allowed: RegExp): readonly string[] {
  const list = listOf(value);
  for (const entry of list) {
    if (!allowed.test(entry))
      throw usage(`--${flag}: ${JSON.stringify(entry)} is not allowed there`);
  }
  return list;
}

function listOf(value: string): readonly string[] {
  return value
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new SerinError(
    "SERIN_PERMISSION",
    "serin init changes iptables, which needs root; run it as root, or with --dry-run to see the rules",
    { source: "caller" },
  );
}

function usage(message: string): SerinError {
  return new SerinError("SERIN_USAGE", message, { source: "caller" });
}

export const command: CommandSpec = {
  name: "init",
  summary: "capture this network namespace's traffic for the sidecar (iptables)",
  help,
  run,
};
