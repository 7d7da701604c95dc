import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { messageOf, SerinError } from "../../base/index.ts";
import { systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { reviewsImage } from "../demo/application.ts";
import { liveModel } from "../demo/live-model.ts";
import { type DemoReport, problemsOf, type RolloutReport } from "../demo/report.ts";
import {
  revert,
  rollOutFaulty,
  rollOutGood,
  type Scene,
  type Stage,
  setUp,
} from "../demo/scenario.ts";
import { isTerminal, openScreen } from "../demo/screen.ts";
import { bundledImageMap } from "../image-map.ts";
import { type Platform, startPlatform } from "../platform.ts";
import { parseFlags, parseLogLevel, parsePort } from "../usage.ts";

const help = `Runs the whole story on this machine: bookinfo with sidecars under live traffic; reviews v1 -> v2
goes 10, 50, 100 % and is promoted; then a faulty v3 is rolled back by itself.

Usage:
  serin demo [flags]

Flags:
  --once             end after the rollback instead of keeping the application running
  --report FILE      write what the clients measured, as JSON
  --data-dir DIR     where the cluster lives (default: a temporary directory, removed at the end)
  --api-port N       port of the Kubernetes API (default 0: any free port)
  --log-level LEVEL  debug | info | warn | error (default error), JSON lines on stderr
  -h, --help         this text

Without --once it goes on until Ctrl-C, and prints how to drive it with kubectl.
Exit codes: 0 all went as told; 1 it did not (the reason is printed); 2 wrong usage, a port is taken,
or a directory or file cannot be used.
`;

interface Run {
  readonly io: CommandIo;
  readonly isOnce: boolean;
  readonly reportPath: string | undefined;
  readonly startMs: number;
  readonly news: { atMs: number; line: string }[];
  readonly tell: (line: string) => void;
}

const MAX_NEWS = 200;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    once: { type: "boolean", default: false },
    report: { type: "string" },
    "data-dir": { type: "string" },
    "api-port": { type: "string", default: "0" },
    "log-level": { type: "string", default: "error" },
  });
  const apiPort = parsePort("api-port", values["api-port"]);
  const logLevel = parseLogLevel(values["log-level"]);
  if (values.report !== undefined) requireWritable(values.report);
  const startMs = systemClock.nowMs();
  const news: Run["news"] = [];
  const isView = isTerminal(io.stdout);
  const tell = (line: string): void => {
    const atMs = systemClock.nowMs() - startMs;
    // While it waits, the newest word on what it waits for is enough.
    if (isWaiting(line) && isWaiting(news.at(-1)?.line)) news.pop();
    news.push({ atMs, line });
    if (news.length > MAX_NEWS) news.shift();
    if (!isView) io.stderr.write(`[${(atMs / 1000).toFixed(1).padStart(6)} s] ${line}\n`);
  };
  const isTemporary = values["data-dir"] === undefined;
  const dataDir = isTemporary
    ? mkdtempSync(join(tmpdir(), "serin-demo-"))
    : resolve(values["data-dir"] ?? "");
  try {
    const platform = await startPlatform({
      dataDir,
      apiPort,
      imageMap: bundledImageMap(undefined),
      network: "loopback",
      clock: systemClock,
      logLevel,
      onProgress: tell,
    });
    try {
      const { once, report } = values;
      return await play({ io, isOnce: once, reportPath: report, startMs, news, tell }, platform);
    } finally {
      await platform.stop();
    }
  } finally {
    if (isTemporary) rmSync(dataDir, { recursive: true, force: true });
  }
}

function isWaiting(line: string | undefined): boolean {
  return line?.startsWith("waiting for ") ?? false;
}

/** The whole run-of-show on a running platform; answers the exit code. */
async function play(run: Run, platform: Platform): Promise<number> {
  const { io, tell } = run;
  const stage: Stage = {
    store: platform.store,
    clock: systemClock,
    signal: io.signal,
    onProgress: tell,
  };
  const rollouts: RolloutReport[] = [];
  const hints = hintsFor(platform);
  let setupMs = 0;
  let scene: Scene | undefined;
  let failure: string | undefined;
  const screen = isTerminal(io.stdout)
    ? openScreen(io.stdout, io.env, () => ({ ...modelOf(scene, platform), ...timesOf(run), hints }))
    : undefined;
  try {
    scene = await setUp(stage);
    setupMs = systemClock.nowMs() - run.startMs;
    rollouts.push(await rollOutGood(stage, scene));
    rollouts.push(await rollOutFaulty(stage, scene));
    if (!run.isOnce) await keepRunning(run, stage, hints);
  } catch (error) {
    failure = io.signal.aborted ? "interrupted" : messageOf(error);
  } finally {
    screen?.close();
    await scene?.load.stop();
  }
  const report: DemoReport = { rollouts, setupMs };
  if (run.reportPath !== undefined) writeReport(run.reportPath, report);
  return conclude(run, report, failure);
}

function conclude({ io, isOnce }: Run, { rollouts }: DemoReport, failure: string | undefined) {
  // Ctrl-C is how a demo that keeps running is ended.
  if (!isOnce && failure === "interrupted") return 0;
  const problems = [...(failure === undefined ? [] : [failure]), ...problemsOf(rollouts)];
  for (const problem of problems) io.stderr.write(`serin demo: ${problem}\n`);
  if (problems.length > 0) return 1;
  io.stdout.write("v2 was promoted without a failed request; faulty v3 was rolled back\n");
  return 0;
}

/** Until the signal: the application runs under load, and kubectl may do what it likes. */
async function keepRunning(run: Run, stage: Stage, hints: readonly string[]): Promise<void> {
  await revert(stage, "v2");
  for (const hint of hints) if (!isTerminal(run.io.stdout)) run.io.stdout.write(`${hint}\n`);
  await new Promise<void>((done) => {
    if (run.io.signal.aborted) done();
    else run.io.signal.addEventListener("abort", () => done(), { once: true });
  });
}

function modelOf(scene: Scene | undefined, platform: Platform) {
  if (scene !== undefined) return liveModel(scene, platform.telemetry, systemClock.nowMs());
  const client = { requestsPerSecond: 0, requests: 0, failures: 0, requestsByVersion: {} };
  return { phase: "starting", arms: [], client };
}

function timesOf({ startMs, news }: Run) {
  return { elapsedMs: systemClock.nowMs() - startMs, news };
}

function hintsFor({ kubeconfigPath }: Platform): string[] {
  return [
    "Drive it from another terminal (Ctrl-C here stops everything):",
    `  export KUBECONFIG=${kubeconfigPath}`,
    "  kubectl -n default get canary reviews -w",
    `  kubectl -n default set image deployment/reviews reviews=${reviewsImage("v3")}`,
  ];
}

/** Before two minutes of rollouts, not after. */
function requireWritable(path: string): void {
  orUnwritable(() => closeSync(openSync(path, "a")));
}

function writeReport(path: string, report: DemoReport): void {
  orUnwritable(() => writeFileSync(path, `${JSON.stringify(report, undefined, 2)}\n`));
}

function orUnwritable(write: () => void): void {
  try {
    write();
  } catch (error) {
    throw new SerinError("SERIN_UNREADABLE_INPUT", `cannot write the report: ${messageOf(error)}`, {
      source: "caller",
      cause: error,
    });
  }
}

export const command: CommandSpec = {
  name: "demo",
  summary: "run a good and a faulty rollout under live traffic",
  help,
  run,
};
