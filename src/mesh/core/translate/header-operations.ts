import type { MessageTypes } from "../../../xds/index.ts";
import type { HeaderOperations, Headers } from "../model-istio.ts";
import { compare } from "../model-object.ts";

type HeaderValueOption = MessageTypes["envoy.config.core.v3.HeaderValueOption"];

/** HeaderValueOption.HeaderAppendAction */
const APPEND = { APPEND_IF_EXISTS_OR_ADD: 0, OVERWRITE_IF_EXISTS_OR_ADD: 2 } as const;

/** The header fields that routes and weighted clusters have in common. */
export interface HeaderFields {
  readonly request_headers_to_add?: HeaderValueOption[];
  readonly request_headers_to_remove?: string[];
  readonly response_headers_to_add?: HeaderValueOption[];
  readonly response_headers_to_remove?: string[];
}

/** Istio's header operations as Envoy's fields. The host is not among them: see `hostOf`. */
export function headerFields(headers: Headers | undefined): HeaderFields {
  const requestAdd = additions(headers?.request);
  const responseAdd = additions(headers?.response);
  const requestRemove = removals(headers?.request);
  const responseRemove = removals(headers?.response);
  return {
    ...(requestAdd.length > 0 ? { request_headers_to_add: requestAdd } : {}),
    ...(requestRemove.length > 0 ? { request_headers_to_remove: requestRemove } : {}),
    ...(responseAdd.length > 0 ? { response_headers_to_add: responseAdd } : {}),
    ...(responseRemove.length > 0 ? { response_headers_to_remove: responseRemove } : {}),
  };
}

/** The host that header operations set: Envoy rewrites it by a field of its own. */
export function hostOf(headers: Headers | undefined): string | undefined {
  const entries = Object.entries({ ...headers?.request?.add, ...headers?.request?.set });
  return entries.find(([name]) => isHost(name))?.[1];
}

function additions(operations: HeaderOperations | undefined): HeaderValueOption[] {
  return [
    ...options(operations?.set, APPEND.OVERWRITE_IF_EXISTS_OR_ADD),
    ...options(operations?.add, APPEND.APPEND_IF_EXISTS_OR_ADD),
  ];
}

function options(
  headers: Readonly<Record<string, string>> | undefined,
  append_action: 0 | 2,
): HeaderValueOption[] {
  return Object.entries(headers ?? {})
    .filter(([name]) => !isHost(name))
    .sort(([a], [b]) => compare(a, b))
    .map(([key, value]) => ({ header: { key, value }, append_action }));
}

/** Envoy lets nobody remove the host or a pseudo header. */
function removals(operations: HeaderOperations | undefined): string[] {
  return (operations?.remove ?? []).filter((name) => !isHost(name) && !name.startsWith(":"));
}

function isHost(name: string): boolean {
  return [":authority", "host", "authority"].includes(name.toLowerCase());
}
