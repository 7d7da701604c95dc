import type { SessionRequest, SessionResponse } from "../../../../src/mesh/core/session.ts";
import { referencesOf } from "../../../../src/mesh/core/snapshot-references.ts";
import type { XdsResource } from "../../../../src/mesh/core/xds-resource.ts";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
} from "../../../../src/xds/index.ts";

type Protocol = "sotw" | "delta";

/**
 * What an xDS client does, as the protocol says: holds resources, subscribes to the endpoints of its
 * clusters and the routes of its listeners, acknowledges, and refuses the versions it is told to.
 */
export class ModelClient {
  readonly protocol: Protocol;
  readonly held = new Map<ResourceTypeUrl, Map<string, XdsResource>>();
  readonly violations: string[] = [];
  readonly #refuses: (resource: XdsResource) => boolean;
  readonly #names = new Map<ResourceTypeUrl, Set<string>>();
  readonly #nonces = new Map<ResourceTypeUrl, string>();

  constructor(protocol: Protocol, refuses: (resource: XdsResource) => boolean) {
    this.protocol = protocol;
    this.#refuses = refuses;
  }

  /** The first requests of a stream; what is held stays from the one before. */
  start(): readonly SessionRequest[] {
    this.#nonces.clear();
    this.#names.clear();
    const first = [CLUSTER_TYPE, LISTENER_TYPE].map((typeUrl) =>
      this.#request(typeUrl as ResourceTypeUrl, "", undefined, [], []),
    );
    return [...first, ...this.#subscribe()];
  }

  /** Applies a response; gives new subscriptions first, then the answer. */
  receive(response: SessionResponse): readonly SessionRequest[] {
    const { typeUrl, resources, removed, nonce } = response;
    const held = this.of(typeUrl);
    const refused = resources.filter(this.#refuses);
    const listed = new Set(resources.map((resource) => resource.name));
    for (const resource of resources) {
      if (!refused.includes(resource)) held.set(resource.name, resource);
    }
    for (const name of removed) held.delete(name);
    if (this.protocol === "sotw" && (typeUrl === CLUSTER_TYPE || typeUrl === LISTENER_TYPE)) {
      for (const name of held.keys()) if (!listed.has(name)) held.delete(name);
    }
    this.#check(`after ${typeUrl}`);
    this.#nonces.set(typeUrl, nonce);
    const error =
      refused.length > 0 ? `bad: ${refused.map((each) => each.name).join(", ")}` : undefined;
    const subscriptions = this.#subscribe(typeUrl);
    return [...subscriptions, this.#request(typeUrl, nonce, error, [], [])];
  }

  of(typeUrl: ResourceTypeUrl): Map<string, XdsResource> {
    let held = this.held.get(typeUrl);
    if (held === undefined) {
      held = new Map();
      this.held.set(typeUrl, held);
    }
    return held;
  }

  #check(when: string): void {
    for (const typeUrl of [LISTENER_TYPE, ROUTE_TYPE] as const) {
      for (const resource of this.of(typeUrl).values()) {
        for (const cluster of referencesOf(resource).clusters) {
          if (!this.of(CLUSTER_TYPE).has(cluster)) {
            this.violations.push(`${when}: ${resource.name} names ${cluster}, which is not held`);
          } else if (this.#nonces.get(ENDPOINT_TYPE) && !this.of(ENDPOINT_TYPE).has(cluster)) {
            this.violations.push(`${when}: ${resource.name} names ${cluster}, without endpoints`);
          }
        }
      }
    }
  }

  #subscribe(answering?: ResourceTypeUrl): SessionRequest[] {
    const routes = [...this.of(LISTENER_TYPE).values()].flatMap((l) => [...referencesOf(l).routes]);
    return [
      ...this.#want(ENDPOINT_TYPE, new Set(this.of(CLUSTER_TYPE).keys()), answering),
      ...this.#want(ROUTE_TYPE, new Set(routes), answering),
    ];
  }

  #want(
    typeUrl: ResourceTypeUrl,
    names: Set<string>,
    answering: ResourceTypeUrl | undefined,
  ): SessionRequest[] {
    const before = this.#names.get(typeUrl);
    if (before === undefined && names.size === 0) return [];
    const added = [...names].filter((name) => before?.has(name) !== true);
    const dropped = [...(before ?? [])].filter((name) => !names.has(name));
    this.#names.set(typeUrl, names);
    for (const name of this.of(typeUrl).keys()) if (!names.has(name)) this.of(typeUrl).delete(name);
    if (before !== undefined && added.length === 0 && dropped.length === 0) return [];
    if (this.protocol === "sotw" && typeUrl === answering) return [];
    return [this.#request(typeUrl, "", undefined, added, dropped)];
  }

  #request(
    typeUrl: ResourceTypeUrl,
    nonce: string,
    error: string | undefined,
    subscribe: readonly string[],
    unsubscribe: readonly string[],
  ): SessionRequest {
    if (this.protocol === "sotw") {
      const names = [...(this.#names.get(typeUrl) ?? [])];
      const last = this.#nonces.get(typeUrl) ?? "";
      return { typeUrl, nonce: last, error, subscription: { protocol: "sotw", names } };
    }
    const isFirst = !this.#nonces.has(typeUrl);
    if (isFirst) this.#nonces.set(typeUrl, "");
    const versions = isFirst ? [...this.of(typeUrl)].map(([n, r]) => [n, r.version] as const) : [];
    const initialVersions = Object.fromEntries(versions);
    return {
      typeUrl,
      nonce,
      error,
      subscription: { protocol: "delta", subscribe, unsubscribe, initialVersions },
    };
  }
}
