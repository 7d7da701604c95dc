import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { dirname } from "node:path";
import { messageOf, SerinError } from "../../base/index.ts";
import {
  ADDRESSES_PER_BLOCK,
  type AddressRange,
  BLOCK_COUNT,
  indexOfPodIp,
  LOOPBACK_RANGE,
  lockAddress,
  podIpAt,
} from "../core/node-agent/network.ts";

/** Below the ephemeral ports; nobody else listens on a block's lock address. */
const LOCK_PORT = 15_999;

/** The pod IPs of one cluster: a block of the loopback network that no other cluster uses. */
export interface AddressPool {
  /** The number of the block, 0 … BLOCK_COUNT - 1. */
  readonly block: number;
  /**
   * Takes an address: `wanted` when it is ours and free, else the next one in turn, so that an
   * address rests as long as possible. Undefined when all are in use.
   */
  take(wanted?: string): string | undefined;
  /** Gives an address back once nothing listens on it any more. */
  release(podIp: string): void;
  close(): Promise<void>;
}

/** An address of a pool as it is in another range, where it is as free as here. */
export function inRange(address: string, range: AddressRange, from: AddressRange): string {
  const [, second = "0", ...rest] = address.split(".");
  return [range.first, Number(second) - from.second + range.second, ...rest].join(".");
}

/** Whether nobody on this machine has the block. */
export async function isBlockFree(block: number): Promise<boolean> {
  const lock = await tryLock(lockAddress(block));
  lock?.close();
  return lock !== undefined;
}

/**
 * Takes the block remembered in `path`, or another one when that is in use or there is none. The
 * open socket is the lock: it goes with the process, however that ends.
 * Throws SERIN_PORT_IN_USE when every block is taken, SERIN_PERMISSION when the system refuses.
 */
export async function openAddressPool(
  path: string,
  range: AddressRange = LOOPBACK_RANGE,
): Promise<AddressPool> {
  const { block, lock } = await lockBlock(rememberedBlock(path));
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, `${JSON.stringify({ block })}\n`, { mode: 0o600 });
  const used = new Set<string>();
  let next = 0;
  return {
    block,
    take(wanted) {
      const known = wanted === undefined ? undefined : indexOfPodIp(block, wanted, range);
      if (wanted !== undefined && known !== undefined && !used.has(wanted)) {
        used.add(wanted);
        // What is handed out next lies behind what was in use before the restart.
        next = Math.max(next, known + 1);
        return wanted;
      }
      for (let tried = 0; tried < ADDRESSES_PER_BLOCK; tried++) {
        const podIp = podIpAt(block, next++ % ADDRESSES_PER_BLOCK, range);
        if (used.has(podIp)) continue;
        used.add(podIp);
        return podIp;
      }
      return undefined;
    },
    release: (podIp) => used.delete(podIp),
    close: async () => {
      lock.close();
      await once(lock, "close");
    },
  };
}

async function lockBlock(
  remembered: number | undefined,
): Promise<{ readonly block: number; readonly lock: Server }> {
  const offset = randomInt(BLOCK_COUNT);
  const inTurn = Array.from({ length: BLOCK_COUNT }, (_, n) => (offset + n) % BLOCK_COUNT);
  for (const block of remembered === undefined ? inTurn : [remembered, ...inTurn]) {
    const lock = await tryLock(lockAddress(block));
    if (lock !== undefined) return { block, lock };
  }
  const message = `every block of 127.16.0.0/12 is in use (port ${LOCK_PORT} is taken on each)`;
  throw new SerinError("SERIN_PORT_IN_USE", message);
}

async function tryLock(host: string): Promise<Server | undefined> {
  const lock = createServer((socket) => socket.destroy());
  // The lock never holds the process open.
  lock.unref().listen({ host, port: LOCK_PORT, exclusive: true });
  try {
    await once(lock, "listening");
    return lock;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") return undefined;
    const message = `cannot listen on ${host}:${LOCK_PORT}, which the loopback network needs: ${messageOf(error)}`;
    throw new SerinError("SERIN_PERMISSION", message, { cause: error });
  }
}

function rememberedBlock(path: string): number | undefined {
  try {
    const block = (JSON.parse(readFileSync(path, "utf8")) as { readonly block?: unknown }).block;
    return Number.isInteger(block) && Number(block) >= 0 && Number(block) < BLOCK_COUNT
      ? Number(block)
      : undefined;
  } catch {
    return undefined; // a new data directory
  }
}
