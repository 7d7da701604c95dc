import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Load } from "./scenarios.ts";

const run = promisify(execFile);
/** Linux counts CPU time in USER_HZ, which is 100 on every platform Node runs on. */
const TICK_MS = 10;

export interface Target {
  readonly port: number;
  readonly isTls: boolean;
  /** The processes whose CPU time counts. */
  readonly pids: readonly number[];
}

export interface Saturation {
  readonly rps: number;
  /** Of all processes of the contender together. */
  readonly cpuMsPer1000: number;
}

/** Requests per second with as many as the load generator can send, and what they cost. */
export async function saturate(
  core: number,
  target: Target,
  load: Load,
  seconds: number,
): Promise<Saturation> {
  const before = cpuMs(target.pids);
  const rps = await (load.tool === "wrk" ? wrk : h2load)(core, target, load, seconds);
  const spentMs = cpuMs(target.pids) - before;
  return { rps, cpuMsPer1000: (spentMs * 1000) / (rps * seconds) };
}

function urlOf({ port, isTls }: Target, load: Load): string {
  return `${isTls ? "https" : "http"}://127.0.0.1:${port}${load.path}`;
}

async function wrk(core: number, target: Target, load: Load, seconds: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "serin-bench-"));
  try {
    const script = join(dir, "post.lua");
    writeFileSync(
      script,
      `wrk.method = "POST"\nwrk.body = string.rep("x", ${load.bodyBytes ?? 0})\n`,
    );
    const url = urlOf(target, load);
    const { stdout } = await run("taskset", [
      ...["-c", String(core), "wrk", "-t1", `-c${load.connections}`, `-d${seconds}s`],
      // Hundreds of handshakes at once take longer than the two seconds it would wait.
      ...["--timeout", "15s"],
      ...(load.bodyBytes === undefined ? [] : ["-s", script]),
      url,
    ]);
    const errors = /Socket errors.*|Non-2xx.*/.exec(stdout);
    if (errors !== null) throw new Error(`wrk on ${url}: ${errors[0]}`);
    const rps = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
    if (rps === undefined) throw new Error(`wrk on ${url} said:\n${stdout}`);
    return Number(rps);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function h2load(core: number, target: Target, load: Load, seconds: number): Promise<number> {
  const url = urlOf(target, load);
  const { stdout } = await run("taskset", [
    ...["-c", String(core), "h2load", "-t1", `-c${load.connections}`, `-m${load.streams ?? 1}`],
    ...["-D", String(seconds), url],
  ]);
  const done = /(\d+) succeeded, (\d+) failed/.exec(stdout);
  if (done === null || done[2] !== "0") throw new Error(`h2load on ${url} said:\n${stdout}`);
  return Number(done[1]) / seconds;
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsPer1000: number;
}

/** Latency and CPU cost at a steady rate that does not depend on the answers: h2load over 16 connections. */
export async function fixedRate(
  core: number,
  target: Target,
  load: Load,
  rps: number,
  seconds: number,
): Promise<Latency> {
  const dir = mkdtempSync(join(tmpdir(), "serin-bench-"));
  const log = join(dir, "log");
  const body = join(dir, "body");
  const url = urlOf(target, load);
  try {
    if (load.bodyBytes !== undefined) writeFileSync(body, "x".repeat(load.bodyBytes));
    const before = cpuMs(target.pids);
    await run("taskset", [
      ...["-c", String(core), "h2load", ...(load.tool === "wrk" ? ["--h1"] : [])],
      // One connection begins each millisecond: begun together, all of them would send at the same
      // moments, and what is measured would be the queue of the sixteen.
      ...["-c16", "-t1", `--rps=${rps / 16}`, "-n", String(rps * seconds)],
      ...["-r", "1", "--rate-period=1ms", `--log-file=${log}`],
      ...(load.bodyBytes === undefined ? [] : ["-d", body]),
      url,
    ]);
    const spentMs = cpuMs(target.pids) - before;
    const lines = readFileSync(log, "utf8").trim().split("\n");
    const rows = lines.map((line) => line.split("\t"));
    const failed = rows.filter((row) => row[1] !== "200").length;
    if (failed > 0) throw new Error(`h2load on ${url}: ${failed} requests failed`);
    const latencies = rows.map((row) => Number(row[2]) / 1000).sort((a, b) => a - b);
    return {
      p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
      p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
      cpuMsPer1000: (spentMs * 1000) / latencies.length,
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export interface Handshakes {
  readonly perSecond: number;
  readonly cpuMsEach: number;
}

/** New TLS connections one after another, full or resumed, each with one request (openssl s_time). */
export async function handshakes(
  core: number,
  target: Target,
  kind: "new" | "reuse",
  seconds: number,
): Promise<Handshakes> {
  const before = cpuMs(target.pids);
  const { stdout } = await run("taskset", [
    ...["-c", String(core), "openssl", "s_time", "-connect", `127.0.0.1:${target.port}`],
    ...[`-${kind}`, "-time", String(seconds), "-www", "/1k"],
  ]);
  const spentMs = cpuMs(target.pids) - before;
  const done = /(\d+) connections in (\d+) real seconds/.exec(stdout);
  if (done === null) throw new Error(`openssl s_time said:\n${stdout}`);
  const count = Number(done[1]);
  return { perSecond: count / Number(done[2]), cpuMsEach: spentMs / count };
}

/** User and system time of processes so far, in milliseconds. */
function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuTicks(pid) * TICK_MS, 0);
}

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
