import type { GrpcRouteSpec, HttpRouteSpec, KubernetesGatewaySpec } from "../../../api/index.ts";

/** Fields of an HTTPRoute or GRPCRoute that are valid and do nothing, one sentence each. */
export function ignoredHttpRouteFields(spec: HttpRouteSpec | GrpcRouteSpec): readonly string[] {
  return [
    ...(spec.useDefaultGateways === undefined ? [] : ["spec.useDefaultGateways has no effect"]),
    ...(spec.rules ?? []).flatMap((rule, i) =>
      rule.sessionPersistence === undefined
        ? []
        : [
            `spec.rules[${i}].sessionPersistence has no effect; a DestinationRule's consistentHash keeps users on an endpoint`,
          ],
    ),
  ];
}

/** Fields of a Gateway of Gateway API that are valid and do nothing, one sentence each. */
export function ignoredKubernetesGatewayFields(spec: KubernetesGatewaySpec): readonly string[] {
  const whole = ["backendTLS", "tls", "allowedListeners", "defaultScope"] as const;
  return [
    ...whole
      .filter((field) => spec[field] !== undefined)
      .map((field) => `spec.${field} has no effect`),
    ...(spec.infrastructure?.parametersRef === undefined
      ? []
      : ["spec.infrastructure.parametersRef has no effect"]),
    ...spec.listeners.flatMap(({ tls }, i) => [
      ...(tls?.frontendValidation === undefined
        ? []
        : [`spec.listeners[${i}].tls.frontendValidation has no effect`]),
      ...((tls?.certificateRefs ?? []).length > 1
        ? [`spec.listeners[${i}].tls.certificateRefs: only the first certificate is served`]
        : []),
    ]),
  ];
}
