import { messageOf } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import {
  CLUSTER_TYPE,
  decode,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type MessageName,
  type MessageTypes,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
  unknownFields,
} from "../../xds/index.ts";
import type {
  ClusterConfig,
  ListenerConfig,
  LoadAssignment,
  PeerInfo,
  RouteTable,
  RuntimeConfig,
} from "../config/runtime-config.ts";
import { type ClusterSpec, compileCluster } from "../core/compile/cluster.ts";
import type { CompileContext } from "../core/compile/data-source.ts";
import { compileEndpoints, NO_ENDPOINTS } from "../core/compile/endpoint.ts";
import { compileListener, type ListenerSpec } from "../core/compile/listener.ts";
import { compileRouteTable } from "../core/compile/route.ts";
import { compileResource, type Scope } from "../core/compile/scope.ts";
import { compileSecret, type SecretMaterial } from "../core/compile/tls.ts";
import type { RejectedResource, ResourceUpdate, WantedNames, XdsResource } from "./resource.ts";

/** Enough for all of Envoy's fields that we leave out; newer ones have endless numbers. */
const MAX_KNOWN_UNKNOWNS = 1_000;
const CORE = "envoy.config.core.v3";
const ROUTE = "envoy.config.route.v3";
const LISTENER = "envoy.config.listener.v3";
const HTTP_MANAGER =
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
/** Ignored, these would let requests through, or send them where they must not go. */
const MUST_BE_HONOURED: ReadonlySet<string> = new Set([
  `${CORE}.HttpProtocolOptions.headers_with_underscores_action`,
  `${ROUTE}.Route.filter_action`,
  `${ROUTE}.RouteAction.cluster_specifier_plugin`,
  `${ROUTE}.RouteAction.inline_cluster_specifier_plugin`,
  `${ROUTE}.RouteAction.internal_redirect_action`,
  `${ROUTE}.RouteAction.cors`,
  `${ROUTE}.VirtualHost.cors`,
  `${ROUTE}.VirtualHost.matcher`,
  `${ROUTE}.VirtualHost.request_mirror_policies`,
  `${ROUTE}.RouteConfiguration.vhds`,
  `${ROUTE}.RouteConfiguration.ignore_path_parameters_in_path_matching`,
  `${ROUTE}.RouteConfiguration.internal_only_headers`,
  `${ROUTE}.RouteConfiguration.request_mirror_policies`,
  `${LISTENER}.FilterChain.use_proxy_proto`,
  `${LISTENER}.Listener.additional_addresses`,
  `${LISTENER}.Listener.filter_chain_matcher`,
  `${LISTENER}.Listener.internal_listener`,
  `${LISTENER}.Listener.udp_listener_config`,
  `${HTTP_MANAGER}.early_header_mutation_extensions`,
  `${HTTP_MANAGER}.original_ip_detection_extensions`,
  `${HTTP_MANAGER}.path_normalization_options`,
  `${HTTP_MANAGER}.scheme_header_transformation`,
  `${HTTP_MANAGER}.scoped_routes`,
  `${HTTP_MANAGER}.typed_header_validation_config`,
  "envoy.config.cluster.v3.Cluster.filters",
  "envoy.config.cluster.v3.Cluster.upstream_config",
]);

/** A resource with what it compiled to. */
export interface Accepted<T> {
  readonly resource: XdsResource;
  readonly spec: T;
  readonly isStatic: boolean;
  readonly updatedMs: number;
}

/** A cluster or listener: the one that serves, and the newer one that still waits for its parts. */
export interface Slot<Spec, Config> {
  active: (Accepted<Spec> & { readonly config: Config }) | undefined;
  warming: Accepted<Spec> | undefined;
  rejected: RejectedResource | undefined;
}

