import type { Measurement, MetricsProvider } from "../../src/analysis/index.ts";
import { type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { SerinError } from "../../src/base/index.ts";
import { arrayAt, objectAt } from "../../src/controller/core/json.ts";
import { createPublisher, type Publisher } from "../../src/controller/publish.ts";
import { reconcile } from "../../src/controller/reconcile.ts";
import { createLogger } from "../../src/runtime/index.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type BeforeWrite, MemoryStore } from "../support/memory-store.ts";

export const namespace = "shop";
const key = { namespace, name: "cart" };

/** The process died: nothing after this write happened. */
export class Crash extends Error {}

export function deployment(
  image: string,
  extra: Readonly<Record<string, unknown>> = {},
): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "cart", namespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: "cart" } },
      template: {
        metadata: { labels: { app: "cart" } },
        spec: { containers: [{ name: "cart", image, ...extra }] },
      },
    },
  };
}

export function canary(
  analysis: Readonly<Record<string, unknown>>,
  extra: Readonly<Record<string, unknown>> = {},
): KubeObject {
  return {
    apiVersion: "serin.dev/v1",
    kind: "Canary",
    metadata: { name: "cart", namespace },
    spec: {
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "cart" },
      service: { port: 80 },
      analysis: {
        interval: "10s",
        threshold: 2,
        metrics: [{ name: "request-success-rate", thresholdRange: { min: 99 } }],
        ...analysis,
      },
      ...extra,
    },
  };
}

/** A Deployment controller, a mesh and a metrics provider around the real reconcile, in manual time. */
export class World {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly phases: string[] = [];
  readonly weights: number[] = [];
  readonly violations: string[] = [];
  /** What the metrics provider answers; an Error is thrown. */
  answer: number | undefined | Error = 100;
  /** Answers of single metrics; the others get `answer`. */
  readonly answers = new Map<string, number | Error>();
  isTargetHealthy = true;
  isPrimaryHealthy = true;
  /** Conditions of the Deployments' status, by name. */
  readonly conditions = new Map<string, readonly unknown[]>();
  isMeshAnswering = true;
  /** Whether every VirtualService written must be a split; false once one was given back. */
  isRouteChecked = true;
  writes = 0;
  crashAtWrite = Number.POSITIVE_INFINITY;
  #isController = false;
  #isTargetReady = false;

  readonly #publisher: Publisher;

  constructor() {
    this.store = new MemoryStore((write) => this.#beforeWrite(write));
    // Only for speed shared by all passes: its counters decide nothing.
    this.#publisher = createPublisher(this.store, createLogger("test", "silent"));
  }

  async start(
    canaryObject: KubeObject,
    image = "cart:v1",
    extra: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    await this.store.create(RESOURCES.deployment, deployment(image, extra));
    await this.store.create(RESOURCES.canary, canaryObject);
  }

  async setImage(image: string): Promise<void> {
    const target = await this.get(RESOURCES.deployment, "cart");
    const { template } = deployment(image)["spec"] as { template: unknown };
    await this.store.patch(RESOURCES.deployment, key, { spec: { template } }, { kind: "merge" });
    if (target.metadata.name !== "cart") throw new Error("unreachable");
  }

  /** Merges into the Canary's spec. */
  async patchSpec(spec: Readonly<Record<string, unknown>>): Promise<void> {
    await this.store.patch(RESOURCES.canary, key, { spec }, { kind: "merge" });
  }

  async setSuspend(suspend: boolean): Promise<void> {
    await this.store.patch(RESOURCES.canary, key, { spec: { suspend } }, { kind: "merge" });
  }

  async get(type: (typeof RESOURCES)[keyof typeof RESOURCES], name: string): Promise<KubeObject> {
    const found = await this.store.get(type, { namespace, name });
    if (found === undefined) throw new Error(`no ${type.kind} ${name}`);
    return found;
  }

  async status(): Promise<Readonly<Record<string, unknown>>> {
    return objectAt(await this.get(RESOURCES.canary, "cart"), "status");
  }

  async eventTexts(): Promise<string[]> {
    return (await this.store.list(RESOURCES.event)).items.map((e) => String(e["message"]));
  }

  /** One pass of a fresh controller; a crash ends it. */
  async pass(): Promise<void> {
    this.#isController = true;
    try {
      const metrics: MetricsProvider = { query: async ({ metric }) => this.#measure(metric) };
      const context = {
        store: this.store,
        metrics,
        publisher: this.#publisher,
        clock: this.clock,
        awaitProxyAcks: true,
      };
      await reconcile(context, RESOURCES.canary, key);
    } catch (error) {
      const isConflict = error instanceof SerinError && error.code === "SERIN_CONFLICT";
      if (!(error instanceof Crash) && !isConflict) throw error;
    } finally {
      this.#isController = false;
    }
  }

  /** The Deployment controller and the mesh catch up, then time moves on. */
  async settle(advanceMs = 2500): Promise<void> {
    for (const object of (await this.store.list(RESOURCES.deployment)).items) {
      const isTarget = object.metadata.name === "cart";
      const wanted = Number(objectAt(object, "spec")["replicas"] ?? 1);
      const isUp = isTarget ? this.isTargetHealthy : this.isPrimaryHealthy;
      const { generation = 1 } = object.metadata;
      const isSeen = objectAt(object, "status")["observedGeneration"] === generation;
      // New pods take one more turn to become available.
      const available = isUp && isSeen ? wanted : 0;
      if (isTarget) this.#isTargetReady = available === wanted && wanted > 0;
      const status = {
        observedGeneration: generation,
        replicas: wanted,
        updatedReplicas: wanted,
        availableReplicas: available,
        conditions: this.conditions.get(object.metadata.name) ?? [],
      };
      await this.store.update(
        RESOURCES.deployment,
        { ...object, status },
        { subresource: "status" },
      );
    }
    for (const object of (await this.store.list(RESOURCES.virtualService)).items) {
      if (!this.isMeshAnswering) continue;
      const status = {
        observedGeneration: object.metadata.generation,
        conditions: [{ type: "Reconciled", status: "True" }],
      };
      await this.store.update(
        RESOURCES.virtualService,
        { ...object, status },
        { subresource: "status" },
      );
    }
    this.clock.advance(advanceMs);
  }

  /** Passes until the phase is one of `phases` (and the target is scaled down); false if it never gets there. */
  async runUntil(phases: readonly string[], turns = 200): Promise<boolean> {
    for (let turn = 0; turn < turns; turn += 1) {
      await this.pass();
      await this.settle();
      if (phases.includes(String((await this.status())["phase"]))) return true;
    }
    return false;
  }

  /** Passes until `weight` is routed to the canary; throws when it never is. */
  async runUntilWeight(weight: number, turns = 200): Promise<void> {
    for (let turn = 0; this.weights.at(-1) !== weight; turn += 1) {
      if (turn === turns) throw new Error(`weight ${weight} never came: ${this.weights}`);
      await this.turns(1);
    }
  }

  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn += 1) {
      await this.pass();
      await this.settle();
    }
  }

