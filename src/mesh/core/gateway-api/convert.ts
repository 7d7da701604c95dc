import type { KubernetesGatewaySpec } from "../../../api/index.ts";
import type { MeshGateway } from "../model-gateways.ts";
import { resolveHost } from "../model-hosts.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import { type Attachment, attachmentsOf } from "./attachment.ts";
import type { RouteContext } from "./backends.ts";
import type { Fault } from "./conditions.ts";
import {
  connectionTargets,
  gatewayOfListener,
  listenerRoutes,
  type Taken,
} from "./gateway-routes.ts";
import { rankedRoutes } from "./http-rules.ts";
import { type OwnGateway, type OwnListener, ownListeners } from "./listeners.ts";
import { type ServiceRoute, serviceRoutes } from "./mesh-routes.ts";
import type { ApiObject, ApiService, GatewayApiInput, ValidRoute } from "./objects.ts";
import {
  classStatus,
  type GatewayPlace,
  gatewayStatus,
  type ParentStatus,
  parentStatus,
  type WantedStatus,
} from "./wanted-status.ts";

/** Whose GatewayClasses are served, Istio's name first. */
export const CONTROLLERS = ["istio.io/gateway-controller", "serin.dev/gateway-controller"] as const;
/** Who speaks for Services in the status of routes. */
export const MESH_CONTROLLER = "serin.dev/gateway-controller";

/** The label by which the pods of a Gateway that was deployed for it are known. */
export const GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name";

/** What Gateway API's objects come to. */
export interface GatewayApi {
  readonly gateways: readonly MeshGateway[];
  readonly virtualServices: readonly MeshVirtualService[];
  readonly statuses: readonly WantedStatus[];
  /** Gateways that want proxies of their own. */
  readonly deployments: readonly WantedDeployment[];
}