export interface ConfigStoreOptions {
  readonly self: PeerInfo;
  readonly context: CompileContext;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after every change that the data path must see. */
  readonly onConfig: (config: RuntimeConfig) => void;
  /** Called when other names than before must be subscribed to. */
  readonly onWanted: (wanted: WantedNames) => void;
  /** Told of every update before it is applied, for threads that follow this one. */
  readonly onUpdate?: (update: ResourceUpdate, isStatic: boolean) => void;
}

const KIND: Readonly<Record<ResourceTypeUrl, string>> = {
  [CLUSTER_TYPE]: "Cluster",
  [ENDPOINT_TYPE]: "ClusterLoadAssignment",
  [LISTENER_TYPE]: "Listener",
  [ROUTE_TYPE]: "RouteConfiguration",
  [SECRET_TYPE]: "Secret",
};
const DEFAULT_FETCH_TIMEOUT_MS = 15_000;

/**
 * All resources of the proxy, compiled one by one, and the RuntimeConfig they add up to. A cluster
 * serves once its endpoints and secrets are there, a listener once its routes and secrets are; the
 * former version serves until then (make before break). What is refused changes nothing.
 */
export class ConfigStore {
  readonly clusters = new Map<string, Slot<ClusterSpec, ClusterConfig>>();
  readonly listeners = new Map<string, Slot<ListenerSpec, ListenerConfig>>();
  readonly endpoints = new Map<string, Accepted<LoadAssignment>>();
  readonly routes = new Map<string, Accepted<RouteTable>>();
  readonly secrets = new Map<string, Accepted<SecretMaterial>>();
  /** Refused endpoints, routes and secrets, by type URL and name. */
  readonly rejected = new Map<string, RejectedResource>();
  readonly #options: ConfigStoreOptions;
  readonly #knownUnknowns = new Set<string>();
  /** Names nobody answered for within their initial_fetch_timeout; they no longer hold anything up. */
  readonly #givenUp = new Set<string>();
  readonly #fetchTimers = new Map<string, () => void>();
  #wantedKey = "";
  #active: ReadonlyMap<string, ClusterConfig> = new Map();
  #activeListeners: ReadonlyMap<string, ListenerConfig> = new Map();

  constructor(options: ConfigStoreOptions) {
    this.#options = options;
  }

  /** The configuration now. */
  current(): RuntimeConfig {
    const clusters = this.#active;
    return {
      self: this.#options.self,
      listeners: this.#activeListeners,
      cluster: (name) => clusters.get(name),
      clusters: () => clusters.values(),
    };
  }

  /** Whether nothing is waiting for its parts. */
  isWarm(): boolean {
    const waits = (slot: { readonly warming: unknown }): boolean => slot.warming !== undefined;
    return ![...this.clusters.values()].some(waits) && ![...this.listeners.values()].some(waits);
  }