  /** What a rollout leaves behind, without versions and times. */
  async endState(): Promise<unknown> {
    const { phase, canaryWeight, lastAppliedSpec, lastPromotedSpec, failedChecks } =
      await this.status();
    const specs = async (type: (typeof RESOURCES)[keyof typeof RESOURCES]) =>
      (await this.store.list(type)).items
        .map((o) => [o.metadata.name, o["spec"] ?? o["data"]])
        .sort();
    return {
      ...{ phase, canaryWeight, lastAppliedSpec, lastPromotedSpec, failedChecks },
      deployments: await specs(RESOURCES.deployment),
      services: await specs(RESOURCES.service),
      routes: await specs(RESOURCES.virtualService),
      rules: await specs(RESOURCES.destinationRule),
    };
  }

  #measure(metric: string): Measurement {
    const answer = this.answers.has(metric) ? this.answers.get(metric) : this.answer;
    if (answer instanceof Error) throw answer;
    return { value: answer };
  }

  #beforeWrite({ verb, type, object }: Parameters<BeforeWrite>[0]): void {
    if (!this.#isController) return;
    this.writes += 1;
    if (this.writes >= this.crashAtWrite) {
      this.crashAtWrite = Number.POSITIVE_INFINITY;
      throw new Crash(`at write ${this.writes}`);
    }
    if (type === RESOURCES.virtualService && this.isRouteChecked) this.#checkRoute(object);
    if (type === RESOURCES.canary && verb === "status") {
      const { phase: phaseField, canaryWeight, failedChecks } = objectAt(object, "status");
      const phase = String(phaseField);
      const routed = this.weights.at(-1) ?? 0;
      // While a rollout runs, a crash may leave the status one step behind; an outcome is never wrong.
      if (["Finalising", "Succeeded", "Failed"].includes(phase) && canaryWeight !== routed) {
        this.violations.push(`status ${phase} says weight ${canaryWeight}, routed is ${routed}`);
      }
      // Threshold is 2 in every spec of these tests.
      if (phase === "Progressing" && Number(failedChecks) >= 2) {
        this.violations.push(`still Progressing with ${failedChecks} failed checks`);
      }
      if (this.phases.at(-1) !== phase) this.phases.push(phase);
    }
  }

  #checkRoute(object: KubeObject): void {
    const [http] = arrayAt(objectAt(object, "spec"), "http");
    const weights = arrayAt(http, "route").map((r) => Number(objectAt({ r }, "r")["weight"]));
    if (weights.length !== 2 || (weights[0] ?? 0) + (weights[1] ?? 0) !== 100)
      this.violations.push(`weights ${weights.join("+")}`);
    const weight = weights[1] ?? 0;
    const before = this.weights.at(-1) ?? 0;
    if (weight > before && !this.#isTargetReady)
      this.violations.push(`weight ${weight} to a target that is not ready`);
    if (weight !== before) this.weights.push(weight);
  }
}
