import { OverlayMap } from "./overlay-map.ts";
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
  readonly names: OverlayMap<XdsResource, true>;
  isAnswered: boolean;
  /** Whether the client came with resources from an earlier stream. */
  isReturning: boolean;
  /** Versions as last sent; "" once told that the resource does not exist. */
  readonly sent: OverlayMap<XdsResource, string>;
  /** What the client acknowledged. Only the version is known of what it had before a reconnect. */
  readonly held: OverlayMap<XdsResource, Held>;
  /** By `name version`: what the client refused, which is not sent again. */
  readonly rejected: Map<
    string,
    { readonly name: string; readonly version: string; readonly message: string }
  >;
  /**
   * Names of which it is not known that nothing is to be done for them: they changed, wait for
   * something else, or were refused. All others are as the client is meant to have them.
   */
  open: ReadonlySet<string> | "all";
  inFlight: InFlight | undefined;
  lastNonce: string;
  ackedNonce: string;
  ackedPush: number;
}

/** What a client has; of what it brought from an earlier stream only the version is known. */
export type Held = XdsResource | { readonly version: string; readonly body?: undefined };

export function createSubscription(): Subscription {
  return {
    isWildcard: false,
    isExplicit: false,
    names: new OverlayMap(() => true),
    isAnswered: false,
    isReturning: false,
    sent: new OverlayMap(({ version }) => version),
    held: new OverlayMap((resource) => resource),
    rejected: new Map(),
    open: "all",
    inFlight: undefined,
    lastNonce: "",
    ackedNonce: "",
    ackedPush: 0,
  };
}

/** These names are to be looked at again. */
export function reopen(state: Subscription, names: Iterable<string>): void {
  if (state.open === "all") return;
  const more = new Set(state.open);
  for (const name of names) more.add(name);
  state.open = more;
}

/** Whether the client is known to have exactly what it is meant to have of this type. */
export function isSettled({ open, inFlight, rejected }: Subscription): boolean {
  return open !== "all" && open.size === 0 && inFlight === undefined && rejected.size === 0;
}

/**
 * Lets a client that has all of `target`, and nothing else, share that map instead of a copy of its
 * own. `state` must be settled.
 */
export function share(state: Subscription, target: ReadonlyMap<string, XdsResource>): void {
  const { held, sent, names } = state;
  // Everything sent is in the target or was said to be absent: equal sizes mean equal names.
  if (held.size !== target.size || sent.size !== target.size) return;
  held.rebase(target);
  sent.rebase(target);
  if (!state.isWildcard && names.size === target.size) names.rebase(target);
}

export function applyAck(state: Subscription, inFlight: InFlight): void {
  state.inFlight = undefined;
  state.ackedNonce = inFlight.nonce;
  for (const [name, resource] of inFlight.upserts) {
    // What was unsubscribed meanwhile the client has dropped.
    if (state.sent.has(name)) state.held.set(name, resource);
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
    reopen(state, [name]);
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
  const isWildcard = isLegacyWildcard || names.includes("*");
  const wanted = new Set(names.filter((name) => name !== "*"));
  const isSame =
    wanted.size === state.names.size && [...wanted].every((each) => state.names.has(each));
  // Every acknowledgement repeats the list.
  if (isSame && isWildcard === state.isWildcard) return;
  state.isWildcard = isWildcard;
  state.open = "all";
  if (!state.isWildcard) {
    for (const name of state.sent.keys()) if (!wanted.has(name)) forget(state, name);
  }
  for (const name of state.names.keys()) if (!wanted.has(name)) state.names.delete(name);
  for (const name of wanted) state.names.set(name, true);
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
  const hasChange =
    change.subscribe.length + change.unsubscribe.length > 0 ||
    Object.keys(change.initialVersions).length > 0;
  if (!hasChange && (state.isExplicit || state.isWildcard || !isWildcardType)) return;
  state.open = "all";
  if (change.subscribe.length > 0 && !state.isExplicit) {
    state.isExplicit = true;
    state.isWildcard = false;
  } else if (isWildcardType && !state.isExplicit) state.isWildcard = true;
  for (const name of change.subscribe) {
    if (name === "*") state.isWildcard = true;
    else {
      state.names.set(name, true);
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
    state.held.set(name, { version });
  }
}

function forget(state: Subscription, name: string): void {
  state.sent.delete(name);
  state.held.delete(name);
}
