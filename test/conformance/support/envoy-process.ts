import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { findTool } from "../../support/tools.ts";

/** Starts Envoy with a bootstrap file; resolves once it is ready. */
export async function startEnvoy(file: string, adminPort: number): Promise<ChildProcess> {
  const args = [
    "-c",
    file,
    "--file-flush-interval-msec",
    "50",
    "--concurrency",
    "1",
    "--log-level",
    "off",
    "--use-dynamic-base-id",
  ];
  const child = spawn(findTool("envoy") ?? "envoy", args, { stdio: ["ignore", "ignore", "pipe"] });
  let output = "";
  child.stderr?.on("data", (chunk) => {
    output += chunk;
  });
  const deadline = Date.now() + 60_000;
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${adminPort}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return child;
    assert.ok(child.exitCode === null, `envoy ended: ${output}`);
    assert.ok(Date.now() < deadline, "envoy is not ready");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Kills the process; resolves once it has ended. */
export function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

/** Below the ports that systems give to outgoing connections, which other tests open all the time. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
const given = new Set<number>();

/** A port that was free a moment ago, given to nobody else by this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
