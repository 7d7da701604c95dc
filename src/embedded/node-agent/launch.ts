import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../runtime/index.ts";
import type { ConfigSource } from "../core/node-agent/config-source.ts";
import { resolveEnvironment } from "../core/node-agent/environment.ts";
import { expandVariables } from "../core/node-agent/expand.ts";
import type { PodFacts } from "../core/node-agent/field-ref.ts";
import { findImage, type ImageMap } from "../core/node-agent/image-map.ts";
import {
  type MountedDir,
  replaceMountPaths,
  volumeVariables,
} from "../core/node-agent/mount-paths.ts";
import { listenAddress, networkVariables, type PodNetwork } from "../core/node-agent/network.ts";
import type { ContainerSpec } from "../core/node-agent/pod.ts";
import type { Launch, Obstacle } from "./container-runner.ts";
import { POD_UID_VARIABLE } from "./process-ledger.ts";
import { tokenPath } from "./volumes.ts";

export interface LaunchInput {
  readonly container: ContainerSpec;
  readonly facts: PodFacts;
  readonly network: PodNetwork;
  readonly mounts: readonly MountedDir[];
  readonly config: ConfigSource;
  readonly imageMap: ImageMap;
  readonly capacity: Readonly<Record<string, number>>;
  readonly podDir: string;
  readonly clock: Clock;
}

/** What a container inherits from the machine. */
const INHERITED = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"] as const;

/** How to run a container on this machine, or what is in the way. */
export function launchOf(input: LaunchInput): Launch | Obstacle {
  const { container, facts, mounts } = input;
  const row = findImage(input.imageMap, container.image);
  if (row === undefined && container.command.length === 0) return unknownImage(container);
  const realPath = (text: string): string => replaceMountPaths(text, mounts);
  const resolved = resolveEnvironment({
    container,
    facts,
    config: input.config,
    capacity: input.capacity,
    realPath,
    base: { ...platformVariables(input), ...row?.env },
  });
  if ("missing" in resolved) {
    return {
      reason: "CreateContainerConfigError",
      message: resolved.missing,
      event: `Error: ${resolved.missing}`,
    };
  }
  const cwd = workingDir(input, realPath);
  if (typeof cwd === "object") return cwd;
  const env = { ...resolved.env, [POD_UID_VARIABLE]: facts.pod.uid };
  const expand = (words: readonly string[]): string[] =>
    words.map((word) => expandVariables(realPath(word), env));
  const program = container.command.length > 0 ? expand(container.command) : (row?.command ?? []);
  return {
    argv: [...program, ...expand(container.args)],
    target: {
      container,
      address: listenAddress(input.network, container.name),
      env,
      cwd,
      enter: entrance(input),
      probeSource: input.network.probeSource,
      realPath,
      clock: input.clock,
    },
  };
}

/**
 * How a program gets into its pod's network namespace, as the user it is to be. Programs are files
 * of this machine, which another user might not be let read: that one right stays.
 */
function entrance({ network, container, facts }: LaunchInput): readonly string[] {
  if (network.namespace === undefined) return [];
  const { securityContext } = facts.pod.spec;
  const user = container.securityContext?.runAsUser ?? securityContext?.runAsUser ?? 0;
  const group = container.securityContext?.runAsGroup ?? securityContext?.runAsGroup ?? 0;
  const inside = ["ip", "netns", "exec", network.namespace];
  if (user === 0 && group === 0) return inside;
  const reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
  const identity = [`--reuid=${user}`, `--regid=${group}`, "--clear-groups"];
  return [...inside, "setpriv", ...identity, ...(user === 0 ? [] : reading), "--"];
}

function platformVariables(input: LaunchInput): Readonly<Record<string, string>> {
  const { container, facts, mounts, network } = input;
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const token = tokenPath(facts.pod.spec.volumes, mounts);
  return {
    ...Object.fromEntries(inherited),
    HOSTNAME: facts.pod.name,
    ...networkVariables(network, container),
    ...volumeVariables(mounts),
    ...(token === undefined ? {} : { SERIN_TOKEN_PATH: token }),
  };
}

/** The container's own directory, or the one it asks for, which must exist on this machine. */
function workingDir(
  { container, podDir }: LaunchInput,
  realPath: (text: string) => string,
): string | Obstacle {
  if (container.workingDir === undefined || container.workingDir === "") {
    const dir = join(podDir, "work", container.name);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return dir;
  }
  const dir = realPath(container.workingDir);
  if (existsSync(dir)) return dir;
  const message = `workingDir ${container.workingDir} does not exist on this machine`;
  return { reason: "CreateContainerError", message, event: `Error: ${message}` };
}

function unknownImage({ name, image }: ContainerSpec): Obstacle {
  const message = `no local program stands for image ${JSON.stringify(image)}: name one with --image-map, or give container ${JSON.stringify(name)} a command`;
  return {
    reason: "ErrImagePull",
    retryReason: "ImagePullBackOff",
    message,
    event: `Failed to pull image ${JSON.stringify(image)}: ${message}`,
  };
}
