import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
/** Linux counts CPU time in USER_HZ, which is 100 on every platform Node runs on. */
const TICK_MS = 10;

/** Requests per second that `wrk` gets through with as many as it can send. */
export async function saturate(core: number, port: number, seconds: number): Promise<number> {
  const { stdout } = await run("taskset", [
    ...["-c", String(core), "wrk", "-t1", "-c32", `-d${seconds}s`, `http://127.0.0.1:${port}/`],
  ]);
  const errors = /Socket errors.*|Non-2xx.*/.exec(stdout);
  if (errors !== null) throw new Error(`wrk on port ${port}: ${errors[0]}`);
  const rps = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (rps === undefined) throw new Error(`wrk on port ${port} said:\n${stdout}`);
  return Number(rps);
}

export interface FixedRate {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsPer1000: number;
  readonly requests: number;
}

/** Latency and CPU cost at a rate that does not depend on the answers: h2load over 16 connections. */
export async function fixedRate(
  core: number,
  port: number,
  pid: number | undefined,
  rps: number,
  seconds: number,
): Promise<FixedRate> {
  const dir = mkdtempSync(join(tmpdir(), "serin-bench-"));
  const log = join(dir, "log");
  try {
    const before = pid === undefined ? 0 : cpuTicks(pid);
    await run("taskset", [
      ...["-c", String(core), "h2load", "--h1", "-c16", "-t1", `--rps=${rps / 16}`],
      ...["-D", String(seconds), `--log-file=${log}`, `http://127.0.0.1:${port}/`],
    ]);
    const ticks = pid === undefined ? 0 : cpuTicks(pid) - before;
    const lines = readFileSync(log, "utf8").trim().split("\n");
    const rows = lines.map((line) => line.split("\t"));
    const failed = rows.filter((row) => row[1] !== "200").length;
    if (failed > 0) throw new Error(`h2load on port ${port}: ${failed} requests failed`);
    const latencies = rows.map((row) => Number(row[2]) / 1000).sort((a, b) => a - b);
    return {
      p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
      p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
      cpuMsPer1000: (ticks * TICK_MS * 1000) / latencies.length,
      requests: latencies.length,
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** User and system time of a process so far. */
function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // Fields 14 and 15; the name in parentheses may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Resident memory of a process in MB. */
export function rssMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}