/** A Gateway for which a Deployment and a Service shall be there. */
export interface WantedDeployment {
  /** Of both. */
  readonly name: string;
  readonly namespace: string;
  readonly gateway: string;
  readonly className: string;
  readonly ports: readonly { readonly name: string; readonly number: number }[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export const NO_GATEWAY_API: GatewayApi = {
  gateways: [],
  virtualServices: [],
  statuses: [],
  deployments: [],
};

/** Translates Gateway API's objects to Istio's Gateways and VirtualServices, and says their status. */
export function convertGatewayApi(input: GatewayApiInput): GatewayApi {
  const statuses: WantedStatus[] = [];
  const controllers = new Map<string, string>();
  for (const object of input.classes) {
    const { spec } = object;
    if (spec === undefined || !CONTROLLERS.some((each) => each === spec.controllerName)) continue;
    statuses.push(classStatus(object, spec));
    if (spec.parametersRef === undefined) controllers.set(object.name, spec.controllerName);
  }
  const gateways = new Map<string, OwnGateway>();
  for (const object of input.gateways) {
    const { spec } = object;
    const controllerName = controllers.get(spec?.gatewayClassName ?? "");
    if (spec === undefined || controllerName === undefined) continue;
    const listeners = ownListeners(object, spec, input);
    gateways.set(`${object.namespace}/${object.name}`, { object, spec, controllerName, listeners });
  }

  const taken = new Map<OwnListener, Taken[]>();
  const services: ServiceRoute[] = [];
  const attached = validRoutes(input).map((route) => {
    const attachments = attachmentsOf(route, gateways, input);
    for (const each of attachments) noteAttachment(route, each, taken, services);
    return { route, attachments };
  });
  const contexts = createContexts(input);
  const meshGateways: MeshGateway[] = [];
  const virtualServices: MeshVirtualService[] = [];
  const deployments: WantedDeployment[] = [];
  for (const gateway of gateways.values()) {
    const place = placeOf(gateway, input);
    statuses.push(gatewayStatus(gateway, place, (each) => countOf(taken.get(each))));
    if (place.refused !== undefined) continue;
    if (place.deployment !== undefined) deployments.push(place.deployment);
    for (const listener of gateway.listeners) {
      const served = gatewayOfListener(gateway, listener, place.pods);
      if (served === undefined) continue;
      meshGateways.push(served);
      const own = taken.get(listener) ?? [];
      virtualServices.push(
        ...listenerRoutes(gateway, listener, own, (route) => contexts.of(route, true)),
      );
    }
  }
  virtualServices.push(...serviceRoutes(services, (route) => contexts.of(route, false)));
  for (const { route, attachments } of attached) {
    statuses.push(routeStatus(route, attachments, contexts));
  }
  return { gateways: meshGateways, virtualServices, statuses, deployments };
}

function validRoutes(input: GatewayApiInput): readonly ValidRoute[] {
  const valid = <Spec, Type extends ValidRoute["type"]>(
    type: Type,
    objects: readonly ApiObject<Spec>[],
  ) =>
    objects.flatMap((object) =>
      object.spec === undefined ? [] : [{ type, object, spec: object.spec }],
    );
  return [
    ...valid("HTTPRoute", input.httpRoutes),
    ...valid("GRPCRoute", input.grpcRoutes),
    ...valid("TCPRoute", input.tcpRoutes),
    ...valid("TLSRoute", input.tlsRoutes),
  ];
}

function noteAttachment(
  route: ValidRoute,
  attachment: Attachment,
  taken: Map<OwnListener, Taken[]>,
  services: ServiceRoute[],
): void {
  if (attachment.fault !== undefined) return;
  if (attachment.kind === "service") {
    const { service, ref } = attachment;
    if (service !== undefined) services.push({ route, service, port: ref.port });
    return;
  }
  for (const { listener, hosts } of attachment.listeners) {
    const all = taken.get(listener) ?? [];
    // Two parentRefs may lead to one listener.
    if (all.some((each) => each.route === route)) continue;
    taken.set(listener, [...all, { route, hosts }]);
  }
}

function countOf(taken: readonly Taken[] | undefined): number {
  return taken?.length ?? 0;
}

/** What is found wrong with a route's references, once for Gateways and once for Services. */
interface Contexts {
  of(route: ValidRoute, isGateway: boolean): RouteContext;
}

function createContexts(input: GatewayApiInput): Contexts {
  const known = new Map<string, RouteContext>();
  return {
    of({ type, object }, isGateway) {
      const { namespace, name } = object;
      const key = `${type} ${namespace}/${name} ${isGateway}`;
      const context = known.get(key) ?? {
        ...{ kind: type, namespace, name, input, needsGrants: isGateway },
        faults: [],
      };
      known.set(key, context);
      return context;
    },
  };
}

function routeStatus(
  route: ValidRoute,
  attachments: readonly Attachment[],
  contexts: Contexts,
): WantedStatus {
  const { namespace, name, generation } = route.object;
  const parents = attachments.map((each): ParentStatus => {
    const isGateway = each.kind === "gateway";
    const context = contexts.of(route, isGateway);
    // References are right or wrong wherever the route is attached, if at all.
    if (context.faults.length === 0) checkReferences(route, context);
    const { faults } = context;
    return parentStatus(
      each.ref,
      isGateway ? each.controllerName : MESH_CONTROLLER,
      generation,
      each.fault,
      faults,
    );
  });
  return { kind: route.type, namespace, name, body: { kind: "route", parents } };
}

function checkReferences(route: ValidRoute, context: RouteContext): void {
  if (route.type === "HTTPRoute" || route.type === "GRPCRoute") {
    rankedRoutes(route, undefined, context);
  } else connectionTargets(route, context);
}

interface Place extends GatewayPlace {
  readonly pods: Pick<MeshGateway, "selector" | "podNamespace">;
  readonly deployment: WantedDeployment | undefined;
}

const NOWHERE: Pick<MeshGateway, "selector" | "podNamespace"> = {
  // A name that no pod's namespace can have.
  podNamespace: "",
  selector: undefined,
};

/** Behind which Service a Gateway's proxies are: the one it names, or its own. */
function placeOf(gateway: OwnGateway, input: GatewayApiInput): Place {
  const { object, spec } = gateway;
  const addresses = spec.addresses ?? [];
  if (addresses.length === 0) return ownPlace(gateway, input);
  const refused = (reason: string, message: string): Place => ({
    ...{ pods: NOWHERE, deployment: undefined, addresses: [], pending: undefined },
    refused: { reason, message },
  });
  const [address] = addresses;
  if (addresses.length > 1 || address?.type !== "Hostname" || !address.value) {
    return refused(
      "UnsupportedAddress",
      "spec.addresses may hold one address, of type Hostname: a Service's host",
    );
  }
  const byHost = new Map([...input.services.values()].map((each) => [each.host, each]));
  const host = resolveHost(address.value, object.namespace, (each) => byHost.has(each));
  const service = byHost.get(host);
  const reported = service === undefined ? [] : addressesOf(service);
  const empty = { reason: "AddressNotUsable", message: `Service ${host} selects no pods` };
  const isEmpty = service !== undefined && Object.keys(service.selector).length === 0;
  return {
    deployment: undefined,
    addresses: reported,
    refused: undefined,
    pending: isEmpty ? empty : pendingOf(host, service, input),
    pods:
      service === undefined || isEmpty
        ? NOWHERE
        : { podNamespace: service.namespace, selector: service.selector },
  };
}

function ownPlace({ object, spec, listeners }: OwnGateway, input: GatewayApiInput): Place {
  const { namespace, name } = object;
  const own = `${name}-${spec.gatewayClassName}`;
  const service = input.services.get(`${namespace}/${own}`);
  return {
    refused: undefined,
    addresses: service === undefined ? [] : addressesOf(service),
    pending: pendingOf(`${own}.${namespace}`, service, input),
    pods: { podNamespace: namespace, selector: { [GATEWAY_NAME_LABEL]: name } },
    deployment: {
      ...{ name: own, namespace, gateway: name, className: spec.gatewayClassName },
      ports: portsOf(listeners),
      labels: infrastructure(spec).labels ?? {},
      annotations: infrastructure(spec).annotations ?? {},
    },
  };
}

function infrastructure(spec: KubernetesGatewaySpec) {
  return spec.infrastructure ?? {};
}

function portsOf(listeners: readonly OwnListener[]): WantedDeployment["ports"] {
  const ports = new Map<number, { readonly name: string; readonly number: number }>();
  for (const { listener, refused, conflict } of listeners) {
    if ((refused ?? conflict) !== undefined || ports.has(listener.port)) continue;
    const name = `${listener.protocol.toLowerCase()}-${listener.port}`;
    ports.set(listener.port, { name, number: listener.port });
  }
  return [...ports.values()].sort((a, b) => a.number - b.number);
}

function addressesOf({ host, ingress }: ApiService): GatewayPlace["addresses"] {
  return ingress.length > 0 ? ingress : [{ type: "Hostname", value: host }];
}

function pendingOf(
  host: string,
  service: ApiService | undefined,
  { isReady }: GatewayApiInput,
): Fault | undefined {
  if (service === undefined) {
    return { reason: "AddressNotAssigned", message: `there is no Service ${host} yet` };
  }
  if (isReady(service.host)) return undefined;
  return { reason: "Pending", message: `no proxy behind Service ${service.host} is ready yet` };
}
