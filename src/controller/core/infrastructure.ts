import { RESOURCES } from "../../api/index.ts";
import { type Effect, ensure } from "./decision.ts";
import { objectAt } from "./json.ts";
import type { Observation } from "./observation.ts";
import {
  renderDestinationRule,
  renderService,
  renderVirtualService,
  routedWeight,
} from "./render/network.ts";
import { renderConfigCopies, renderPrimary } from "./render/primary.ts";
import { trafficSplit } from "./traffic-split.ts";

/** What must exist whatever the phase: Services, DestinationRules, primary, VirtualService. */
export function infrastructure(observation: Observation): Effect[] {
  return [...workloads(observation), ...entrance(observation)];
}

/** The parts that carry no traffic yet: -canary and -primary Services, config copies, primary. */
export function workloads(observation: Observation): Effect[] {
  const { target, services, destinationRules, primary } = observation;
  if (target === undefined) return [];
  const network = (["canary", "primary"] as const).flatMap((role) => [
    ...ensure(
      "applyResource",
      RESOURCES.service,
      services[role],
      renderService(observation, target, role),
    ),
    ...ensure(
      "applyResource",
      RESOURCES.destinationRule,
      destinationRules[role],
      renderDestinationRule(observation, role),
      ["spec"],
    ),
  ]);
  // An existing primary and its copies change in a promotion only.
  if (primary !== undefined) return network;
  return [...network, ...configCopies(observation), ...primaryCopy(observation, "applyResource")];
}

/** The apex Service and the VirtualService, keeping the weights as they are routed now. */
export function entrance(observation: Observation): Effect[] {
  const { target, services, spec, virtualService } = observation;
  if (target === undefined) return [];
  const apex = renderService(observation, target, "apex");
  const { state } = observation;
  const allowed = "weight" in state ? state.weight : 0;
  // Repair lowers the canary's weight, never raises it: only a step does that. What is there may be
  // lower because traffic was cut and the controller died before it wrote the status.
  const routed = routedWeight(virtualService, spec) ?? 0;
  const weight = Math.min(Math.max(0, Math.trunc(routed)), promotionBound(observation, allowed));
  const isMirroring = state.kind === "Progressing" && state.isMirrored && state.weight === 0;
  const desired = renderVirtualService(observation, trafficSplit(weight), isMirroring);
  return [
    ...ensure("applyResource", RESOURCES.service, services.apex, apex),
    ...ensureRoute(observation, desired),
  ];
}

/** The effect that routes `percent` to the canary, or none when it is so. */
export function route(observation: Observation, percent: number, isMirroring = false): Effect[] {
  return ensureRoute(
    observation,
    renderVirtualService(observation, trafficSplit(percent), isMirroring),
  );
}

/** The effect that sets the target's replicas, or none when it is so. */
export function scaleTarget(observation: Observation, replicas: number): Effect[] {
  const { target } = observation;
  if (target === undefined || objectAt(target, "spec")["replicas"] === replicas) return [];
  const object = { ...target, spec: { ...objectAt(target, "spec"), replicas } };
  return [{ kind: "scaleWorkload", verb: "update", type: RESOURCES.deployment, object }];
}

/** Copies the target's template and configs to the primary: configs first, the pods read them. */
export function copyTargetToPrimary(observation: Observation): Effect[] {
  return [...configCopies(observation), ...primaryCopy(observation, "copyTargetToPrimary")];
}

/** A new revision's replicas: what the target says, else what the primary runs, else 1. */
export function wantedReplicas({ target, primary }: Observation): number {
  const own = Number(objectAt(target, "spec")["replicas"] ?? 1);
  if (own > 0) return own;
  return Math.max(1, Number(objectAt(primary, "spec")["replicas"] ?? 1));
}

function promotionBound({ state }: Observation, allowed: number): number {
  // A step's weight is written before the status that names it; a crash between the two leaves the
  // route one step ahead, which the pass that follows confirms or cuts. It is not drift.
  return state.kind === "Progressing" ? 100 : allowed;
}

function ensureRoute(
  { virtualService }: Observation,
  desired: ReturnType<typeof renderVirtualService>,
): Effect[] {
  return ensure("routeTraffic", RESOURCES.virtualService, virtualService, desired, ["spec"]);
}

function configCopies(observation: Observation): Effect[] {
  return renderConfigCopies(observation).flatMap(({ existing, desired }) => {
    const type = desired.kind === "Secret" ? RESOURCES.secret : RESOURCES.configMap;
    return ensure("applyResource", type, existing, desired, ["data", "binaryData"]);
  });
}

function primaryCopy(observation: Observation, kind: Effect["kind"]): Effect[] {
  const { target, primary } = observation;
  if (target === undefined) return [];
  return ensure(kind, RESOURCES.deployment, primary, renderPrimary(observation, target));
}