  /** Applies what is valid of an update and gives what was refused. */
  apply(update: ResourceUpdate, isStatic = false): readonly RejectedResource[] {
    this.#options.onUpdate?.(update, isStatic);
    const rejected: RejectedResource[] = [];
    const touched = new Set<string>();
    for (const resource of update.upserts) {
      // A resource sent again as it was (after a reconnect, say) changes nothing.
      if (this.#isUnchanged(update.typeUrl, resource)) continue;
      touched.add(resource.name);
      try {
        this.#upsert(update.typeUrl, resource, isStatic);
      } catch (error) {
        rejected.push({ ...resource, message: messageOf(error) });
      }
    }
    for (const refusal of rejected) this.#recordRejection(update.typeUrl, refusal);
    for (const name of update.removals) {
      if (this.#remove(update.typeUrl, name)) touched.add(name);
    }
    this.#settle(update.typeUrl, touched);
    return rejected;
  }

  /** Names of the dynamic resources of a type with their versions, for a reconnecting stream. */
  versions(typeUrl: ResourceTypeUrl): Record<string, string> {
    const out: Record<string, string> = {};
    for (const resource of this.resources(typeUrl)) out[resource.name] = resource.version;
    return out;
  }

  /** The newest accepted dynamic resources of a type. */
  resources(typeUrl: ResourceTypeUrl): readonly XdsResource[] {
    const slots = this.#slotsOf(typeUrl);
    const newest =
      slots === undefined
        ? [...(this.#plainOf(typeUrl)?.values() ?? [])]
        : [...slots.values()].map((slot) => slot.warming ?? slot.active);
    return newest.flatMap((entry) =>
      entry === undefined || entry.isStatic ? [] : [entry.resource],
    );
  }

  stop(): void {
    for (const cancel of this.#fetchTimers.values()) cancel();
    this.#fetchTimers.clear();
  }

  #isUnchanged(typeUrl: ResourceTypeUrl, resource: XdsResource): boolean {
    const slot = this.#slotsOf(typeUrl)?.get(resource.name);
    const known =
      slot === undefined
        ? this.#plainOf(typeUrl)?.get(resource.name)
        : (slot.warming ?? slot.active);
    if (known === undefined || known.resource.any.type_url !== resource.any.type_url) return false;
    const empty = new Uint8Array(0);
    return (
      known.resource.version === resource.version &&
      Buffer.compare(known.resource.any.value ?? empty, resource.any.value ?? empty) === 0
    );
  }

  #slotsOf(typeUrl: ResourceTypeUrl): Map<string, Slot<unknown, unknown>> | undefined {
    if (typeUrl === CLUSTER_TYPE) return this.clusters as Map<string, Slot<unknown, unknown>>;
    if (typeUrl === LISTENER_TYPE) return this.listeners as Map<string, Slot<unknown, unknown>>;
    return undefined;
  }

  #plainOf(typeUrl: ResourceTypeUrl): Map<string, Accepted<unknown>> | undefined {
    if (typeUrl === ENDPOINT_TYPE) return this.endpoints;
    if (typeUrl === ROUTE_TYPE) return this.routes;
    if (typeUrl === SECRET_TYPE) return this.secrets;
    return undefined;
  }

  #upsert(typeUrl: ResourceTypeUrl, resource: XdsResource, isStatic: boolean): void {
    const { context } = this.#options;
    const accept = <S>(spec: S): Accepted<S> => ({
      resource,
      spec,
      isStatic,
      updatedMs: this.#options.clock.nowMs(),
    });
    switch (typeUrl) {
      case CLUSTER_TYPE: {
        const spec = this.#compile(typeUrl, "envoy.config.cluster.v3.Cluster", resource, (c, s) => {
          return compileCluster(c, context, s);
        });
        this.#refuseStatic(this.clusters.get(resource.name)?.active, isStatic);
        warm(this.clusters, resource.name, accept(spec));
        return;
      }
      case LISTENER_TYPE: {
        const name = "envoy.config.listener.v3.Listener";
        const spec = this.#compile(typeUrl, name, resource, (l, s) =>
          compileListener(l, context, s),
        );
        this.#refuseStatic(this.listeners.get(resource.name)?.active, isStatic);
        warm(this.listeners, resource.name, accept(spec));
        return;
      }
      case ENDPOINT_TYPE: {
        const name = "envoy.config.endpoint.v3.ClusterLoadAssignment";
        const spec = this.#compile(typeUrl, name, resource, (a, s) => compileEndpoints(a, s));
        this.#accept(this.endpoints, typeUrl, accept(spec));
        return;
      }
      case ROUTE_TYPE: {
        const name = "envoy.config.route.v3.RouteConfiguration";
        const spec = this.#compile(typeUrl, name, resource, (r, s) =>
          compileRouteTable(r, context, s),
        );
        this.#accept(this.routes, typeUrl, accept(spec));
        return;
      }
      default: {
        const name = "envoy.extensions.transport_sockets.tls.v3.Secret";
        const spec = this.#compile(typeUrl, name, resource, (secret, s) =>
          compileSecret(secret, context, s),
        );
        this.#accept(this.secrets, typeUrl, accept(spec));
      }
    }
  }

  #compile<T extends MessageName, S>(
    typeUrl: ResourceTypeUrl,
    message: T,
    resource: XdsResource,
    compile: (message: MessageTypes[T], scope: Scope) => S,
  ): S {
    const subject = `${KIND[typeUrl]} ${resource.name}`;
    return compileResource(
      subject,
      (scope) => {
        if (resource.any.type_url !== typeUrl) {
          throw new TypeError(`${subject}: holds ${resource.any.type_url ?? "nothing"}`);
        }
        const bytes = resource.any.value ?? new Uint8Array(0);
        let decoded: MessageTypes[T];
        try {
          decoded = decode(message, bytes);
        } catch (error) {
          throw new TypeError(`${subject}: does not decode: ${messageOf(error)}`);
        }
        this.#warnOfUnknown(message, bytes, scope);
        return compile(decoded, scope);
      },
      (warning) => this.#options.logger.warn({ warning }, "xds field is not honoured"),
    );
  }

  /** Refuses what must not be ignored, and says of other fields once that nothing here reads them. */
  #warnOfUnknown(message: MessageName, bytes: Uint8Array, scope: Scope): void {
    for (const field of unknownFields(message, bytes)) {
      const key = `${field.message}.${field.name}`;
      if (MUST_BE_HONOURED.has(key)) scope.at(...field.path).fail("is not supported");
      if (this.#knownUnknowns.has(key) || this.#knownUnknowns.size >= MAX_KNOWN_UNKNOWNS) continue;
      this.#knownUnknowns.add(key);
      scope.at(...field.path).warn("is not known here and has no effect");
    }
  }

  #refuseStatic(active: Accepted<unknown> | undefined, isStatic: boolean): void {
    if (active?.isStatic === true && !isStatic) {
      throw new TypeError(`${active.resource.name}: a static resource has this name`);
    }
  }

  #accept<T>(map: Map<string, Accepted<T>>, typeUrl: ResourceTypeUrl, entry: Accepted<T>): void {
    map.set(entry.resource.name, entry);
    this.rejected.delete(`${typeUrl} ${entry.resource.name}`);
  }

  #recordRejection(typeUrl: ResourceTypeUrl, refusal: RejectedResource): void {
    const slots = this.#slotsOf(typeUrl);
    if (slots === undefined) {
      this.rejected.set(`${typeUrl} ${refusal.name}`, refusal);
      return;
    }
    const slot = slots.get(refusal.name);
    if (slot !== undefined) slot.rejected = refusal;
    else slots.set(refusal.name, { active: undefined, warming: undefined, rejected: refusal });
  }

  #remove(typeUrl: ResourceTypeUrl, name: string): boolean {
    const slots = this.#slotsOf(typeUrl);
    if (slots !== undefined) {
      return slots.get(name)?.active?.isStatic === true ? false : slots.delete(name);
    }
    const plain = this.#plainOf(typeUrl);
    return plain?.get(name)?.isStatic === true ? false : (plain?.delete(name) ?? false);
  }

  /** Promotes what became warm, rebuilds what the touched resources reach, publishes the result. */
  #settle(typeUrl: ResourceTypeUrl, touched: ReadonlySet<string>): void {
    const clustersChanged = this.#settleClusters(typeUrl, touched);
    const listenersChanged = this.#settleListeners(typeUrl, touched);
    if (clustersChanged) this.#active = activeOf(this.clusters);
    if (listenersChanged) this.#activeListeners = activeOf(this.listeners);
    if (clustersChanged || listenersChanged) this.#options.onConfig(this.current());
    // After the promotions, because they end the need for the former version's parts.
    const wanted = this.#wanted();
    this.#forgetUnwanted(wanted);
    this.#announce(wanted);
  }

  #settleClusters(typeUrl: ResourceTypeUrl, touched: ReadonlySet<string>): boolean {
    const before = this.#active.size;
    let isChanged = typeUrl === CLUSTER_TYPE && before !== 0;
    for (const slot of this.clusters.values()) {
      const next = slot.warming;
      if (next !== undefined && this.#isClusterReady(next.spec)) {
        slot.active = { ...next, config: this.#buildCluster(next.spec) };
        slot.warming = undefined;
        slot.rejected = undefined;
        isChanged = true;
      } else if (slot.active !== undefined && reaches(slot.active.spec, typeUrl, touched)) {
        slot.active = { ...slot.active, config: this.#buildCluster(slot.active.spec) };
        isChanged = true;
      }
    }
    return isChanged;
  }

  #settleListeners(typeUrl: ResourceTypeUrl, touched: ReadonlySet<string>): boolean {
    let isChanged = typeUrl === LISTENER_TYPE && this.#activeListeners.size !== 0;
    for (const slot of this.listeners.values()) {
      const next = slot.warming;
      if (next !== undefined && this.#isListenerReady(next.spec)) {
        slot.active = { ...next, config: this.#buildListener(next.spec) };
        slot.warming = undefined;
        slot.rejected = undefined;
        isChanged = true;
        continue;
      }
      const active = slot.active;
      // Routes need no rebuild: `routeTable()` reads the newest.
      const isReached =
        typeUrl === SECRET_TYPE && active?.spec.secretNames.some((name) => touched.has(name));
      if (active !== undefined && isReached === true) {
        slot.active = { ...active, config: this.#buildListener(active.spec) };
        isChanged = true;
      }
    }
    return isChanged;
  }

  #buildCluster(spec: ClusterSpec): ClusterConfig {
    const assignment =
      spec.edsName === undefined
        ? spec.localEndpoints
        : (this.endpoints.get(spec.edsName)?.spec ?? NO_ENDPOINTS);
    return spec.build(assignment, (name) => this.secrets.get(name)?.spec);
  }

  #buildListener(spec: ListenerSpec): ListenerConfig {
    return spec.build(
      (name) => this.routes.get(name)?.spec,
      (name) => this.secrets.get(name)?.spec,
    );
  }

  #isClusterReady(spec: ClusterSpec): boolean {
    const { edsName } = spec;
    return (
      (edsName === undefined || this.#isHere(ENDPOINT_TYPE, this.endpoints, edsName)) &&
      spec.secretNames.every((name) => this.#isHere(SECRET_TYPE, this.secrets, name))
    );
  }

  #isListenerReady(spec: ListenerSpec): boolean {
    return (
      spec.rdsNames.every((name) => this.#isHere(ROUTE_TYPE, this.routes, name)) &&
      spec.secretNames.every((name) => this.#isHere(SECRET_TYPE, this.secrets, name))
    );
  }

  #isHere(typeUrl: string, map: ReadonlyMap<string, unknown>, name: string): boolean {
    return map.has(name) || this.#givenUp.has(`${typeUrl} ${name}`);
  }

  #wanted(): WantedNames {
    const endpoints = new Set<string>();
    const routes = new Set<string>();
    const secrets = new Set<string>();
    for (const slot of this.clusters.values()) {
      for (const spec of [slot.active?.spec, slot.warming?.spec]) {
        if (spec?.edsName !== undefined) endpoints.add(spec.edsName);
        for (const name of spec?.secretNames ?? []) secrets.add(name);
      }
    }
    for (const slot of this.listeners.values()) {
      for (const spec of [slot.active?.spec, slot.warming?.spec]) {
        for (const name of spec?.rdsNames ?? []) routes.add(name);
        for (const name of spec?.secretNames ?? []) secrets.add(name);
      }
    }
    for (const [name, entry] of this.secrets) if (entry.isStatic) secrets.delete(name);
    return { endpoints, routes, secrets };
  }

  /** Drops dynamic parts that no cluster or listener refers to any more. */
  #forgetUnwanted(wanted: WantedNames): void {
    const drop = (map: Map<string, Accepted<unknown>>, names: ReadonlySet<string>): void => {
      for (const [name, entry] of map) if (!names.has(name) && !entry.isStatic) map.delete(name);
    };
    drop(this.endpoints, wanted.endpoints);
    drop(this.routes, wanted.routes);
    drop(this.secrets, wanted.secrets);
  }

  #announce(wanted: WantedNames): void {
    this.#startFetchTimers(wanted);
    const key = JSON.stringify([
      [...wanted.endpoints].sort(),
      [...wanted.routes].sort(),
      [...wanted.secrets].sort(),
    ]);
    if (key === this.#wantedKey) return;
    this.#wantedKey = key;
    this.#options.onWanted(wanted);
  }

  /** After initial_fetch_timeout a missing part no longer holds up what refers to it. */
  #startFetchTimers(wanted: WantedNames): void {
    const missing = new Map<string, number>();
    const timeouts = new Map<string, number>();
    for (const slot of this.clusters.values()) {
      const spec = slot.warming?.spec;
      if (spec?.edsName !== undefined) timeouts.set(spec.edsName, spec.initialFetchTimeoutMs);
    }
    const collect = (
      type: string,
      names: ReadonlySet<string>,
      map: ReadonlyMap<string, unknown>,
    ) => {
      for (const name of names) {
        if (map.has(name)) this.#givenUp.delete(`${type} ${name}`);
        else missing.set(`${type} ${name}`, timeouts.get(name) ?? DEFAULT_FETCH_TIMEOUT_MS);
      }
    };
    collect(ENDPOINT_TYPE, wanted.endpoints, this.endpoints);
    collect(ROUTE_TYPE, wanted.routes, this.routes);
    collect(SECRET_TYPE, wanted.secrets, this.secrets);
    for (const [key, cancel] of this.#fetchTimers) {
      if (missing.has(key)) continue;
      cancel();
      this.#fetchTimers.delete(key);
    }
    for (const [key, timeoutMs] of missing) {
      // 0 disables the timeout (ConfigSource.initial_fetch_timeout).
      if (timeoutMs === 0 || this.#fetchTimers.has(key) || this.#givenUp.has(key)) continue;
      this.#fetchTimers.set(
        key,
        this.#options.clock.schedule(timeoutMs, () => this.#giveUp(key)),
      );
    }
  }

  #giveUp(key: string): void {
    this.#fetchTimers.delete(key);
    this.#givenUp.add(key);
    this.#options.logger.warn({ resource: key }, "initial fetch timed out");
    const [type = "", ...name] = key.split(" ");
    this.#settle(type as ResourceTypeUrl, new Set([name.join(" ")]));
  }
}

function warm<S, C>(slots: Map<string, Slot<S, C>>, name: string, entry: Accepted<S>): void {
  const slot = slots.get(name);
  if (slot !== undefined) slot.warming = entry;
  else slots.set(name, { active: undefined, warming: entry, rejected: undefined });
}

/** Whether a change of these resources reaches the cluster. */
function reaches(
  spec: ClusterSpec,
  typeUrl: ResourceTypeUrl,
  touched: ReadonlySet<string>,
): boolean {
  if (typeUrl === ENDPOINT_TYPE) return spec.edsName !== undefined && touched.has(spec.edsName);
  return typeUrl === SECRET_TYPE && spec.secretNames.some((name) => touched.has(name));
}

function activeOf<C>(slots: ReadonlyMap<string, Slot<unknown, C>>): ReadonlyMap<string, C> {
  const out = new Map<string, C>();
  for (const [name, slot] of slots)
    if (slot.active !== undefined) out.set(name, slot.active.config);
  return out;
}
