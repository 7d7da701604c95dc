import type { KubeObject } from "../../../api/index.ts";
import { isJson, type Json, objectAt } from "../json.ts";
import type { Observation } from "../observation.ts";
import { FLUX_DISABLED, selectorLabel } from "./names.ts";
import { isForeign, LAST_APPLIED, ORIGINAL } from "./network.ts";

/** The apex Service sending to the target's pods again; undefined when there is none. */
export function restoreService(
  { services: { apex } }: Observation,
  target: KubeObject,
): KubeObject | undefined {
  if (apex === undefined) return undefined;
  const { key, value } = selectorLabel(target);
  const applied = objectAt(specIn(apex, LAST_APPLIED), "selector");
  const selector = Object.keys(applied).length > 0 ? applied : { [key]: value };
  return { ...apex, spec: { ...objectAt(apex, "spec"), selector } };
}

/** A VirtualService that was taken over, saying again what it said; undefined when it is Serin's own. */
export function restoreVirtualService(observation: Observation): KubeObject | undefined {
  const { virtualService } = observation;
  if (virtualService === undefined || !isForeign(observation)) return undefined;
  const spec = specIn(virtualService, LAST_APPLIED) ?? parsed(virtualService, ORIGINAL);
  if (spec === undefined) return undefined;
  const ours = [ORIGINAL, ...Object.keys(FLUX_DISABLED)];
  const annotations = Object.fromEntries(
    Object.entries(virtualService.metadata.annotations ?? {}).filter(
      ([key]) => !ours.includes(key),
    ),
  );
  return { ...virtualService, metadata: { ...virtualService.metadata, annotations }, spec };
}

function specIn(object: KubeObject, annotation: string): Json | undefined {
  const spec = parsed(object, annotation)?.["spec"];
  return isJson(spec) ? spec : undefined;
}

/** Users can write annotations: one that cannot be read counts as absent. */
function parsed({ metadata }: KubeObject, annotation: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(metadata.annotations?.[annotation] ?? "null");
    return isJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
