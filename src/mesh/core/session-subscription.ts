import { mentions } from "./session-rejection.ts";
import type { XdsResource } from "./xds-resource.ts";

/** A response that has not been answered yet. */
export interface InFlight {
  readonly nonce: string;
  readonly upserts: ReadonlyMap<string, XdsResource>;
  readonly removals: readonly string[];
  /** The push that the client has in full when it acknowledges; undefined when more is to come. */
  readonly push: number | undefined;
}

/** What a client wants of one type, and what it has. */
export interface Subscription {
  isWildcard: boolean;
  /** Whether a name was ever subscribed to: from then on "no names" means none. */
  isExplicit: boolean;
  names: Set<string>;
  isAnswered: boolean;
  /** Whether the client came with resources from an earlier stream. */
  isReturning: boolean;
  /** Versions as last sent; "" once told that the resource does not exist. */
  readonly sent: Map<string, string>;
  /** What the client acknowledged. Only the version is known of what it had before a reconnect. */
  readonly held: Map<
    string,
    { readonly version: string; readonly resource: XdsResource | undefined }
  >;
  /** By `name version`: what the client refused, which is not sent again. */
  readonly rejected: Map<
    string,
    { readonly name: string; readonly version: string; readonly message: string }
  >;
  inFlight: InFlight | undefined;
  lastNonce: string;
  ackedNonce: string;
  ackedPush: number;
}

export function createSubscription(): Subscription {
  return {
    isWildcard: false,
    isExplicit: false,
    names: new Set(),
    isAnswered: false,
    isReturning: false,
    sent: new Map(),
    held: new Map(),
    rejected: new Map(),
    inFlight: undefined,
    lastNonce: "",
    ackedNonce: "",
    ackedPush: 0,
  };
}

export function applyAck(state: Subscription, inFlight: InFlight): void {
  state.inFlight = undefined;
  state.ackedNonce = inFlight.nonce;
  for (const [name, resource] of inFlight.upserts) {
    // What was unsubscribed meanwhile the client has dropped.
    if (state.sent.has(name)) state.held.set(name, { version: resource.version, resource });
  }
  for (const name of inFlight.removals) state.held.delete(name);
  if (inFlight.push !== undefined) state.ackedPush = inFlight.push;
}

/**
 * A refusal: clients apply what is valid of a response (Envoy and Serin's proxy alike) and name what
 * is not. When the error names nothing of the response, all that it changed counts as refused.
 */
export function applyNack(state: Subscription, inFlight: InFlight, message: string): void {
  const changed = [...inFlight.upserts.values()].filter(
    ({ name, version }) => state.held.get(name)?.version !== version,
  );
  const named = changed.filter(({ name }) => mentions(message, name));
  const refused = new Set(named.length > 0 ? named : changed);
  const { ackedNonce } = state;
  applyAck(state, {
    ...inFlight,
    push: undefined,
    upserts: new Map([...inFlight.upserts].filter(([, each]) => !refused.has(each))),
  });
  state.ackedNonce = ackedNonce;
  for (const { name, version } of refused) {
    state.rejected.set(`${name} ${version}`, { name, version, message });
    const held = state.held.get(name);
    if (!state.sent.has(name)) continue;
    if (held === undefined) state.sent.delete(name);
    else state.sent.set(name, held.version);
  }
}

/** The full list of names (xDS protocol, "State of the world"). */
export function subscribeSotw(
  state: Subscription,
  names: readonly string[],
  isWildcardType: boolean,
): void {
  if (names.length > 0) state.isExplicit = true;
  const isLegacyWildcard = isWildcardType && !state.isExplicit;
  state.isWildcard = isLegacyWildcard || names.includes("*");
  const wanted = new Set(names.filter((name) => name !== "*"));
  if (!state.isWildcard) {
    for (const name of state.sent.keys()) if (!wanted.has(name)) forget(state, name);
  }
  state.names = wanted;
}

/** Names that come and go (xDS protocol, "Incremental xDS", "Resource names and wildcards"). */
export function subscribeDelta(
  state: Subscription,
  change: {
    readonly subscribe: readonly string[];
    readonly unsubscribe: readonly string[];
    readonly initialVersions: Readonly<Record<string, string>>;
  },
  isWildcardType: boolean,
): void {
  if (change.subscribe.length > 0 && !state.isExplicit) {
    state.isExplicit = true;
    state.isWildcard = false;
  } else if (isWildcardType && !state.isExplicit) state.isWildcard = true;
  for (const name of change.subscribe) {
    if (name === "*") state.isWildcard = true;
    else {
      state.names.add(name);
      // Asking again means: send it again, whatever was sent before.
      state.sent.delete(name);
    }
  }
  for (const name of change.unsubscribe) {
    if (name === "*") state.isWildcard = false;
    state.names.delete(name);
  }
  if (!state.isWildcard) {
    for (const name of state.sent.keys()) if (!state.names.has(name)) forget(state, name);
  }
  for (const [name, version] of Object.entries(change.initialVersions)) {
    if (!state.isWildcard && !state.names.has(name)) continue;
    state.isReturning = true;
    state.sent.set(name, version);
    state.held.set(name, { version, resource: undefined });
  }
}

function forget(state: Subscription, name: string): void {
  state.sent.delete(name);
  state.held.delete(name);
}
