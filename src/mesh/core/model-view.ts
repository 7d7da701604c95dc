import type { StringMap } from "../../api/index.ts";
import type { MeshModel } from "./model.ts";
import type { MeshDestinationRule } from "./model-destination-rules.ts";
import { coversHost, isVisible } from "./model-hosts.ts";
import { type Locality, localityText } from "./model-locality.ts";
import { compare } from "./model-object.ts";
import type { MeshService } from "./model-services.ts";
import { type HostImport, type MeshSidecar, sidecarOf } from "./model-sidecars.ts";
import { destinationsOf, type MeshVirtualService } from "./model-virtual-services.ts";
import { ruleCredentials } from "./translate/traffic-policy.ts";

/** The mesh as one client sees it: what is exported to it, and imported by its Sidecar. */
export interface MeshView extends MeshModel {
  readonly sidecar: MeshSidecar | undefined;
  readonly client: Client;
  /** Credential names that rules give it: a gateway any, a sidecar those of rules that select it. */
  readonly credentialNames: readonly string[];
}

/** Who looks. */
export interface Client {
  readonly role: "sidecar" | "router";
  readonly namespace: string;
  readonly labels: StringMap;
  readonly locality: Locality;
  /** Whether clusters and endpoints must say what metrics are labelled with. */
  readonly isEnvoy?: boolean;
}

/**
 * What two clients must have in common to have the same view: namespace, locality, Sidecar, the
 * labels that failover goes by, and the DestinationRules that select them.
 */
export function viewKey(model: MeshModel, client: Client): string {
  const sidecar = sidecarFor(model, client);
  const { labels, selecting } = distinctionsOf(model);
  return JSON.stringify([
    client.role,
    client.isEnvoy === true,
    client.namespace,
    localityText(client.locality),
    labels.map((key) => client.labels[key] ?? null),
    sidecar === undefined ? null : [sidecar.namespace, sidecar.name],
    ...selecting.filter((rule) => isFor(rule, client)).map(({ name }) => name),
  ]);
}

/** By what clients of one namespace are told apart. */
interface Distinctions {
  readonly labels: readonly string[];
  readonly selecting: readonly MeshDestinationRule[];
}

/** A key is asked for per proxy and push, the rules are looked through once per model. */
const known = new WeakMap<MeshModel, Distinctions>();

function distinctionsOf(model: MeshModel): Distinctions {
  const seen = known.get(model);
  if (seen !== undefined) return seen;
  const selecting = model.destinationRules.filter((rule) => rule.workloadSelector !== undefined);
  const made = { labels: failoverLabels(model), selecting };
  known.set(model, made);
  return made;
}

/** The labels of clients that failover goes by, sorted. */
export function labelsOfFailover(model: MeshModel): readonly string[] {
  return distinctionsOf(model).labels;
}

/** The view of a client. Cost: the number of services, VirtualServices and DestinationRules. */
export function viewOf(model: MeshModel, client: Client): MeshView {
  const sidecar = sidecarFor(model, client);
  const visible = visibleServices(model, client.namespace);
  const imports = sidecar?.imports?.map((each) =>
    each.namespace === "." ? { ...each, namespace: client.namespace } : each,
  );
  const destinationRules = model.destinationRules.filter((rule) => isFor(rule, client));
  const virtualServices =
    imports === undefined
      ? model.virtualServices
      : model.virtualServices.filter((each) => importsVirtualService(imports, each));
  const services =
    imports === undefined ? visible : importedServices(visible, imports, virtualServices, client);
  return {
    ...model,
    sidecar,
    client,
    services,
    serviceByHost: new Map(services.map((service) => [service.host, service])),
    virtualServices,
    destinationRules,
    credentialNames: destinationRules
      .filter((rule) => client.role === "router" || rule.workloadSelector !== undefined)
      .flatMap(ruleCredentials),
  };
}

/** The labels of clients that any failoverPriority names; few rules have one. */
function failoverLabels({ destinationRules, settings }: MeshModel): readonly string[] {
  const policies = destinationRules.flatMap((rule) => [
    rule.trafficPolicy,
    ...rule.subsets.map((subset) => subset.trafficPolicy),
  ]);
  const all = policies.flatMap((policy) => [policy, ...(policy?.portLevelSettings ?? [])]);
  const named = [
    settings.localityLbSetting,
    ...all.map((policy) => policy?.loadBalancer?.localityLbSetting),
  ].flatMap((setting) => setting?.failoverPriority ?? []);
  return [...new Set(named.filter((label) => !label.includes("=")))].sort();
}

/** Gateways have no Sidecar. */
function sidecarFor(model: MeshModel, client: Client): MeshSidecar | undefined {
  if (client.role !== "sidecar" || model.sidecars.length === 0) return undefined;
  return sidecarOf(model.sidecars, client, model.rootNamespace);
}

/** A rule that selects workloads is for those of its own namespace. */
function isFor(rule: MeshDestinationRule, client: Client): boolean {
  if (rule.workloadSelector === undefined) return true;
  if (rule.namespace !== client.namespace) return false;
  return Object.entries(rule.workloadSelector).every(
    ([key, value]) => client.labels[key] === value,
  );
}

/**
 * The services exported to a namespace, one per host: the namespace's own first, then Kubernetes',
 * then the oldest ServiceEntry's. Sorted by host.
 */
function visibleServices(model: MeshModel, namespace: string): readonly MeshService[] {
  const isPlain =
    model.serviceByHost.size === model.services.length &&
    model.services.every(({ exportTo }) => exportTo.length === 1 && exportTo[0] === "*");
  if (isPlain) return model.services;
  const byHost = new Map<string, MeshService>();
  for (const service of model.services) {
    if (!isVisible(service, namespace)) continue;
    const known = byHost.get(service.host);
    if (known === undefined || precedes(service, known, namespace)) {
      byHost.set(service.host, service);
    }
  }
  return [...byHost.values()];
}

/** Whether `a` is the one that counts of two services for one host. */
export function precedes(a: MeshService, b: MeshService, namespace?: string): boolean {
  const rank = (service: MeshService): number => {
    if (!service.isEntry) return 0;
    return service.namespace === namespace ? 1 : 2;
  };
  return (rank(a) - rank(b) || compare(a.createdAt, b.createdAt)) < 0;
}

function importedServices(
  visible: readonly MeshService[],
  imports: readonly HostImport[],
  virtualServices: readonly MeshVirtualService[],
  client: Client,
): readonly MeshService[] {
  // Where imported VirtualServices lead must be reachable too (Istio).
  const destinations = new Set(
    virtualServices
      .filter((each) => isVisible(each, client.namespace))
      .flatMap((each) => destinationsOf(each).map(({ host }) => host)),
  );
  return visible.filter(
    (service) =>
      destinations.has(service.host) ||
      imports.some(
        ({ namespace, dnsName }) =>
          isOf(namespace, service.namespace) && coversHost(dnsName, service.host),
      ),
  );
}

function importsVirtualService(
  imports: readonly HostImport[],
  { namespace, hosts }: MeshVirtualService,
): boolean {
  return imports.some(
    (each) =>
      isOf(each.namespace, namespace) &&
      hosts.some((host) => coversHost(each.dnsName, host) || coversHost(host, each.dnsName)),
  );
}

const isOf = (scope: string, namespace: string): boolean => scope === "*" || scope === namespace;
