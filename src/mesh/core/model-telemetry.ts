import type { KubeObject, StringMap, TelemetryCustomTag, TelemetrySpec } from "../../api/index.ts";
import type { TracingProvider, TracingSettings } from "./model-tracing-settings.ts";

type TracingSpec = NonNullable<TelemetrySpec["tracing"]>[number];

/** A Telemetry; the model holds them oldest first. */
export interface MeshTelemetry {
  readonly name: string;
  readonly namespace: string;
  /** undefined = every workload of the namespace (or of the mesh, in the root namespace). */
  readonly matchLabels: StringMap | undefined;
  readonly tracing: readonly TracingSpec[];
  readonly accessLogging: NonNullable<TelemetrySpec["accessLogging"]>;
}

/** How one direction of a workload's traffic is traced. */
export interface WorkloadTracing {
  readonly provider: TracingProvider;
  /** 0..100 */
  readonly samplingPercent: number;
  readonly customTags: Readonly<Record<string, TelemetryCustomTag>>;
  readonly propagates: boolean;
  readonly usesRequestId: boolean;
}

export function telemetryFrom(object: KubeObject, spec: TelemetrySpec): MeshTelemetry {
  const labels = spec.selector?.matchLabels ?? {};
  return {
    name: object.metadata.name,
    namespace: object.metadata.namespace ?? "default",
    matchLabels: Object.keys(labels).length > 0 ? labels : undefined,
    tracing: spec.tracing ?? [],
    accessLogging: spec.accessLogging ?? [],
  };
}

/** What a Telemetry says that has no effect here, whatever MeshConfig says. */
export function ignoredTelemetry(spec: TelemetrySpec): readonly string[] {
  const ignored: string[] = [];
  for (const [i, { filter }] of (spec.accessLogging ?? []).entries()) {
    if (filter?.expression !== undefined) {
      ignored.push(`accessLogging[${i}].filter.expression has no effect: all requests are logged`);
    }
  }
  if (spec.metrics !== undefined) ignored.push("metrics has no effect");
  return ignored;
}

/** The tracing providers that a Telemetry names and MeshConfig does not have. */
export function missingProviders(
  spec: TelemetrySpec,
  { providers }: TracingSettings,
): readonly string[] {
  const ignored: string[] = [];
  for (const [i, { providers: named = [] }] of (spec.tracing ?? []).entries()) {
    for (const { name } of named) {
      if (providers.some((provider) => provider.name === name)) continue;
      ignored.push(`tracing[${i}] names the provider ${name}, which MeshConfig does not have`);
    }
  }
  return ignored;
}

/**
 * How a workload's traffic of one direction is traced; undefined = not at all. The workload's
 * Telemetry goes before its namespace's, that before the root namespace's, field by field; the
 * oldest of a level counts. Source: istio pilot/pkg/model/telemetry.go.
 */
export function tracingOf(
  telemetries: readonly MeshTelemetry[],
  settings: TracingSettings,
  workload: { readonly namespace: string; readonly labels: StringMap },
  direction: "inbound" | "outbound",
  rootNamespace: string,
): WorkloadTracing | undefined {
  const specs = levelsOf(telemetries, workload, rootNamespace).flatMap((telemetry) =>
    telemetry.tracing.filter(({ match }) => {
      const mode = match?.mode ?? "CLIENT_AND_SERVER";
      return mode === "CLIENT_AND_SERVER" || (mode === "SERVER") === (direction === "inbound");
    }),
  );
  // The most specific word first.
  const said = <Key extends keyof TracingSpec>(key: Key): TracingSpec[Key] =>
    specs.findLast((spec) => spec[key] !== undefined)?.[key];
  if (said("disableSpanReporting") === true) return undefined;
  const name = said("providers")?.[0]?.name ?? settings.defaultProvider;
  const provider = settings.providers.find((each) => each.name === name);
  if (provider === undefined) return undefined;
  return {
    provider,
    samplingPercent: said("randomSamplingPercentage") ?? settings.samplingPercent,
    customTags: said("customTags") ?? {},
    propagates: said("disableContextPropagation") !== true,
    usesRequestId: said("useRequestIdForTraceSampling") !== false,
  };
}

/** The Telemetries that count for a workload, from the mesh's to its own. */
export function levelsOf(
  telemetries: readonly MeshTelemetry[],
  workload: { readonly namespace: string; readonly labels: StringMap },
  rootNamespace: string,
): readonly MeshTelemetry[] {
  const whole = (namespace: string): MeshTelemetry | undefined =>
    telemetries.find((each) => each.namespace === namespace && each.matchLabels === undefined);
  const own = telemetries.find(
    ({ namespace, matchLabels }) =>
      namespace === workload.namespace &&
      matchLabels !== undefined &&
      Object.entries(matchLabels).every(([key, value]) => workload.labels[key] === value),
  );
  const ofNamespace = workload.namespace === rootNamespace ? undefined : whole(workload.namespace);
  return [whole(rootNamespace), ofNamespace, own].filter((each) => each !== undefined);
}
