import type { ListenerConfig, ListenerFailure, RuntimeConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { Listener } from "./listener.ts";
import type { Destination } from "./original-destination.ts";

/** The listeners in use, by name, kept up to date with the configuration. */
export class Listeners {
  readonly #context: ProxyContext;
  readonly #listeners = new Map<string, Listener>();
  /** Removed or replaced ones that still have connections. */
  readonly #leaving = new Set<Listener>();

  constructor(context: ProxyContext) {
    this.#context = context;
  }

  get connectionCount(): number {
    let count = 0;
    for (const listener of this.#all()) count += listener.connectionCount;
    return count;
  }

  /** The port a listener is bound to; undefined when there is no such listener. */
  port(name: string): number | undefined {
    return this.#listeners.get(name)?.port;
  }

  /** Follows a new configuration; see ProxyServer.apply. */
  async apply(config: RuntimeConfig): Promise<readonly ListenerFailure[]> {
    const failures: ListenerFailure[] = [];
    for (const [name, listener] of this.#listeners) {
      if (config.listeners.has(name)) continue;
      this.#listeners.delete(name);
      this.#leave(listener);
    }
    for (const [name, wanted] of config.listeners) {
      const error = await this.#applyOne(name, wanted);
      if (error !== undefined) failures.push({ listener: name, error });
    }
    return failures;
  }

  drain(): void {
    for (const listener of this.#all()) listener.drain();
  }

  checkIdle(nowMs: number): void {
    for (const listener of this.#all()) listener.checkIdle(nowMs);
    for (const listener of this.#leaving) {
      if (listener.connectionCount === 0) this.#leaving.delete(listener);
    }
  }

  destroy(): void {
    for (const listener of this.#all()) listener.destroy();
  }

  async #applyOne(name: string, wanted: ListenerConfig): Promise<Error | undefined> {
    const current = this.#listeners.get(name);
    try {
      if (current !== undefined && isSameSocket(current.config, wanted)) {
        current.update(wanted);
        return undefined;
      }
      const listener = new Listener(this.#context, wanted, (destination) => this.#at(destination));
      await listener.open();
      this.#listeners.set(name, listener);
      if (current !== undefined) this.#leave(current);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** As Envoy: the listener of this very address, else the one of its port on any address. */
  #at({ address, port }: Destination): Listener | undefined {
    const any = address.includes(":") ? "::" : "0.0.0.0";
    let wildcard: Listener | undefined;
    for (const listener of this.#listeners.values()) {
      const { config } = listener;
      if (config.port !== port) continue;
      if (config.address === address) return listener;
      if (config.address === any) wildcard = listener;
    }
    return wildcard;
  }

  #leave(listener: Listener): void {
    listener.drain();
    if (listener.connectionCount > 0) this.#leaving.add(listener);
  }

  *#all(): Iterable<Listener> {
    yield* this.#listeners.values();
    yield* this.#leaving;
  }
}

function isSameSocket(a: ListenerConfig, b: ListenerConfig): boolean {
  return a.address === b.address && a.port === b.port && a.bindToPort === b.bindToPort;
}
