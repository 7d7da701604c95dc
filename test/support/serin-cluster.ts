import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type SerinProcess, startSerin } from "./serin-process.ts";
import { findTool } from "./tools.ts";

const DEADLINE_MS = 120_000;

/** Runs `serin up` until the test ends; resolves when it says `ready`. */
export async function up(
  t: TestContext,
  dataDir: string,
  network: "loopback" | "netns" = "loopback",
  ...flags: readonly string[]
): Promise<SerinProcess> {
  const own = ["--data-dir", dataDir, "--api-port", "0", "--network", network];
  const serin = startSerin(t, ["up", ...own, ...flags]);
  await serin.printed(/^ready$/m);
  return serin;
}

/** A directory that goes with the process. */
export function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-up-"));
  // At the very end: hooks of a test run in order, and the cluster that writes here is stopped later.
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs real kubectl; resolves with what it printed. */
export type Kubectl = (...args: readonly string[]) => Promise<string>;

/** The real kubectl with the kubeconfig of a cluster's data directory. */
export function kubectlOf(dataDir: string): Kubectl {
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: dataDir,
    KUBECONFIG: `${dataDir}/kubeconfig`,
  };
  return async (...args) => {
    // Logs are long.
    const options = { env, timeout: DEADLINE_MS, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await promisify(execFile)(findTool("kubectl") ?? "kubectl", args, options);
    return stdout;
  };
}

/** The address of the first pod with this label `app`. */
export async function podIp(kubectl: Kubectl, app: string): Promise<string> {
  const path = "jsonpath={.items[0].status.podIP}";
  return (await kubectl("get", "pods", "-l", `app=${app}`, "-o", path)).trim();
}

/** Polls until the condition holds; fails after two minutes. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadlineMs) throw new Error(`gave up waiting until ${what}`);
    await sleep(100);
  }
}
