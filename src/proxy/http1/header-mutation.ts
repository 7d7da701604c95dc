import type { HeaderMutation } from "../config/runtime-config.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";

/** A configured value as the one-byte-per-character text that heads are made of. */
function wireText(value: string): string {
  return Buffer.from(value, "utf8").toString("latin1");
}

/** Applies a mutation in Envoy's order: remove, then set and add. Names are lower case. */
export function mutateHeaders(headers: HeaderBlock, mutation: HeaderMutation): void {
  for (const name of mutation.remove) headers.remove(name.toLowerCase());
  for (const [name, value] of mutation.set) headers.set(name.toLowerCase(), wireText(value));
  for (const [name, value] of mutation.add) headers.add(name.toLowerCase(), wireText(value));
}
