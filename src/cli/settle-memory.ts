import { createRequire } from "node:module";
import type { Clock } from "../runtime/index.ts";

/** Compiling the program and reading the first configuration are over by then. */
const AFTER_START_MS = 2_000;
const CHECK_MS = 60_000;
/** Less than this in `CHECK_MS` is rest; more than this since the last time is worth it. */
const IDLE_CPU_US = 300_000;
const BUSY_CPU_US = 2_000_000;

type Trim = (padBytes: number) => number;

/**
 * Gives memory back once the start is over, and whenever a busy process has come to rest: a full
 * collection, then glibc's malloc_trim(3). A sidecar stands beside every application, most of them
 * idle most of the time. Does nothing where Node was not started with `--expose-gc`.
 */
export function settleMemory(clock: Clock): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  const trim = loadTrim();
  const settle = (): void => {
    void gc({ type: "major", execution: "sync", flavor: "last-resort" });
    trim?.(0);
  };
  let [last, settled] = [cpuUs(), 0];
  const check = (): void => {
    const now = cpuUs();
    const isIdle = now - last < IDLE_CPU_US;
    last = now;
    if (isIdle && now - settled > BUSY_CPU_US) {
      settle();
      settled = cpuUs();
    }
    clock.schedule(CHECK_MS, check);
  };
  clock.schedule(AFTER_START_MS, () => {
    settle();
    last = cpuUs();
    settled = last;
    clock.schedule(CHECK_MS, check);
  });
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** undefined where the C library has no malloc_trim (musl, macOS). */
function loadTrim(): Trim | undefined {
  try {
    const koffi: typeof import("koffi") = createRequire(import.meta.url)("koffi");
    const found = koffi.load(null).func("int malloc_trim(size_t pad)");
    return (padBytes) => Number(found(padBytes));
  } catch {
    return undefined;
  }
}
