import { spawnSync } from "node:child_process";
import { SerinError } from "../../base/index.ts";
import { type CaptureOptions, captureScript, cleanScript, type Family } from "./iptables-rules.ts";

const TOOLS: Readonly<Record<Family, string>> = { ipv4: "iptables", ipv6: "ip6tables" };

/** Captures the traffic of this network namespace. Throws SERIN_PERMISSION, SERIN_UNREADABLE_INPUT. */
export function applyRules(options: CaptureOptions, family: Family): void {
  restore(family, captureScript(options, family, currentRules(family)));
}

/** Takes back what `applyRules` did, if anything. Throws as it does. */
export function removeRules(family: Family): void {
  const script = cleanScript(currentRules(family));
  if (script !== "") restore(family, script);
}

function currentRules(family: Family): readonly string[] {
  return run(TOOLS[family], ["-w", "-t", "nat", "-S"], "").split("\n");
}

function restore(family: Family, script: string): void {
  run(`${TOOLS[family]}-restore`, ["-w", "--noflush"], script);
}

function run(program: string, args: readonly string[], input: string): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input, encoding: "utf8" });
  if (error !== undefined) {
    throw new SerinError(
      "SERIN_UNREADABLE_INPUT",
      `${program} cannot be run (${error.message}); install iptables`,
      { source: "caller", cause: error },
    );
  }
  if (status === 0) return stdout;
  throw new SerinError("SERIN_PERMISSION", `${program} failed: ${stderr.trim()}`, {
    source: "caller",
  });
}
