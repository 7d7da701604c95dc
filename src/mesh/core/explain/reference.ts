import type { HttpRoute } from "../model-istio.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";

/** `namespace/name` of a resource, as messages name it. */
export function referenceTo(resource: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${resource.namespace}/${resource.name}`;
}

/** `VirtualService default/reviews`, or the route of Gateway API that the rule is of. */
export function ruleSource(
  virtualService: MeshVirtualService,
  rule: HttpRoute | undefined = virtualService.http[0],
): string {
  const origin = rule?.origin;
  return origin === undefined
    ? `VirtualService ${referenceTo(virtualService)}`
    : `${origin.kind} ${referenceTo(origin)}`;
}
