import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ApiServer, startApiServer } from "../../src/embedded/api-server/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { findTool } from "../support/tools.ts";

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KubectlCluster {
  readonly api: ApiServer;
  /** Runs kubectl to its end. */
  run(args: readonly string[], options?: KubectlOptions): Promise<KubectlResult>;
  /** As run, but fails unless it exits 0; returns stdout. */
  ok(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** `kubectl apply -f -`; returns stdout. */
  apply(manifest: string): Promise<string>;
  /** Starts kubectl and returns once `text` has been printed; `rest` ends it and gives all output. */
  until(
    args: readonly string[],
    text: string,
  ): Promise<{ readonly output: () => string; stop(): void }>;
  readonly dir: string;
}

export interface KubectlOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const DEADLINE_MS = 30_000;

/** An API server and the real kubectl pointed at it, with a home of its own. */
export async function startKubectlCluster(t: TestContext): Promise<KubectlCluster> {
  const dir = mkdtempSync(join(tmpdir(), "serin-kubectl-"));
  const api = await startApiServer({
    dataDir: join(dir, "data"),
    port: 0,
    logger: createLogger("test", "silent"),
    clock: systemClock,
  });
  t.after(async () => {
    await api.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const kubectl = findTool("kubectl") ?? "kubectl";
  const start = (args: readonly string[], options: KubectlOptions = {}) => {
    const child = spawn(kubectl, [...args], {
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: dir,
        KUBECONFIG: api.kubeconfigPath,
        ...options.env,
      },
      stdio: "pipe",
    });
    child.stdin.on("error", () => undefined); // kubectl may end without reading it
    child.stdin.end(options.stdin ?? "");
    return child;
  };
  const run = (args: readonly string[], options?: KubectlOptions): Promise<KubectlResult> => {
    const child = start(args, options);
    const { promise, resolve } = Promise.withResolvers<KubectlResult>();
    const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, stdout, stderr });
    });
    return promise;
  };
  const ok = async (args: readonly string[], options?: KubectlOptions): Promise<string> => {
    const { code, stdout, stderr } = await run(args, options);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: exit ${code}\n${stdout}${stderr}`);
    return stdout;
  };
  return {
    api,
    dir,
    run,
    ok,
    apply: (manifest) => ok(["apply", "-f", "-"], { stdin: manifest }),
    until: async (args, text) => {
      const child = start(args);
      t.after(() => child.kill("SIGKILL"));
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const timer = setTimeout(
        () => reject(new Error(`kubectl ${args.join(" ")} did not print ${text}:\n${printed}`)),
        DEADLINE_MS,
      );
      let printed = "";
      const read = (chunk: Buffer): void => {
        printed += chunk.toString();
        if (printed.includes(text)) resolve();
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("close", () => reject(new Error(`kubectl ${args.join(" ")} ended:\n${printed}`)));
      try {
        await promise;
      } finally {
        clearTimeout(timer);
      }
      return { output: () => printed, stop: () => child.kill("SIGTERM") };
    },
  };
}
