import { judge, type ThresholdRange, type Verdict } from "../analysis/core/verdict.ts";
import type { MetricsProvider } from "../analysis/index.ts";
import { messageOf } from "../base/index.ts";
import type { Observation } from "./core/observation.ts";
import type { PlannedCheck } from "./core/plan.ts";
import type { MetricCheck } from "./core/spec.ts";

const TIMEOUT_MS = 5000;
const BUILT_IN = ["request-success-rate", "request-duration"];

/** Asks each planned check; answers in the plan's order. A provider that throws is `unavailable`. */
export function measure(
  metrics: MetricsProvider,
  observation: Observation,
  checks: readonly PlannedCheck[],
): Promise<Verdict[]> {
  return Promise.all(checks.map((planned) => ask(metrics, observation, planned)));
}

async function ask(
  metrics: MetricsProvider,
  { spec, canary }: Observation,
  { check, windowMs }: PlannedCheck,
): Promise<Verdict> {
  const metric = check.name;
  if (check.templateRef !== undefined || check.query !== undefined || !BUILT_IN.includes(metric)) {
    const reason = "metric templates and inline queries are not supported yet";
    return { kind: "unavailable", metric, reason };
  }
  const namespace = canary.metadata.namespace ?? "default";
  const workload = spec.targetRef.name;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const { value } = await metrics.query(
      { metric, namespace, workload, intervalMs: windowMs },
      signal,
    );
    const absent = `no values found, probably ${workload}.${namespace} is not receiving traffic`;
    return judge(metric, value, rangeOf(check), absent);
  } catch (error) {
    return { kind: "unavailable", metric, reason: messageOf(error) };
  }
}

/** thresholdRange, else Flagger's deprecated `threshold`: a minimum for the success rate, else a maximum. */
export function rangeOf({ name, thresholdRange, threshold = 0 }: MetricCheck): ThresholdRange {
  if (thresholdRange === undefined) {
    return name === "request-success-rate" ? { min: threshold } : { max: threshold };
  }
  const bound = name === "request-duration" ? Math.trunc : (value: number) => value;
  const { min, max } = thresholdRange;
  return {
    ...(min === undefined ? {} : { min: bound(min) }),
    ...(max === undefined ? {} : { max: bound(max) }),
  };
}
