import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SerinError } from "../base/index.ts";
import { type NetworkMode, whyNoNamespaces } from "../embedded/index.ts";

/** Says which network the pods of a data directory were made for. */
const FILE = "network";
/** Every cluster that ran has it. */
const BLOCK_FILE = "address-block.json";
const MODES: readonly NetworkMode[] = ["loopback", "netns"];

/**
 * The network that `--network` means on this machine. Pods are injected for one network: a data
 * directory keeps the one it began with. Throws SERIN_USAGE, SERIN_PERMISSION.
 */
export function chooseNetwork(asked: string, dataDir: string): NetworkMode {
  const wanted = MODES.find((mode) => mode === asked);
  if (wanted === undefined && asked !== "auto") {
    throw usage(`--network must be auto, netns or loopback (found ${asked})`);
  }
  const known = rememberedNetwork(dataDir);
  if (known !== undefined && wanted !== undefined && known !== wanted) {
    throw usage(
      `${dataDir} holds a cluster with --network ${known}; begin a new one with another --data-dir`,
    );
  }
  const mode = wanted ?? known;
  const obstacle = mode === "loopback" ? undefined : whyNoNamespaces();
  if (mode === "netns" && obstacle !== undefined) {
    throw new SerinError("SERIN_PERMISSION", `--network netns: ${obstacle}`, { source: "caller" });
  }
  return mode ?? (obstacle === undefined ? "netns" : "loopback");
}

/** Notes in the data directory, which a cluster uses now, what its network is. */
export function rememberNetwork(dataDir: string, mode: NetworkMode): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dataDir, FILE), `${mode}\n`, { mode: 0o600 });
}

/** Undefined for a new directory; of before there was a choice, clusters are on loopback. */
function rememberedNetwork(dataDir: string): NetworkMode | undefined {
  try {
    const text = readFileSync(join(dataDir, FILE), "utf8").trim();
    return MODES.find((mode) => mode === text);
  } catch {
    return existsSync(join(dataDir, BLOCK_FILE)) ? "loopback" : undefined;
  }
}

function usage(message: string): SerinError {
  return new SerinError("SERIN_USAGE", message, { source: "caller" });
}
