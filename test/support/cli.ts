import { execFile } from "node:child_process";
import { join } from "node:path";

/** How a command ended and what it said. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const BIN = join(import.meta.dirname, "../../bin/serin.mjs");

/** Runs `serin` with the kubeconfig of a cluster's data directory; resolves however it ends. */
export function serin(dataDir: string, ...args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, KUBECONFIG: join(dataDir, "kubeconfig") };
  return new Promise((resolve) => {
    execFile(process.execPath, [BIN, ...args], { env, timeout: 120_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}
