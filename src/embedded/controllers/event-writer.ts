import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import { type ControllerContext, timestamp } from "./context.ts";

const REMEMBERED = 1000;

/** Writes Events of one component in the background; equal ones are counted. */
export class EventWriter {
  readonly #context: ControllerContext;
  readonly #component: string;
  readonly #known = new Map<string, { readonly name: string; count: number }>();
  #queue = Promise.resolve();

  constructor(context: ControllerContext, component: string) {
    this.#context = context;
    this.#component = component;
  }

  write(object: KubeObject, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#queue = this.#queue
      .then(() => this.#put(object, { type, reason, message }))
      .catch((error: unknown) => {
        this.#context.logger.debug({ reason, error: messageOf(error) }, "event not written");
      });
  }

  flush(): Promise<void> {
    return this.#queue;
  }

  async #put(
    object: KubeObject,
    event: { readonly type: string; readonly reason: string; readonly message: string },
  ): Promise<void> {
    const { api, clock } = this.#context;
    const { metadata } = object;
    const namespace = metadata.namespace ?? "default";
    const now = timestamp(clock);
    const identity = JSON.stringify([metadata.uid, event]);
    const known = this.#known.get(identity);
    const key = { namespace, name: known?.name ?? "" };
    // Events expire: one that is gone is written anew.
    if (known !== undefined && (await api.get(RESOURCES.event, key)) !== undefined) {
      known.count += 1;
      const patch = { count: known.count, lastTimestamp: now };
      await api.patch(RESOURCES.event, key, patch, { kind: "merge" });
      return;
    }
    const suffix = (clock.nowMs() * 1000 + Math.floor(Math.random() * 1000)).toString(16);
    const name = `${metadata.name}.${suffix}`;
    await api.create(RESOURCES.event, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { namespace, name },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        namespace,
        name: metadata.name,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
      },
      ...event,
      source: { component: this.#component },
      reportingComponent: this.#component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    });
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.set(identity, { name, count: 1 });
  }
}
