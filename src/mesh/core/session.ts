import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
  XDS_TYPES,
} from "../../xds/index.ts";
import { changedNames } from "./resource-changes.ts";
import {
  applyAck,
  applyNack,
  createSubscription,
  isSettled,
  reopen,
  type Subscription,
  share,
  subscribeDelta,
  subscribeSotw,
} from "./session-subscription.ts";
import { referencesOf } from "./snapshot-references.ts";
import type { ResourceSet, XdsResource } from "./xds-resource.ts";

/** A request of either protocol, decoded. */
export interface SessionRequest {
  readonly typeUrl: ResourceTypeUrl;
  /** Of the response it answers; "" when it answers none. */
  readonly nonce: string;
  /** Why the response was refused; undefined for an ACK. */
  readonly error: string | undefined;
  readonly subscription:
    | { readonly protocol: "sotw"; readonly names: readonly string[] }
    | {
        readonly protocol: "delta";
        readonly subscribe: readonly string[];
        readonly unsubscribe: readonly string[];
        readonly initialVersions: Readonly<Record<string, string>>;
      };
}

/** A response to send; `removed` stays empty with state of the world. */
export interface SessionResponse {
  readonly typeUrl: ResourceTypeUrl;
  readonly version: string;
  readonly nonce: string;
  readonly resources: readonly XdsResource[];
  readonly removed: readonly string[];
}

/** How far one type of one stream is. */
export interface TypeProgress {
  readonly typeUrl: ResourceTypeUrl;
  readonly nonceSent: string;
  readonly nonceAcked: string;
  readonly isInFlight: boolean;
  /** Number of the newest push that the client has in full, as far as this type goes. */
  readonly ackedPush: number;
  /** What the client refused and is still meant to have. */
  readonly rejected: readonly { readonly name: string; readonly message: string }[];
}

export interface SessionOptions {
  readonly protocol: "sotw" | "delta";
  /** Starts every nonce, so that a nonce of another stream is recognised as foreign. */
  readonly noncePrefix: string;
}

interface Plan {
  readonly upserts: readonly XdsResource[];
  readonly removals: readonly string[];
  /** Whether the client has everything of this type once it has acknowledged this. */
  readonly isComplete: boolean;
  /** Whether some resource waits for clusters that the client does not have yet. */
  readonly isWithheld: boolean;
  /** What must be looked at again once this was sent. */
  readonly open: ReadonlySet<string>;
}

const NOTHING: ReadonlyMap<string, XdsResource> = new Map();

/** The order in which a push goes out (make before break). */
const CONFIG_TYPES = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE] as const;

