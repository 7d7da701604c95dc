import type { HttpRoute, OutlierDetection } from "./model-istio.ts";

/** Something that a resource says in vain, and which field it is. */
export interface NoOp {
  readonly kind:
    | "fault"
    | "mirror"
    | "weight"
    | "reservedHeader"
    | "consecutiveErrors"
    | "ejectsNobody"
    | "neverReached";
  readonly message: string;
}

/** Header keys that Istio ignores: they have fields of their own. */
const RESERVED = ["uri", "scheme", "method", "authority"];

/** What a rule of a VirtualService says in vain. */
export function routeNoOps({ fault, mirror, mirrorPercentage, route = [] }: HttpRoute): NoOp[] {
  const { delay, abort } = fault ?? {};
  const isSet = (percent: { readonly value?: number | undefined } | undefined): boolean =>
    (percent?.value ?? 0) > 0;
  return chosen([
    [
      delay !== undefined && !isSet(delay.percentage) && (delay.percent ?? 0) === 0,
      "fault",
      "fault.delay has no percentage (or 0): no request is delayed",
    ],
    [
      abort !== undefined && !isSet(abort.percentage),
      "fault",
      "fault.abort has no percentage (or 0): no request is aborted",
    ],
    [
      mirror !== undefined && mirrorPercentage !== undefined && !isSet(mirrorPercentage),
      "mirror",
      "mirrorPercentage is 0: nothing is mirrored",
    ],
    [
      route.length > 1 && route.some(({ weight }) => (weight ?? 0) === 0),
      "weight",
      "route has destinations of weight 0 (or without one): they get nothing",
    ],
  ]);
}

/** Header matches that are ignored, each with its path below the rule. */
export function reservedHeaders({ match = [] }: HttpRoute): readonly NoOp[] {
  return match.flatMap(({ headers }, i) =>
    Object.keys(headers ?? {})
      .filter((key) => RESERVED.includes(key))
      .map((key): NoOp => {
        const message = `match[${i}].headers.${key} is ignored: use match.${key}`;
        return { kind: "reservedHeader", message };
      }),
  );
}

/** What proxies make of an outlier detection; of `hosts` endpoints. */
export interface EffectiveOutlierDetection {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly maxEjectionPercent: number;
  readonly hosts: number;
}

/** What an outlier detection says in vain. */
export function outlierNoOps(
  outlier: OutlierDetection,
  {
    consecutive5xx,
    consecutiveGatewayErrors,
    maxEjectionPercent,
    hosts,
  }: EffectiveOutlierDetection,
): NoOp[] {
  return chosen([
    [
      outlier.consecutiveErrors !== undefined && outlier.consecutive5xxErrors === undefined,
      "consecutiveErrors",
      `outlierDetection.consecutiveErrors is deprecated, and Istio ignores it (5 failures would count); Serin takes it as consecutive5xxErrors: ${consecutive5xx}`,
    ],
    [
      outlier.consecutiveErrors !== undefined && outlier.consecutive5xxErrors !== undefined,
      "consecutiveErrors",
      "outlierDetection.consecutiveErrors has no effect beside consecutive5xxErrors",
    ],
    [
      hosts > 0 && 100 / hosts > maxEjectionPercent,
      "ejectsNobody",
      `outlierDetection can eject nobody: maxEjectionPercent ${maxEjectionPercent} of ${hosts} ${hosts === 1 ? "endpoint is" : "endpoints are"} less than one`,
    ],
    [
      consecutiveGatewayErrors > 0 &&
        consecutive5xx > 0 &&
        consecutiveGatewayErrors >= consecutive5xx,
      "neverReached",
      `outlierDetection.consecutiveGatewayErrors ${consecutiveGatewayErrors} is never reached: ${consecutive5xx} failures of any kind eject before`,
    ],
  ]);
}

function chosen(all: readonly (readonly [boolean, NoOp["kind"], string])[]): NoOp[] {
  return all.filter(([isTrue]) => isTrue).map(([, kind, message]) => ({ kind, message }));
}
