/** Where a path inside a container really is: there is no mount namespace. */
export interface MountedDir {
  readonly volume: string;
  readonly mountPath: string;
  readonly dir: string;
}

const PATH_CHARACTER = "[A-Za-z0-9_.\\-/]";

/**
 * Replaces every path below a mount by the real one: `/etc/config/a.yaml` and
 * `--file=/etc/config/a.yaml`, but not `/etc/config2` or `/srv/etc/config`. Longest mount first.
 */
export function replaceMountPaths(text: string, mounts: readonly MountedDir[]): string {
  const dirs = new Map(mounts.map((m) => [trimSlash(m.mountPath), m.dir]));
  const paths = [...dirs.keys()].filter((path) => path !== "").sort((a, b) => b.length - a.length);
  if (paths.length === 0) return text;
  const alternatives = paths.map((p) => p.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  const pattern = new RegExp(`(?<!${PATH_CHARACTER})(?:${alternatives})(?![A-Za-z0-9_.\\-])`, "g");
  return text.replace(pattern, (path) => dirs.get(path) ?? path);
}

/** `SERIN_VOLUME_<NAME>` for every mounted volume; of several mounts of one volume the first. */
export function volumeVariables(mounts: readonly MountedDir[]): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const { volume, dir } of mounts) {
    env[`SERIN_VOLUME_${volume.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`] ??= dir;
  }
  return env;
}

function trimSlash(path: string): string {
  return path.replace(/\/+$/, "");
}
