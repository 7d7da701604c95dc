import { GATEWAY_API_GROUP } from "../../../api/index.ts";
import type { Destination } from "../model-istio.ts";
import { INVALID_BACKEND } from "../translate/names.ts";
import type { Fault } from "./conditions.ts";
import type { GatewayApiInput } from "./objects.ts";
import { isReferenceGranted } from "./reference-grants.ts";

/** A reference to a backend, of any route kind. */
export interface BackendReference {
  readonly group?: string | undefined;
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly port?: number | undefined;
}

/** Whose references are looked at. */
export interface RouteContext {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly input: Pick<GatewayApiInput, "services" | "isHost" | "grants">;
  /** Whether other namespaces have to agree; not where a route is a Service's (Istio). */
  readonly needsGrants: boolean;
  /** What is wrong with references goes here. */
  readonly faults: Fault[];
}

/** The destination of requests whose backend is not valid. */
export const INVALID: Destination = { host: INVALID_BACKEND };

/** Istio's way to name a host that is no Service, such as a ServiceEntry's. */
const HOSTNAME_GROUP = "networking.istio.io";

/** Where a reference leads; what is not valid leads to INVALID, with a fault of ResolvedRefs. */
export function destinationOf(ref: BackendReference, context: RouteContext): Destination {
  const { group = "", kind = "Service", port } = ref;
  const fault = (reason: string, message: string): Destination => {
    context.faults.push({ reason, message });
    return INVALID;
  };
  if (group === HOSTNAME_GROUP && kind === "Hostname") {
    const host = ref.name.toLowerCase();
    if (ref.namespace !== undefined) {
      return fault("InvalidKind", `backend Hostname ${host} must not have a namespace`);
    }
    if (!context.input.isHost(host)) {
      return fault("BackendNotFound", `backend ${host} is no host of the mesh`);
    }
    return { host, ...(port === undefined ? {} : { port: { number: port } }) };
  }
  if (group !== "" || kind !== "Service") {
    const found = group === "" ? kind : `${kind}.${group}`;
    return fault("InvalidKind", `backends may be Services, not ${found}`);
  }
  const namespace = ref.namespace ?? context.namespace;
  const granted = isReferenceGranted(context.input.grants, {
    from: { group: GATEWAY_API_GROUP, kind: context.kind, namespace: context.namespace },
    to: { group, kind, namespace, name: ref.name },
  });
  if (context.needsGrants && !granted) {
    return fault(
      "RefNotPermitted",
      `no ReferenceGrant of namespace ${namespace} lets ${context.kind}s of ${context.namespace} name Service ${ref.name}`,
    );
  }
  const service = context.input.services.get(`${namespace}/${ref.name}`);
  if (service === undefined) {
    return fault("BackendNotFound", `there is no Service ${namespace}/${ref.name}`);
  }
  if (port === undefined || !service.ports.includes(port)) {
    return fault("BackendNotFound", `Service ${namespace}/${ref.name} has no port ${port ?? ""}`);
  }
  return { host: service.host, port: { number: port } };
}

/** The backends that get anything, with their shares: one that names no weight has 1. */
export function weightedBackends<
  Ref extends BackendReference & { readonly weight?: number | undefined },
>(
  refs: readonly Ref[],
  context: RouteContext,
): readonly { readonly ref: Ref; readonly destination: Destination; readonly weight: number }[] {
  return refs
    .map((ref) => ({ ref, destination: destinationOf(ref, context), weight: ref.weight ?? 1 }))
    .filter(({ weight }) => weight > 0);
}
