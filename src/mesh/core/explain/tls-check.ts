import type { MeshModel } from "../model.ts";
import { destinationRulesFor } from "../model-destination-rules.ts";
import { gatewaysOf } from "../model-gateways.ts";
import type { Subset } from "../model-istio.ts";
import type { MeshService } from "../model-services.ts";
import { type MeshView, viewOf } from "../model-view.ts";
import type { Workload } from "../model-workloads.ts";
import { decideTls, type TlsDecision, type TlsTarget } from "./mutual-tls.ts";
import { referenceTo } from "./reference.ts";

/** One line of `authn tls-check`: a port of a host, or of one of its subsets that speaks otherwise. */
export interface TlsCheck {
  readonly host: string;
  readonly port: number;
  /** Only where the subset's own settings make a difference. */
  readonly subset: string | undefined;
  /** UNKNOWN: there are no endpoints. */
  readonly status: "OK" | "CONFLICT" | "UNKNOWN";
  /** What the endpoints take; several where they differ. */
  readonly server: readonly string[];
  /** What the client speaks; several where it depends on the endpoint. */
  readonly client: readonly string[];
  /** `namespace/name` of the PeerAuthentications that decide; empty = none does. */
  readonly policies: readonly string[];
  /** `namespace/name` of the DestinationRule that the client follows. */
  readonly destinationRule: string | undefined;
  /** Why it is so, and what does not fit. */
  readonly reasons: readonly string[];
  readonly conflicts: readonly string[];
}

/**
 * Whether what a workload speaks to services is what their pods take. `host`: only this one, in full.
 * Sorted by host and port.
 */
export function checkTls(
  model: MeshModel,
  workload: Workload,
  host: string | undefined,
): readonly TlsCheck[] {
  const view = viewFor(model, workload);
  const ruleOf = destinationRulesFor(
    view.destinationRules,
    workload.namespace,
    model.rootNamespace,
  );
  return view.services
    .filter((service) => host === undefined || service.host === host)
    .flatMap((service) =>
      service.ports.flatMap((port) => {
        const rule = ruleOf(service);
        const whole = checkOf(model, workload, { service, port, rule, subset: undefined });
        const subsets = (rule?.subsets ?? [])
          .map((subset) => checkOf(model, workload, { service, port, rule, subset }))
          .filter((each) => isOther(each, whole));
        return [whole, ...subsets];
      }),
    );
}

/** The mesh as a workload's proxy sees it: its sidecar, or the gateway that it is. */
export function viewFor(model: MeshModel, workload: Workload): MeshView {
  const { namespace, labels, locality } = workload;
  const role = isGateway(model, workload) ? "router" : "sidecar";
  return viewOf(model, { role, namespace, labels, locality });
}

/** Whether a pod is one that a Gateway picks by its labels. */
function isGateway(model: MeshModel, workload: Workload): boolean {
  const picking = model.gateways.filter(({ selector }) => selector !== undefined);
  return gatewaysOf(picking, workload).length > 0;
}

function checkOf(model: MeshModel, workload: Workload, target: TlsTarget): TlsCheck {
  const { service, port, rule, subset } = target;
  const endpoints = port.endpoints.filter((endpoint) => hasLabels(endpoint.labels, subset));
  const decisions = endpoints.map((endpoint) => decideTls(model, workload, target, endpoint));
  const all = (value: (decision: TlsDecision) => string | undefined): readonly string[] =>
    [...new Set(decisions.flatMap((decision) => value(decision) ?? []))].sort();
  const conflicts = all(({ conflict }) => conflict);
  return {
    host: service.host,
    port: port.number,
    subset: subset?.name,
    status: endpoints.length === 0 ? "UNKNOWN" : conflicts.length === 0 ? "OK" : "CONFLICT",
    server: all(({ server }) => server),
    client: all(({ client }) => client),
    policies: all(({ policy }) => policy),
    destinationRule: rule === undefined ? undefined : referenceTo(rule),
    reasons: [
      ...all(({ clientReason }) => clientReason),
      ...all(({ serverReason }) => serverReason),
    ],
    conflicts,
  };
}

function hasLabels(labels: Readonly<Record<string, string>>, subset: Subset | undefined): boolean {
  return Object.entries(subset?.labels ?? {}).every(([key, value]) => labels[key] === value);
}

/** A subset without pods of its own settings, or that speaks as the host does, needs no line. */
function isOther(subset: TlsCheck, whole: TlsCheck): boolean {
  if (subset.client.length === 0) return false;
  const isNew = (own: readonly string[], all: readonly string[]): boolean =>
    own.some((each) => !all.includes(each));
  return isNew(subset.client, whole.client) || isNew(subset.conflicts, whole.conflicts);
}

/** A service of the view by the name that a client in its namespace uses. */
export function serviceNamed(view: MeshView, name: string): MeshService | undefined {
  const text = name.toLowerCase().replace(/\.$/, "");
  const { namespace } = view.client;
  const byName = view.services.filter((service) => !service.isEntry);
  return (
    view.services.find((service) => service.host === text) ??
    byName.find((service) => service.namespace === namespace && service.name === text) ??
    byName.find((service) => {
      const own = `${service.name}.${service.namespace}`;
      return text === own || text === `${own}.svc`;
    }) ??
    view.services.find((service) => service.clusterIps.includes(text))
  );
}
