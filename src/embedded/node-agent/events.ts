import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import type { LocalApi } from "../local-api.ts";

/** Equal events within this many others become one with a count. */
const REMEMBERED = 1000;

export interface PodEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
  /** `spec.containers{name}`, for events of a container. */
  readonly fieldPath?: string;
  /** Who says so, when it is not the recorder's own component. */
  readonly component?: string;
}

/** Writes Events about objects, in order and in the background; equal ones are counted. */
export class EventRecorder {
  readonly #api: LocalApi;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #component: string;
  readonly #host: string;
  readonly #known = new Map<string, { readonly name: string; count: number }>();
  #queue = Promise.resolve();
  #serial = 0;

  constructor(parts: {
    readonly api: LocalApi;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly component: string;
    readonly host: string;
  }) {
    this.#api = parts.api;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#component = parts.component;
    this.#host = parts.host;
  }

  record(object: KubeObject, event: PodEvent): void {
    this.#queue = this.#queue
      .then(() => this.#write(object, event))
      .catch((error: unknown) => {
        this.#logger.debug({ reason: event.reason, error: messageOf(error) }, "event not written");
      });
  }

  /** Resolves when everything recorded so far is written. */
  flush(): Promise<void> {
    return this.#queue;
  }

  async #write(object: KubeObject, event: PodEvent): Promise<void> {
    const { metadata } = object;
    const namespace = metadata.namespace ?? "default";
    const now = new Date(this.#clock.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
    const identity = [metadata.uid, event.type, event.reason, event.message, event.fieldPath];
    const key = JSON.stringify(identity);
    const known = this.#known.get(key);
    if (known !== undefined) {
      try {
        known.count++;
        const patch = { count: known.count, lastTimestamp: now };
        await this.#api.patch(RESOURCES.event, { namespace, name: known.name }, patch, {
          kind: "merge",
        });
        return;
      } catch (error) {
        // Expired meanwhile: begin anew.
        if (!(error instanceof SerinError && error.code === "SERIN_NOT_FOUND")) throw error;
      }
    }
    const stamp = BigInt(Math.round(this.#clock.nowMs() * 1e6)) + BigInt(this.#serial++);
    const name = `${metadata.name}.${stamp.toString(16)}`;
    await this.#api.create(RESOURCES.event, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        name: metadata.name,
        namespace,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
        ...(event.fieldPath === undefined ? {} : { fieldPath: event.fieldPath }),
      },
      type: event.type,
      reason: event.reason,
      message: event.message,
      source:
        event.component === undefined
          ? { component: this.#component, host: this.#host }
          : { component: event.component },
      reportingComponent: event.component ?? this.#component,
      reportingInstance: this.#host,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    });
    this.#known.set(key, { name, count: 1 });
    const [oldest] = this.#known.keys();
    if (this.#known.size > REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
  }
}
