import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "../../runtime/index.ts";
import type { ConfigSource, Missing } from "../core/node-agent/config-source.ts";
import type { PodFacts } from "../core/node-agent/field-ref.ts";
import type { MountedDir } from "../core/node-agent/mount-paths.ts";
import type { ContainerSpec, Volume } from "../core/node-agent/pod.ts";
import { type VolumeFile, volumeContent } from "../core/node-agent/volume-files.ts";
import type { LocalApi } from "../local-api.ts";

/** A token is renewed when this part of its life is over (kubelet: 80 %). */
const TOKEN_RENEWAL = 0.8;

export interface VolumeContext {
  readonly facts: PodFacts;
  readonly config: ConfigSource;
  readonly capacity: Readonly<Record<string, number>>;
}

interface HeldToken {
  readonly token: string;
  readonly renewAtMs: number;
}

/** A pod's volumes as directories of this machine. */
export class PodVolumes {
  readonly #dir: string;
  readonly #api: LocalApi;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, HeldToken>();
  readonly #dirs = new Map<string, string>();

  constructor(dir: string, api: LocalApi, clock: Clock) {
    this.#dir = dir;
    this.#api = api;
    this.#clock = clock;
  }

  /** When a token must be renewed next, in ms of the clock; undefined without tokens. */
  get renewAtMs(): number | undefined {
    const times = [...this.#tokens.values()].map((held) => held.renewAtMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Writes what changed. Stops at the first volume that cannot be provided and says why. */
  async write(volumes: readonly Volume[], context: VolumeContext): Promise<Missing | undefined> {
    for (const volume of volumes) {
      const tokens = await this.#tokensOf(volume, context.facts);
      const content = volumeContent(volume, { ...context, tokens });
      if ("missing" in content) {
        return {
          missing: `MountVolume.SetUp failed for volume "${volume.name}" : ${content.missing}`,
        };
      }
      const dir = content.kind === "host" ? content.dir : join(this.#dir, volume.name);
      this.#dirs.set(volume.name, dir);
      if (content.kind !== "host") mkdirSync(dir, { recursive: true, mode: 0o777 });
      // Whatever the umask: containers may be other users.
      if (content.kind === "empty") chmodSync(dir, 0o777);
      if (content.kind === "files") writeFiles(dir, content.files);
    }
    return undefined;
  }

  /** Where a container finds its mounts. */
  mountsOf(container: ContainerSpec): readonly MountedDir[] {
    return container.volumeMounts.flatMap(({ name, mountPath, subPath }) => {
      const dir = this.#dirs.get(name);
      return dir === undefined ? [] : [{ volume: name, mountPath, dir: join(dir, subPath) }];
    });
  }

  async #tokensOf(volume: Volume, { pod }: PodFacts): Promise<ReadonlyMap<string, string>> {
    const tokens = new Map<string, string>();
    for (const { serviceAccountToken } of volume.projected?.sources ?? []) {
      if (serviceAccountToken === undefined) continue;
      const { audience, expirationSeconds, path } = serviceAccountToken;
      const key = `${volume.name}/${path}`;
      let held = this.#tokens.get(key);
      const nowMs = this.#clock.nowMs();
      if (held === undefined || held.renewAtMs <= nowMs) {
        const account = {
          namespace: pod.namespace,
          serviceAccount: pod.spec.serviceAccountName,
        };
        const token = await this.#api.createToken(account, {
          audiences: audience === "" ? [] : [audience],
          expirationSeconds,
          podName: pod.name,
          podUid: pod.uid,
        });
        held = { token, renewAtMs: nowMs + expirationSeconds * 1000 * TOKEN_RENEWAL };
        this.#tokens.set(key, held);
      }
      tokens.set(path, held.token);
    }
    return tokens;
  }
}

/** The file of the first projected service account token among a container's mounts. */
export function tokenPath(
  volumes: readonly Volume[],
  mounts: readonly MountedDir[],
): string | undefined {
  for (const mount of mounts) {
    const volume = volumes.find((each) => each.name === mount.volume);
    for (const { serviceAccountToken } of volume?.projected?.sources ?? []) {
      if (serviceAccountToken !== undefined) return join(mount.dir, serviceAccountToken.path);
    }
  }
  return undefined;
}

/** Makes a directory hold these files and no others; each file changes as a whole. */
function writeFiles(dir: string, files: readonly VolumeFile[]): void {
  const wanted = new Set(files.map((file) => file.path));
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory() && !wanted.has(path.slice(dir.length + 1))) rmSync(path);
  }
  for (const { path, base64, mode } of files) {
    const target = join(dir, path);
    const bytes = Buffer.from(base64, "base64");
    if (existsSync(target) && readFileSync(target).equals(bytes)) continue;
    mkdirSync(dirname(target), { recursive: true });
    const draft = `${target}.new`;
    rmSync(draft, { force: true });
    writeFileSync(draft, bytes);
    chmodSync(draft, mode & 0o777);
    renameSync(draft, target);
  }
}
