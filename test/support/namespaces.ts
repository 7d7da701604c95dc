import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { whyNoNamespaces } from "../../src/embedded/index.ts";

/** For node:test's `skip` option: why pods cannot have namespaces here. CI skips nothing. */
export function skipWithoutNamespaces(): string | false {
  const why = whyNoNamespaces();
  if (why === undefined) return false;
  if (process.env["CI"] === "true") throw new Error(`CI must not skip: netns: ${why}`);
  return `needs network namespaces: ${why}`;
}

/** What a command prints that runs in a pod's network, as a program of the pod would. */
export async function inNamespace(
  namespace: string,
  ...command: readonly string[]
): Promise<string> {
  const args = ["netns", "exec", namespace, ...command];
  const { stdout } = await promisify(execFile)("ip", args, { timeout: 30_000 });
  return stdout;
}

/** A GET by curl in a pod's network: status and body, or curl's own exit code in place of a status. */
export async function curl(
  namespace: string,
  url: string,
  ...flags: readonly string[]
): Promise<{ readonly status: number; readonly body: string }> {
  const own = ["-sS", "--max-time", "10", "-w", "\n%{http_code}", ...flags, url];
  try {
    const text = await inNamespace(namespace, "curl", ...own);
    const end = text.lastIndexOf("\n");
    return { status: Number(text.slice(end + 1)), body: text.slice(0, end) };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? Number(error.code) : 0;
    return { status: -code, body: String(error) };
  }
}
