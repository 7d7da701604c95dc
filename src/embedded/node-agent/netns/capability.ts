import { spawnSync } from "node:child_process";
import { platform } from "node:os";

/** What the network of namespaces is made with. */
const TOOLS = ["ip", "iptables", "iptables-restore", "nsenter", "setpriv", "unshare"] as const;
/** All that pods need of the kernel, tried in a namespace that goes with the command. */
const TRIAL = [
  "ip link add serin-trial type bridge",
  "ip link add serin-a type veth peer name serin-b",
  "iptables -w -t nat -A OUTPUT -d 127.0.0.9/32 -p tcp -m owner --uid-owner 1337 -j RETURN",
  "iptables -w -t nat -A OUTPUT -d 127.0.0.9/32 -p tcp -m statistic --mode random --probability 0.5 -j DNAT --to-destination 127.0.0.8:1",
].join(" && ");

/** Why this machine cannot give pods network namespaces of their own; undefined when it can. */
export function whyNoNamespaces(): string | undefined {
  if (platform() !== "linux") return "it needs Linux";
  if (process.getuid?.() !== 0) return "it needs root";
  for (const tool of TOOLS) {
    if (spawnSync(tool, ["--version"]).error !== undefined) return `${tool} is not installed`;
  }
  const { status, stderr } = spawnSync("unshare", ["--net", "--mount", "sh", "-c", TRIAL], {
    encoding: "utf8",
  });
  if (status === 0) return undefined;
  return `the system refuses it: ${stderr.trim().split("\n")[0] ?? ""}`;
}
