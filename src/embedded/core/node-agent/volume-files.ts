import { type ConfigSource, entriesOf, type Missing, textToBase64 } from "./config-source.ts";
import { fieldValue, type PodFacts, resourceValue } from "./field-ref.ts";
import type { DownwardItem, Volume } from "./pod.ts";

/** A file a volume must hold; `path` is relative to the volume. */
export interface VolumeFile {
  readonly path: string;
  readonly base64: string;
  readonly mode: number;
}

export interface VolumeInput {
  readonly facts: PodFacts;
  readonly config: ConfigSource;
  readonly capacity: Readonly<Record<string, number>>;
  /** Tokens of a projected volume, by the path they go to. */
  readonly tokens: ReadonlyMap<string, string>;
}

/** How a volume is provided: by files written here, by an empty directory, or by one of the host. */
export type VolumeContent =
  | { readonly kind: "files"; readonly files: readonly VolumeFile[] }
  | { readonly kind: "empty" }
  | { readonly kind: "host"; readonly dir: string };

/** What a volume must hold, or what is missing. */
export function volumeContent(volume: Volume, input: VolumeInput): VolumeContent | Missing {
  if (volume.hostPath !== undefined) return { kind: "host", dir: volume.hostPath.path };
  const parts = partsOf(volume, input);
  if (parts === undefined) {
    if (volume.emptyDir !== undefined) return { kind: "empty" };
    return { missing: `volume ${JSON.stringify(volume.name)}: this kind is not supported here` };
  }
  const files = new Map<string, VolumeFile>();
  for (const part of parts) {
    if ("missing" in part) return part;
    for (const file of part.files) {
      if (isUnsafe(file.path)) {
        return { missing: `volume ${JSON.stringify(volume.name)}: invalid path ${file.path}` };
      }
      files.set(file.path, file);
    }
  }
  return { kind: "files", files: [...files.values()] };
}

type Part = { readonly files: readonly VolumeFile[] } | Missing;

interface ConfigReference {
  readonly name: string;
  readonly items?: readonly { key: string; path: string; mode?: number | undefined }[] | undefined;
  readonly optional: boolean;
}

function partsOf(volume: Volume, input: VolumeInput): readonly Part[] | undefined {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap !== undefined) {
    return [configFiles("configMap", configMap, configMap.defaultMode, input)];
  }
  if (secret !== undefined) {
    const reference = { ...secret, name: secret.secretName };
    return [configFiles("secret", reference, secret.defaultMode, input)];
  }
  if (downwardAPI !== undefined) {
    return [downwardFiles(downwardAPI.items, downwardAPI.defaultMode, input)];
  }
  if (projected === undefined) return undefined;
  const mode = projected.defaultMode;
  return projected.sources.flatMap((source): Part[] => {
    const parts: Part[] = [];
    if (source.configMap !== undefined) {
      parts.push(configFiles("configMap", source.configMap, mode, input));
    }
    if (source.secret !== undefined) parts.push(configFiles("secret", source.secret, mode, input));
    if (source.downwardAPI !== undefined) {
      parts.push(downwardFiles(source.downwardAPI.items, mode, input));
    }
    if (source.serviceAccountToken !== undefined) {
      const { path } = source.serviceAccountToken;
      const base64 = textToBase64(input.tokens.get(path) ?? "");
      parts.push({ files: [{ path, base64, mode }] });
    }
    return parts;
  });
}

function configFiles(
  kind: "configMap" | "secret",
  { name, items, optional }: ConfigReference,
  mode: number,
  input: VolumeInput,
): Part {
  const entries = entriesOf(input.config, kind, name);
  if (entries === undefined && !optional) {
    return { missing: `${kind.toLowerCase()} ${JSON.stringify(name)} not found` };
  }
  const wanted = items ?? Object.keys(entries ?? {}).map((key) => ({ key, path: key }));
  const files: VolumeFile[] = [];
  for (const item of wanted) {
    const base64 = entries?.[item.key];
    if (base64 !== undefined) {
      files.push({
        path: item.path,
        base64,
        mode: ("mode" in item ? item.mode : undefined) ?? mode,
      });
    } else if (!optional) {
      return { missing: `references non-existent config key: ${item.key} of ${name}` };
    }
  }
  return { files };
}

function downwardFiles(items: readonly DownwardItem[], mode: number, input: VolumeInput): Part {
  const files: VolumeFile[] = [];
  for (const item of items) {
    const value = downwardValue(item, input);
    if (value === undefined) {
      const what = item.fieldRef?.fieldPath ?? item.resourceFieldRef?.resource ?? "";
      return { missing: `unsupported downward API field: ${what}` };
    }
    files.push({ path: item.path, base64: textToBase64(value), mode: item.mode ?? mode });
  }
  return { files };
}

function downwardValue(item: DownwardItem, input: VolumeInput): string | undefined {
  if (item.fieldRef !== undefined) return fieldValue(item.fieldRef.fieldPath, input.facts);
  const reference = item.resourceFieldRef;
  const { containers, initContainers } = input.facts.pod.spec;
  const container = [...containers, ...initContainers].find(
    (each) => each.name === reference?.containerName,
  );
  if (reference === undefined || container === undefined) return undefined;
  return resourceValue(reference, container.resources, input.capacity);
}

/** A file must stay inside its volume. */
function isUnsafe(path: string): boolean {
  return path === "" || path.startsWith("/") || path.split("/").includes("..");
}
