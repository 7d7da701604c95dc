import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";

/** A `serin` command running as a process of its own. */
export interface SerinProcess {
  readonly child: ChildProcess;
  /** Everything printed so far, stdout and stderr as they came. */
  output(): string;
  stdout(): string;
  /** Resolves when `pattern` has been printed; rejects with the output when the process ends first. */
  printed(pattern: RegExp): Promise<void>;
  /** Exit code, or undefined after a signal. */
  readonly exited: Promise<number | undefined>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Runs `serin ARGS` from this checkout; the test's end kills it if it still runs. */
export function startSerin(t: TestContext, args: readonly string[]): SerinProcess {
  const child = spawn(process.execPath, ["bin/serin.mjs", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let all = "";
  let out = "";
  const watchers = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    all += text;
    for (const check of watchers) check();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    all += text;
    for (const check of watchers) check();
  });
  const exited = once(child, "close").then(([code]) => (code as number | null) ?? undefined);
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  t.after(() => kill("SIGTERM"));
  return {
    child,
    exited,
    kill,
    output: () => all,
    stdout: () => out,
    async printed(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const check = (): void => {
        if (pattern.test(all)) resolve();
      };
      watchers.add(check);
      check();
      void exited.then(() => reject(new Error(`ended before it printed ${pattern}:\n${all}`)));
      await promise.finally(() => watchers.delete(check));
    },
  };
}
