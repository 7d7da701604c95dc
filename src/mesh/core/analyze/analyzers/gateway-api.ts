import type { KubeObject } from "../../../../api/index.ts";
import type { WantedCondition } from "../../gateway-api/conditions.ts";
import type { WantedStatus } from "../../gateway-api/wanted-status.ts";
import type { MeshObjects } from "../../mesh-objects.ts";
import type { Analyzer, Finding } from "../context.ts";

/** Reasons of conditions that are about something that is not there. */
const MISSING = ["BackendNotFound", "NoMatchingParent", "InvalidCertificateRef"];
/** Conditions that do not wait for anything. */
const TYPES = ["Accepted", "ResolvedRefs"];

const LISTS = {
  GatewayClass: "gatewayClasses",
  Gateway: "kubernetesGateways",
  HTTPRoute: "httpRoutes",
  GRPCRoute: "grpcRoutes",
  TCPRoute: "tcpRoutes",
  TLSRoute: "tlsRoutes",
} as const satisfies Record<WantedStatus["kind"], keyof MeshObjects>;

/** What the status of Gateway API's objects says, or will say, is wrong. */
export const gatewayApiAnalyzer: Analyzer = {
  name: "gateway-api",
  description:
    "Gateways and routes of Gateway API that are not accepted, or name what is not there",
  codes: ["IST0101", "IST0133"],
  *analyze({ objects, model }) {
    for (const status of model.gatewayApi.statuses) {
      const object = objects[LISTS[status.kind]].find((each) => isOf(each, status));
      if (object === undefined) continue;
      for (const { path, conditions } of conditionsOf(status)) {
        for (const condition of conditions) yield* findingOf(object, path, condition);
      }
    }
  },
};

function isOf({ metadata }: KubeObject, { kind, namespace, name }: WantedStatus): boolean {
  // A class has no namespace, whatever a file says.
  const isThere = kind === "GatewayClass" || (metadata.namespace ?? "") === namespace;
  return metadata.name === name && isThere;
}

interface Conditions {
  readonly path: readonly (string | number)[];
  readonly conditions: readonly WantedCondition[];
}

function conditionsOf({ body }: WantedStatus): readonly Conditions[] {
  switch (body.kind) {
    case "class":
      return [{ path: ["spec"], conditions: body.conditions }];
    case "gateway":
      return [
        // What is wrong with listeners stands at the listeners.
        {
          path: ["spec"],
          conditions: body.conditions.filter(({ reason }) => reason !== "ListenersNotValid"),
        },
        ...body.listeners.map(({ conditions }, i) => ({
          path: ["spec", "listeners", i],
          conditions,
        })),
      ];
    case "route":
      return body.parents.map(({ conditions }) => ({ path: ["spec", "parentRefs"], conditions }));
    default:
      return body satisfies never;
  }
}

function* findingOf(
  object: KubeObject,
  path: Conditions["path"],
  { type, status, reason, message }: WantedCondition,
): Generator<Finding> {
  if (status === "True" || !TYPES.includes(type)) return;
  const code = MISSING.includes(reason) ? "IST0101" : "IST0133";
  const at = type === "ResolvedRefs" && object.kind !== "Gateway" ? ["spec", "rules"] : path;
  yield { code, object, message: `${type} is False (${reason}): ${message}`, path: at };
}
