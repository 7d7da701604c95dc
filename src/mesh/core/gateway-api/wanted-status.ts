import { GATEWAY_API_GROUP, type GatewayClassSpec, type ParentRef } from "../../../api/index.ts";
import { condition, type Fault, firstFault, type WantedCondition } from "./conditions.ts";
import type { OwnGateway, OwnListener } from "./listeners.ts";
import type { ApiObject } from "./objects.ts";

/** The status that an object shall have. */
export interface WantedStatus {
  readonly kind: "GatewayClass" | "Gateway" | "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute";
  readonly namespace: string;
  readonly name: string;
  readonly body: StatusBody;
}

export type StatusBody =
  | { readonly kind: "class"; readonly conditions: readonly WantedCondition[] }
  | {
      readonly kind: "gateway";
      readonly addresses: readonly GatewayAddress[];
      readonly conditions: readonly WantedCondition[];
      readonly listeners: readonly ListenerStatus[];
    }
  | { readonly kind: "route"; readonly parents: readonly ParentStatus[] };

export interface GatewayAddress {
  readonly type: "IPAddress" | "Hostname";
  readonly value: string;
}

export interface ListenerStatus {
  readonly name: string;
  readonly attachedRoutes: number;
  readonly supportedKinds: readonly { readonly group: string; readonly kind: string }[];
  readonly conditions: readonly WantedCondition[];
}

export interface ParentStatus {
  readonly parentRef: ParentRef;
  readonly controllerName: string;
  readonly conditions: readonly WantedCondition[];
}

/** The status of a GatewayClass of ours. */
export function classStatus(
  { name, generation }: ApiObject<GatewayClassSpec>,
  spec: GatewayClassSpec,
): WantedStatus {
  const fault =
    spec.parametersRef === undefined
      ? undefined
      : { reason: "InvalidParameters", message: "spec.parametersRef is not supported" };
  const good = { reason: "Accepted", message: "Serin serves the Gateways of this class" };
  return {
    kind: "GatewayClass",
    namespace: "",
    name,
    body: { kind: "class", conditions: [condition("Accepted", generation, good, fault)] },
  };
}

/** How a Gateway's proxies are found. */
export interface GatewayPlace {
  readonly addresses: readonly GatewayAddress[];
  /** Why the Gateway cannot be served at all. */
  readonly refused: Fault | undefined;
  /** Why it is not served yet. */
  readonly pending: Fault | undefined;
}

/** The status of a Gateway of ours. */
export function gatewayStatus(
  { object, listeners }: OwnGateway,
  place: GatewayPlace,
  attachedTo: (listener: OwnListener) => number,
): WantedStatus {
  const { generation } = object;
  const broken = listeners.filter(({ server }) => server === undefined);
  const invalid: Fault = {
    reason: "ListenersNotValid",
    message: `not served: ${broken.map(({ name }) => name).join(", ")}; the listeners' conditions say why`,
  };
  const accepted = condition(
    "Accepted",
    generation,
    // With one good listener the Gateway is accepted, and still says so of the others.
    broken.length === 0 ? { reason: "Accepted", message: "the Gateway is served" } : invalid,
    place.refused ?? (broken.length === listeners.length ? invalid : undefined),
  );
  const unserved: Fault | undefined =
    accepted.status === "True"
      ? place.pending
      : { reason: "Invalid", message: "the Gateway is not accepted" };
  return {
    kind: "Gateway",
    namespace: object.namespace,
    name: object.name,
    body: {
      kind: "gateway",
      addresses: place.addresses,
      conditions: [
        accepted,
        condition(
          "Programmed",
          generation,
          { reason: "Programmed", message: `the proxies behind ${namesOf(place)} serve it` },
          unserved,
        ),
      ],
      listeners: listeners.map((each) => ({
        name: each.name,
        attachedRoutes: attachedTo(each),
        supportedKinds: each.kinds.map((kind) => ({ group: GATEWAY_API_GROUP, kind })),
        conditions: listenerConditions(each, generation, unserved),
      })),
    },
  };
}

function namesOf({ addresses }: GatewayPlace): string {
  return addresses.map(({ value }) => value).join(", ");
}

function listenerConditions(
  { refused, conflict, unresolved, server }: OwnListener,
  generation: number,
  unserved: Fault | undefined,
): readonly WantedCondition[] {
  const own = refused ?? conflict ?? (server === undefined ? unresolved : undefined);
  const notServed = own === undefined ? unserved : { reason: "Invalid", message: own.message };
  return [
    condition(
      "Accepted",
      generation,
      { reason: "Accepted", message: "the listener is valid" },
      refused ?? conflict,
    ),
    // Here True is what is wrong.
    conflict === undefined
      ? {
          ...condition("Conflicted", generation, { reason: "", message: "" }, undefined),
          status: "False",
          reason: "NoConflicts",
          message: "no other listener is in its way",
        }
      : {
          ...condition("Conflicted", generation, conflict, undefined),
        },
    condition(
      "ResolvedRefs",
      generation,
      { reason: "ResolvedRefs", message: "everything that it names is there" },
      unresolved,
    ),
    condition(
      "Programmed",
      generation,
      { reason: "Programmed", message: "the proxies serve it" },
      notServed,
    ),
  ];
}

/** What a route's parent says of it. */
export function parentStatus(
  parentRef: ParentRef,
  controllerName: string,
  generation: number,
  refused: Fault | undefined,
  unresolved: readonly Fault[],
): ParentStatus {
  return {
    parentRef,
    controllerName,
    conditions: [
      condition(
        "Accepted",
        generation,
        { reason: "Accepted", message: "the route is attached" },
        refused,
      ),
      condition(
        "ResolvedRefs",
        generation,
        { reason: "ResolvedRefs", message: "everything that it names is there" },
        firstFault(unresolved),
      ),
    ],
  };
}
