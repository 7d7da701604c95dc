import type { KubeObject } from "../../../api/index.ts";
import { objectAt } from "../api/json.ts";

/** ConfigMaps and Secrets of a pod's namespace, read before they are needed. */
export interface ConfigSource {
  configMap(name: string): KubeObject | undefined;
  secret(name: string): KubeObject | undefined;
}

/** A value that is missing, in the words `kubectl describe` shows. */
export interface Missing {
  readonly missing: string;
}

/** The entries of a ConfigMap or Secret as bytes in base64, or undefined when it does not exist. */
export function entriesOf(
  source: ConfigSource,
  kind: "configMap" | "secret",
  name: string,
): Readonly<Record<string, string>> | undefined {
  const object = source[kind](name);
  if (object === undefined) return undefined;
  const entries: Record<string, string> = {};
  for (const [key, value] of Object.entries(objectAt(object, "data") ?? {})) {
    entries[key] = kind === "secret" ? String(value) : textToBase64(String(value));
  }
  for (const [key, value] of Object.entries(objectAt(object, "binaryData") ?? {})) {
    entries[key] = String(value);
  }
  return entries;
}

/** UTF-8 text in base64. */
export function textToBase64(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}

/** The text of base64; bytes that are no UTF-8 become U+FFFD. */
export function textFromBase64(base64: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(base64.replace(/[\r\n]/g, "")));
}
