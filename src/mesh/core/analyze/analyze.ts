import type { KubeObject } from "../../../api/index.ts";
import type { ModelOptions } from "../model.ts";
import { compare, labelsOf } from "../model-object.ts";
import { annotationsAnalyzer } from "./analyzers/annotations.ts";
import { canariesAnalyzer } from "./analyzers/canaries.ts";
import { destinationRulesAnalyzer } from "./analyzers/destination-rules.ts";
import { gatewayApiAnalyzer } from "./analyzers/gateway-api.ts";
import { gatewaysAnalyzer } from "./analyzers/gateways.ts";
import { injectionAnalyzer } from "./analyzers/injection.ts";
import { referencesAnalyzer } from "./analyzers/references.ts";
import { schemaAnalyzer } from "./analyzers/schema.ts";
import { scopesAnalyzer } from "./analyzers/scopes.ts";
import { serviceEntriesAnalyzer } from "./analyzers/service-entries.ts";
import { servicesAnalyzer } from "./analyzers/services.ts";
import { silentNoOpsAnalyzer } from "./analyzers/silent-no-ops.ts";
import { telemetriesAnalyzer } from "./analyzers/telemetries.ts";
import { virtualServicesAnalyzer } from "./analyzers/virtual-services.ts";
import { type AnalysisInput, buildContext } from "./build-context.ts";
import type { Analyzer, Finding } from "./context.ts";
import { LEVELS, MESSAGES } from "./messages.ts";

/** Every analyzer, in the order of `serin analyze -L`. */
export const ANALYZERS: readonly Analyzer[] = [
  schemaAnalyzer,
  referencesAnalyzer,
  injectionAnalyzer,
  annotationsAnalyzer,
  scopesAnalyzer,
  servicesAnalyzer,
  virtualServicesAnalyzer,
  destinationRulesAnalyzer,
  gatewaysAnalyzer,
  gatewayApiAnalyzer,
  serviceEntriesAnalyzer,
  telemetriesAnalyzer,
  silentNoOpsAnalyzer,
  canariesAnalyzer,
];

/** On a resource: codes not to report of it, comma-separated; `*` = none at all. */
const SUPPRESS = "galley.istio.io/analyze-suppress";

/**
 * Everything that the analyzers find, the worst first, then by resource and code. Resources say by
 * annotation what is not to be reported of them.
 */
export function analyze(input: AnalysisInput, options: ModelOptions): readonly Finding[] {
  const context = buildContext(input, options);
  const findings = ANALYZERS.flatMap((analyzer) => [...analyzer.analyze(context)]);
  const distinct = new Map(
    findings
      .filter((finding) => !isSuppressed(finding))
      .map((finding) => [
        `${finding.code} ${resourceName(finding.object)} ${finding.message}`,
        finding,
      ]),
  );
  return [...distinct.values()].sort(
    (a, b) =>
      severity(b) - severity(a) ||
      compare(resourceName(a.object), resourceName(b.object)) ||
      compare(a.code, b.code) ||
      compare(a.message, b.message),
  );
}

function severity({ code }: Finding): number {
  return LEVELS.indexOf(MESSAGES[code].level);
}

function isSuppressed({ code, object }: Finding): boolean {
  const codes = (labelsOf(object.metadata.annotations)[SUPPRESS] ?? "").split(",");
  return codes.some((each) => each.trim() === code || each.trim() === "*");
}

/** `VirtualService default/reviews`; `Namespace shop`, which has none. */
export function resourceName({ kind, metadata }: KubeObject): string {
  const { namespace, name } = metadata;
  const isWhole = ["Namespace", "Node", "GatewayClass"].includes(kind);
  return isWhole ? `${kind} ${name}` : `${kind} ${namespace ?? "default"}/${name}`;
}
