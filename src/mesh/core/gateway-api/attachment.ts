import { GATEWAY_API_GROUP, type ParentRef } from "../../../api/index.ts";
import { coversHost } from "../model-hosts.ts";
import type { Fault } from "./conditions.ts";
import { allowsNamespace, type OwnGateway, type OwnListener } from "./listeners.ts";
import type { ApiService, GatewayApiInput, ValidRoute } from "./objects.ts";

/** A listener that took a route, and the hosts it took it for. */
export interface BoundListener {
  readonly gateway: OwnGateway;
  readonly listener: OwnListener;
  readonly hosts: readonly string[];
}

/** What one parentRef of a route came to. */
export type Attachment =
  | {
      readonly kind: "gateway";
      readonly ref: ParentRef;
      readonly controllerName: string;
      readonly listeners: readonly BoundListener[];
      readonly fault: Fault | undefined;
    }
  | {
      readonly kind: "service";
      readonly ref: ParentRef;
      readonly service: ApiService | undefined;
      readonly fault: Fault | undefined;
    };

/** Looks for the parents of a route; those of other controllers are left out. */
export function attachmentsOf(
  route: ValidRoute,
  gateways: ReadonlyMap<string, OwnGateway>,
  input: Pick<GatewayApiInput, "namespaces" | "services">,
): readonly Attachment[] {
  return (route.spec.parentRefs ?? []).flatMap((ref): Attachment[] => {
    const { group = GATEWAY_API_GROUP, kind = "Gateway" } = ref;
    const namespace = ref.namespace ?? route.object.namespace;
    if (group === GATEWAY_API_GROUP && kind === "Gateway") {
      const gateway = gateways.get(`${namespace}/${ref.name}`);
      if (gateway === undefined) return [];
      const { controllerName } = gateway;
      return [{ kind: "gateway", ref, controllerName, ...bound(route, ref, gateway, input) }];
    }
    if (group === "" && kind === "Service") {
      const service = input.services.get(`${namespace}/${ref.name}`);
      return [{ kind: "service", ref, service, fault: serviceFault(route, ref, service) }];
    }
    return [];
  });
}

function serviceFault(
  { type }: ValidRoute,
  { name, port, sectionName }: ParentRef,
  service: ApiService | undefined,
): Fault | undefined {
  const missing = (message: string): Fault => ({ reason: "NoMatchingParent", message });
  if (type === "TLSRoute") {
    return { reason: "UnsupportedValue", message: "a TLSRoute cannot be a Service's" };
  }
  if (service === undefined) return missing(`there is no Service ${name}`);
  if (sectionName !== undefined)
    return missing("a Service's ports are named by port, not sectionName");
  if (port === undefined || service.ports.includes(port)) return undefined;
  return missing(`Service ${service.namespace}/${name} has no port ${port}`);
}

function bound(
  route: ValidRoute,
  ref: ParentRef,
  gateway: OwnGateway,
  { namespaces }: Pick<GatewayApiInput, "namespaces">,
): { readonly listeners: readonly BoundListener[]; readonly fault: Fault | undefined } {
  const none = (reason: string, message: string) => ({ listeners: [], fault: { reason, message } });
  const named = gateway.listeners.filter(
    ({ name, listener, refused, conflict }) =>
      (ref.sectionName === undefined || ref.sectionName === name) &&
      (ref.port === undefined || ref.port === listener.port) &&
      (refused ?? conflict) === undefined,
  );
  if (named.length === 0) {
    return none("NoMatchingParent", "the Gateway has no such listener that is accepted");
  }
  const { namespace } = route.object;
  const allowing = named.filter(
    ({ listener, kinds }) =>
      kinds.includes(route.type) &&
      allowsNamespace(listener, gateway.object.namespace, namespace, namespaces.get(namespace)),
  );
  if (allowing.length === 0) {
    return none(
      "NotAllowedByListeners",
      `no listener takes a ${route.type} of namespace ${namespace}`,
    );
  }
  const matching = allowing.flatMap((listener): BoundListener[] => {
    const hosts = sharedHosts(route, listener.listener.hostname);
    return hosts.length === 0 ? [] : [{ gateway, listener, hosts }];
  });
  if (matching.length === 0) {
    return none(
      "NoMatchingListenerHostname",
      "no hostname of the route is one of the listeners' hostnames",
    );
  }
  return { listeners: matching, fault: undefined };
}

/** The hosts that a route and a listener have in common: of two that overlap the more exact. */
export function sharedHosts(route: ValidRoute, hostname = "*"): readonly string[] {
  const asked = route.type === "TCPRoute" ? [] : (route.spec.hostnames ?? []);
  if (asked.length === 0) return [hostname];
  const shared = asked.flatMap((host) => {
    if (coversHost(hostname, host)) return [host];
    return coversHost(host, hostname) ? [hostname] : [];
  });
  return [...new Set(shared)];
}
