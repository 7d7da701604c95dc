import { RESOURCES } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import { timestamp } from "../api-server/timestamp.ts";
import { deepEqual, stringAt } from "../core/api/json.ts";
import { type PodStatusInput, podStatus } from "../core/node-agent/pod-status.ts";
import { delay } from "./delay.ts";
import type { NodeContext } from "./node-context.ts";

type Facts = Omit<PodStatusInput, "previous" | "now" | "startTime">;

const RETRY_MS = 500;

/** Writes a pod's status whenever it differs from what was written last. */
export class StatusPublisher {
  readonly #node: NodeContext;
  readonly #facts: () => Facts;
  readonly #ended = new AbortController();
  #startTime: string | undefined;
  #written: unknown;
  #isDirty = false;
  #work: Promise<void> | undefined;

  constructor(node: NodeContext, facts: () => Facts) {
    this.#node = node;
    this.#facts = facts;
  }

  /** The facts may have changed; several calls in a row become one write. */
  changed(): void {
    this.#isDirty = true;
    this.#work ??= this.#publish().finally(() => {
      this.#work = undefined;
    });
  }

  /** Resolves when the last change is written, or the pod is gone. */
  async flush(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
  }

  /** The pod is gone: nothing is written any more. */
  end(): void {
    this.#ended.abort();
  }

  async #publish(): Promise<void> {
    // Lets changes of the same turn gather.
    await Promise.resolve();
    while (this.#isDirty && !this.#ended.signal.aborted) {
      this.#isDirty = false;
      try {
        await this.#write();
      } catch (error) {
        if (hasCode(error, "SERIN_NOT_FOUND")) return this.end();
        const { name, namespace } = this.#facts().pod;
        const fields = { pod: `${namespace}/${name}`, error: messageOf(error) };
        this.#node.logger.warn(fields, "pod status not written");
        // Another pod of that name, most likely: trying again changes nothing.
        if (hasCode(error, "SERIN_INVALID_RESOURCE")) return this.end();
        this.#isDirty = true;
        await delay(this.#node.clock, RETRY_MS, this.#ended.signal);
      }
    }
  }

  async #write(): Promise<void> {
    const facts = this.#facts();
    const { pod } = facts;
    const now = timestamp(this.#node.clock.nowMs());
    const previous = pod.object["status"];
    this.#startTime ??= stringAt(previous, "startTime") ?? now;
    const status = podStatus({ ...facts, previous, now, startTime: this.#startTime });
    if (deepEqual(status, this.#written)) return;
    // The uid is a precondition: never the status of another pod of the same name.
    await this.#node.api.patch(
      RESOURCES.pod,
      { namespace: pod.namespace, name: pod.name },
      { metadata: { uid: pod.uid }, status },
      { kind: "strategic", subresource: "status" },
    );
    this.#written = status;
  }
}

function hasCode(error: unknown, code: SerinError["code"]): boolean {
  return error instanceof SerinError && error.code === code;
}