/**
 * The state of one ADS stream, either protocol, without any I/O: requests, new resources and secrets
 * go in, the responses to send come out, in order. At most one response of a type is unanswered;
 * what is newer waits and replaces what is older. A route or listener is sent only when the client
 * has acknowledged the clusters it names (with their endpoints), and a cluster is removed only when
 * nothing that the client has names it. Source: xDS protocol, "Eventual consistency considerations".
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #subscriptions = new Map<ResourceTypeUrl, Subscription>();
  #target: ResourceSet | undefined;
  #push = 0;
  #secrets: ReadonlyMap<string, XdsResource | undefined> = new Map();
  #nonce = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** Takes a request; gives what must be sent because of it. */
  receive(request: SessionRequest): readonly SessionResponse[] {
    const { subscription: change, nonce } = request;
    let state = this.#subscriptions.get(request.typeUrl);
    const isStale = nonce !== "" && state !== undefined && nonce !== state.lastNonce;
    // Names of a stale state-of-the-world request are out of date; delta's changes always count.
    if (isStale && state?.lastNonce !== "" && change.protocol === "sotw") return [];
    if (state === undefined) {
      state = createSubscription();
      this.#subscriptions.set(request.typeUrl, state);
    }
    const inFlight = state.inFlight;
    if (inFlight !== undefined && nonce === inFlight.nonce) {
      if (request.error === undefined) applyAck(state, inFlight);
      else applyNack(state, inFlight, request.error);
      if (request.typeUrl === CLUSTER_TYPE) this.#dropEndpoints(inFlight.removals);
    }
    const isWildcardType = request.typeUrl === CLUSTER_TYPE || request.typeUrl === LISTENER_TYPE;
    if (change.protocol === "sotw") subscribeSotw(state, change.names, isWildcardType);
    else subscribeDelta(state, change, isWildcardType);
    return this.#pump();
  }

  /** From now on the client is to have these; `push` numbers them, ascending. */
  update(target: ResourceSet, push: number): readonly SessionResponse[] {
    const before = this.#target;
    this.#target = target;
    this.#push = push;
    if (before === target && this.#isQuiet()) return [];
    for (const [typeUrl, state] of this.#subscriptions) {
      const { rejected, held } = state;
      for (const [key, { name, version }] of rejected) {
        const isOfUse = [target.get(typeUrl)?.get(name), held.get(name)].some(
          (each) => each?.version === version,
        );
        if (isOfUse) continue;
        rejected.delete(key);
        reopen(state, [name]);
      }
      if (before === undefined) continue;
      const changed = changedNames(before.get(typeUrl) ?? NOTHING, target.get(typeUrl) ?? NOTHING);
      if (changed.size > 0) reopen(state, changed);
    }
    return this.#pump();
  }

  /** Secrets by name; undefined for one that does not exist. A name that is missing is not known yet. */
  setSecrets(secrets: ReadonlyMap<string, XdsResource | undefined>): readonly SessionResponse[] {
    this.#secrets = secrets;
    return this.#pump();
  }

  /** Names of the secrets that the client asked for. */
  wantedSecrets(): ReadonlySet<string> {
    return new Set(this.#subscriptions.get(SECRET_TYPE)?.names.keys());
  }

  /** Whether the client is subscribed to a resource, by its name or to all of the type. */
  asksFor(typeUrl: ResourceTypeUrl, name: string): boolean {
    const state = this.#subscriptions.get(typeUrl);
    return state !== undefined && (state.isWildcard || state.names.get(name) !== undefined);
  }

  /** The newest push that the client has acknowledged in full, all types; 0 for none. */
  ackedPush(): number {
    if (this.#subscriptions.size === 0) return 0;
    const pushes = CONFIG_TYPES.map((typeUrl) => {
      const state = this.#subscriptions.get(typeUrl);
      return state === undefined ? this.#push : state.ackedPush;
    });
    return Math.min(...pushes);
  }

  /** The types the client asked for and how far each is. */
  progress(): readonly TypeProgress[] {
    return [...this.#subscriptions].map(([typeUrl, state]) => ({
      typeUrl,
      nonceSent: state.lastNonce,
      nonceAcked: state.ackedNonce,
      isInFlight: state.inFlight !== undefined,
      ackedPush: state.ackedPush,
      rejected: [...state.rejected.values()].filter(
        ({ name, version }) => this.#targetOf(typeUrl)?.get(name)?.version === version,
      ),
    }));
  }

  /** What the client has, as far as it has acknowledged: names and versions of a type. */
  held(typeUrl: ResourceTypeUrl): ReadonlyMap<string, string> {
    const held = this.#subscriptions.get(typeUrl)?.held ?? [];
    return new Map([...held].map(([name, { version }]) => [name, version]));
  }

  /** Whether nothing is to be done for any type; then the newest push is acknowledged. */
  #isQuiet(): boolean {
    for (const [typeUrl, state] of this.#subscriptions) {
      // Secrets do not come with pushes.
      if (typeUrl !== SECRET_TYPE && !(isSettled(state) && state.isAnswered)) return false;
    }
    const routes = this.#subscriptions.get(ROUTE_TYPE);
    if (routes !== undefined && !this.#hasAskedForRoutes(routes)) return false;
    for (const state of this.#subscriptions.values()) state.ackedPush = this.#push;
    return true;
  }

  #pump(): readonly SessionResponse[] {
    const responses: SessionResponse[] = [];
    for (const typeUrl of XDS_TYPES) {
      const state = this.#subscriptions.get(typeUrl);
      if (state === undefined || state.inFlight !== undefined) continue;
      const response = this.#next(typeUrl, state);
      if (response !== undefined) responses.push(response);
    }
    return responses;
  }

  #next(typeUrl: ResourceTypeUrl, state: Subscription): SessionResponse | undefined {
    if (this.#target === undefined && typeUrl !== SECRET_TYPE) return undefined;
    // Half a first answer would let a client believe that it is complete.
    const plan = this.#plan(typeUrl, state);
    if (plan.isWithheld && this.#isWarming()) return undefined;
    const isFirstAnswer = state.isWildcard && !state.isAnswered && !plan.isWithheld;
    const isEmpty = plan.upserts.length === 0 && plan.removals.length === 0;
    if (isEmpty && !isFirstAnswer) {
      state.open = typeUrl === SECRET_TYPE ? "all" : plan.open;
      if (plan.isComplete) {
        state.ackedPush = this.#push;
        const target = this.#target?.get(typeUrl);
        if (target !== undefined && isSettled(state)) share(state, target);
      }
      return undefined;
    }
    return this.#send(typeUrl, state, plan);
  }

  #send(typeUrl: ResourceTypeUrl, state: Subscription, plan: Plan): SessionResponse {
    this.#nonce += 1;
    const nonce = `${this.#options.noncePrefix}${this.#nonce}`;
    if (typeUrl === CLUSTER_TYPE) this.#sendEndpointsAgain(plan.upserts, state);
    const target = this.#targetOf(typeUrl);
    const isSotw = this.#options.protocol === "sotw";
    for (const resource of plan.upserts) state.sent.set(resource.name, resource.version);
    for (const name of plan.removals) state.sent.set(name, "");
    state.open = typeUrl === SECRET_TYPE ? "all" : plan.open;
    state.inFlight = {
      nonce,
      upserts:
        // All there is: no need for a map of its own. (State of the world may list what is kept.)
        !isSotw && plan.upserts.length === target?.size
          ? target
          : new Map(plan.upserts.map((resource) => [resource.name, resource])),
      removals: plan.removals,
      push: plan.isComplete ? this.#push : undefined,
    };
    state.lastNonce = nonce;
    state.isAnswered = true;
    // Nothing was missing until the client asked for more: now something is.
    state.ackedPush = Math.min(state.ackedPush, this.#push - 1);
    return {
      typeUrl,
      version: String(this.#push),
      nonce,
      resources: plan.upserts,
      removed: isSotw ? [] : plan.removals,
    };
  }

  /** A client forgets the endpoints of a cluster with the cluster. */
  #dropEndpoints(clusters: readonly string[]): void {
    const endpoints = this.#subscriptions.get(ENDPOINT_TYPE);
    if (endpoints === undefined) return;
    for (const name of clusters) {
      endpoints.held.delete(name);
      endpoints.sent.delete(name);
    }
    reopen(endpoints, clusters);
  }

  /** A cluster that changed warms anew and waits for its endpoints, although those are the same. */
  #sendEndpointsAgain(clusters: readonly XdsResource[], state: Subscription): void {
    const endpoints = this.#subscriptions.get(ENDPOINT_TYPE);
    if (endpoints === undefined) return;
    const again: string[] = [];
    for (const { name, version } of clusters) {
      const before = state.sent.get(name);
      if (before === undefined || before === version) continue;
      endpoints.sent.delete(name);
      again.push(name);
    }
    if (again.length > 0) reopen(endpoints, again);
  }

  #plan(typeUrl: ResourceTypeUrl, state: Subscription): Plan {
    const isFullList = typeUrl === CLUSTER_TYPE || typeUrl === LISTENER_TYPE;
    const changes = this.#changes(typeUrl, state);
    if (this.#options.protocol === "delta") return changes;
    if (!isFullList) return { ...changes, removals: [] };
    const isSame = changes.upserts.length === 0 && changes.removals.length === 0;
    return isSame ? changes : { ...changes, upserts: this.#fullList(typeUrl, state, changes) };
  }

  /** State of the world lists everything: what changes, and what the client keeps. */
  #fullList(typeUrl: ResourceTypeUrl, state: Subscription, changes: Plan): readonly XdsResource[] {
    const list = new Map<string, XdsResource>();
    for (const name of state.held.keys()) {
      const resource = this.#heldResource(typeUrl, state, name);
      if (resource !== undefined) list.set(name, resource);
    }
    for (const name of changes.removals) list.delete(name);
    for (const resource of changes.upserts) list.set(resource.name, resource);
    return [...list.values()];
  }

  /** What is to be sent of the names that are open; of the others nothing is. */
  #changes(typeUrl: ResourceTypeUrl, state: Subscription): Plan {
    const target = this.#targetOf(typeUrl);
    const upserts: XdsResource[] = [];
    const removals: string[] = [];
    const open = new Set<string>();
    let isComplete = true;
    let isWithheld = false;
    const consider = (resource: XdsResource): void => {
      const { name, version } = resource;
      if (state.sent.get(name) === version) return;
      if (state.rejected.has(`${name} ${version}`)) {
        isComplete = false;
        open.add(name);
      } else if (this.#mayHave(resource)) upserts.push(resource);
      else {
        isWithheld = true;
        open.add(name);
      }
    };
    const considerAbsent = (name: string): void => {
      const version = state.sent.get(name);
      if (version === "") return;
      if (version !== undefined) {
        if (typeUrl === SECRET_TYPE && !this.#secrets.has(name)) return;
        if (this.#mayLose(typeUrl, name)) removals.push(name);
        else {
          isComplete = false;
          open.add(name);
        }
        // An explicit name that does not exist is answered as removed, once.
      } else if (!state.isWildcard && state.names.has(name)) {
        if (this.#isAbsent(typeUrl, name)) removals.push(name);
        else if (typeUrl !== SECRET_TYPE) {
          isComplete = false;
          open.add(name);
        }
      }
    };
    for (const name of state.open === "all" ? allNames(state, target) : state.open) {
      const resource = target?.get(name);
      if (resource === undefined) considerAbsent(name);
      else if (state.isWildcard || state.names.has(name)) consider(resource);
    }
    const hasAllNames = typeUrl !== ROUTE_TYPE || this.#hasAskedForRoutes(state);
    return {
      upserts,
      removals,
      isComplete: isComplete && !isWithheld && hasAllNames,
      isWithheld,
      open,
    };
  }

  #targetOf(typeUrl: ResourceTypeUrl): ReadonlyMap<string, XdsResource> | undefined {
    if (typeUrl !== SECRET_TYPE) return this.#target?.get(typeUrl);
    const found = [...this.#secrets].flatMap(([name, secret]) =>
      secret === undefined ? [] : [[name, secret] as const],
    );
    return new Map(found);
  }

  #isAbsent(typeUrl: ResourceTypeUrl, name: string): boolean {
    if (typeUrl === SECRET_TYPE) return this.#secrets.has(name);
    return this.#mayLose(typeUrl, name);
  }

  /** Whether the client has every cluster that the resource names; clients that pick clusters by name decide themselves. */
  #mayHave(resource: XdsResource): boolean {
    if (resource.typeUrl !== LISTENER_TYPE && resource.typeUrl !== ROUTE_TYPE) return true;
    const clusters = this.#subscriptions.get(CLUSTER_TYPE);
    if (clusters?.isWildcard !== true) return true;
    const endpoints = this.#subscriptions.get(ENDPOINT_TYPE);
    if (this.#hasEverything(clusters, endpoints)) return true;
    for (const name of referencesOf(resource).clusters) {
      if (!clusters.held.has(name) || clusters.inFlight?.removals.includes(name)) return false;
      const isEds = this.#target?.get(ENDPOINT_TYPE)?.has(name) === true;
      // Until it asks for endpoints a new client has no cluster to warm; a returning one has.
      const isAsking = endpoints !== undefined || clusters.isReturning;
      if (isEds && isAsking && endpoints?.held.has(name) !== true) return false;
    }
    return true;
  }

  /** Whether it has all clusters and endpoints there are, hence those of any resource of the target. */
  #hasEverything(clusters: Subscription, endpoints: Subscription | undefined): boolean {
    if (endpoints === undefined || !isSettled(clusters) || !isSettled(endpoints)) return false;
    return endpoints.held.size === (this.#target?.get(ENDPOINT_TYPE)?.size ?? 0);
  }

  /** Whether nothing that the client has, or is being sent, names the resource. */
  #mayLose(typeUrl: ResourceTypeUrl, name: string): boolean {
    if (typeUrl === ENDPOINT_TYPE) {
      const clusters = this.#subscriptions.get(CLUSTER_TYPE);
      return clusters === undefined || !(clusters.held.has(name) || isSending(clusters, name));
    }
    if (typeUrl === CLUSTER_TYPE) {
      if (!this.#hasToldWhatItHolds()) return false;
      return !this.#isNamedBy([LISTENER_TYPE, ROUTE_TYPE], (each) => each.clusters.has(name));
    }
    if (typeUrl === ROUTE_TYPE) {
      return !this.#isNamedBy([LISTENER_TYPE], (each) => each.routes.has(name));
    }
    return true;
  }

  #isNamedBy(
    typeUrls: readonly ResourceTypeUrl[],
    names: (references: ReturnType<typeof referencesOf>) => boolean,
  ): boolean {
    for (const typeUrl of typeUrls) {
      const state = this.#subscriptions.get(typeUrl);
      if (state === undefined) continue;
      for (const name of state.held.keys()) {
        const resource = this.#heldResource(typeUrl, state, name);
        // From before a reconnect, in a version nobody knows any more: it may name anything.
        if (resource === undefined || names(referencesOf(resource))) return true;
      }
      for (const resource of state.inFlight?.upserts.values() ?? []) {
        if (names(referencesOf(resource))) return true;
      }
    }
    return false;
  }

  #heldResource(
    typeUrl: ResourceTypeUrl,
    state: Subscription,
    name: string,
  ): XdsResource | undefined {
    const held = state.held.get(name);
    if (held?.body !== undefined) return held;
    const target = this.#targetOf(typeUrl)?.get(name);
    return target?.version === held?.version ? target : undefined;
  }

  /** Whether an answer is awaited that may let more resources go. */
  #isWarming(): boolean {
    return [CLUSTER_TYPE, ENDPOINT_TYPE].some(
      (typeUrl) => this.#subscriptions.get(typeUrl as ResourceTypeUrl)?.inFlight !== undefined,
    );
  }

  /** A returning client tells its clusters first, and only then which listeners and routes use them. */
  #hasToldWhatItHolds(): boolean {
    if (this.#subscriptions.get(CLUSTER_TYPE)?.isReturning !== true) return true;
    const routes = this.#subscriptions.get(ROUTE_TYPE) ?? createSubscription();
    return this.#subscriptions.has(LISTENER_TYPE) && this.#hasAskedForRoutes(routes);
  }

  /** Whether the routes of every listener are subscribed to, which a client does after it got them. */
  #hasAskedForRoutes(routes: Subscription): boolean {
    const listeners = this.#subscriptions.get(LISTENER_TYPE);
    for (const name of listeners?.held.keys() ?? []) {
      const resource = listeners && this.#heldResource(LISTENER_TYPE, listeners, name);
      for (const route of resource === undefined ? [] : referencesOf(resource).routes) {
        if (!routes.names.has(route) && !routes.isWildcard) return false;
      }
    }
    return true;
  }
}

/** Every name that could have something to be done for it. */
function* allNames(
  state: Subscription,
  target: ReadonlyMap<string, XdsResource> | undefined,
): Generator<string> {
  if (state.isWildcard) yield* target?.keys() ?? [];
  else yield* state.names.keys();
  for (const name of state.sent.keys()) {
    if (target?.has(name) !== true && (state.isWildcard || !state.names.has(name))) yield name;
  }
}

function isSending(state: Subscription, name: string): boolean {
  return state.inFlight?.upserts.has(name) === true;
}
