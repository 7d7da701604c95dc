import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../runtime/index.ts";
import { delay } from "./delay.ts";

const entrySchema = z.object({
  pid: z.int().positive(),
  startTicks: z.string(),
  bootId: z.string(),
  podUid: z.string(),
});
type Entry = z.infer<typeof entrySchema>;

const POLL_MS = 20;
const GIVE_UP_MS = 5000;

/** By which a process is known to be a pod's, also after its group's leader has ended. */
export const POD_UID_VARIABLE = "SERIN_POD_UID";

/**
 * Which processes run, on disk: after a `kill -9` of the cluster its pods' processes live on, and
 * the next start ends them. A process id alone proves nothing (it may be somebody else's by then):
 * it counts together with its start time in this boot, or with the pod's uid in its environment.
 */
export class ProcessLedger {
  readonly #dir: string;
  readonly #bootId = readText("/proc/sys/kernel/random/boot_id").trim();

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  add(pid: number, podUid: string): void {
    const startTicks = statOf(pid)?.startTicks;
    if (startTicks === undefined) return; // already over
    const entry: Entry = { pid, startTicks, bootId: this.#bootId, podUid };
    writeFileSync(this.#pathOf(pid), JSON.stringify(entry), { mode: 0o600 });
  }

  remove(pid: number): void {
    rmSync(this.#pathOf(pid), { force: true });
  }

  /** Kills what an earlier cluster on this data directory left running; returns how many. */
  async killStale(clock: Clock): Promise<number> {
    const entries = readdirSync(this.#dir).flatMap((name) => readEntry(join(this.#dir, name)));
    const stale = existsSync("/proc") ? this.#staleProcesses(entries) : [];
    for (const pid of stale) kill(pid);
    const untilMs = clock.nowMs() + GIVE_UP_MS;
    const never = new AbortController().signal;
    while (stale.some(isAlive) && clock.nowMs() < untilMs) await delay(clock, POLL_MS, never);
    for (const name of readdirSync(this.#dir)) rmSync(join(this.#dir, name), { force: true });
    return stale.length;
  }

  #staleProcesses(entries: readonly Entry[]): number[] {
    const byGroup = new Map(
      entries.filter((e) => e.bootId === this.#bootId).map((entry) => [entry.pid, entry]),
    );
    if (byGroup.size === 0) return [];
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map(Number).filter((pid) => {
      const stat = statOf(pid);
      const entry = byGroup.get(stat?.group ?? 0);
      if (stat === undefined || entry === undefined) return false;
      if (pid === entry.pid) return stat.startTicks === entry.startTicks;
      const environment = readText(`/proc/${pid}/environ`).split("\0");
      return environment.includes(`${POD_UID_VARIABLE}=${entry.podUid}`);
    });
  }

  #pathOf(pid: number): string {
    return join(this.#dir, `${pid}.json`);
  }
}

function readEntry(path: string): Entry[] {
  try {
    const entry = entrySchema.safeParse(JSON.parse(readText(path)));
    return entry.success ? [entry.data] : [];
  } catch {
    return []; // torn by a crash in the middle of writing: the process had hardly begun
  }
}

interface Stat {
  readonly group: number;
  readonly startTicks: string;
  readonly isZombie: boolean;
}

/** Fields of /proc/PID/stat (proc(5)): state 3, pgrp 5, starttime 22; the name may hold blanks. */
function statOf(pid: number): Stat | undefined {
  const text = readText(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTicks = fields[19];
  if (text === "" || startTicks === undefined) return undefined;
  return { group: Number(fields[2]), startTicks, isZombie: fields[0] === "Z" };
}

function isAlive(pid: number): boolean {
  return statOf(pid)?.isZombie === false;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone in the meantime
  }
}

/** The text of a file, empty when there is none (any more). */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
