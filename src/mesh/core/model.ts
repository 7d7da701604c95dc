import {
  type KubeObject,
  parseServiceEntry,
  parseSidecar,
  parseTelemetry,
  parseWorkloadEntry,
} from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import type { GatewayApi } from "./gateway-api/convert.ts";
import type { MeshObjects } from "./mesh-objects.ts";
import { ignoredAccessLogging } from "./model-access-logging.ts";
import { ignoredFields, ignoredPolicies } from "./model-check.ts";
import { type Credentials, credentialsFrom } from "./model-credentials.ts";
import { withDelegates } from "./model-delegates.ts";
import {
  type DestinationRuleLookup,
  destinationRulesFor,
  type MeshDestinationRule,
  mergeDestinationRules,
} from "./model-destination-rules.ts";
import { gatewayApiFrom } from "./model-gateway-api.ts";
import {
  gatewayFrom,
  gatewaysOf,
  ignoredGatewayFields,
  type MeshGateway,
} from "./model-gateways.ts";
import { nodeLocalities } from "./model-locality.ts";
import { ModelMemory } from "./model-memory.ts";
import {
  byAge,
  compare,
  createProblemLog,
  type ModelProblem,
  type ProblemLog,
} from "./model-object.ts";
import {
  parseAuthorizationPolicy,
  parseDestinationRule,
  parseGateway,
  parsePeerAuthentication,
  parseRequestAuthentication,
  parseVirtualService,
} from "./model-parse.ts";
import {
  type MeshPeerAuthentication,
  peerAuthenticationFrom,
} from "./model-peer-authentication.ts";
import {
  authorizationPolicyFrom,
  type MeshAuthorizationPolicy,
  type MeshRequestAuthentication,
  requestAuthenticationFrom,
} from "./model-security.ts";
import { serviceEntryServices } from "./model-service-entries.ts";
import {
  buildServices,
  type MeshService,
  type ServedPort,
  servedPortsOf,
} from "./model-services.ts";
import { DEFAULT_SETTINGS, type MeshSettings, meshSettingsFrom } from "./model-settings.ts";
import { ignoredSidecarFields, type MeshSidecar, sidecarFrom } from "./model-sidecars.ts";
import {
  ignoredTelemetry,
  type MeshTelemetry,
  missingProviders,
  telemetryFrom,
} from "./model-telemetry.ts";
import { precedes } from "./model-view.ts";
import {
  destinationsOf,
  MESH_GATEWAY,
  type MeshVirtualService,
  virtualServiceFrom,
} from "./model-virtual-services.ts";
import { workloadEntryFrom } from "./model-workload-entries.ts";
import { type Workload, workloadFromPod } from "./model-workloads.ts";
import { missingCredential } from "./translate/gateway-tls.ts";
import { jwksCluster } from "./translate/request-authentication.ts";

export interface ModelOptions {
  /** Of SPIFFE identities, `cluster.local` by default in Istio. */
  readonly trustDomain: string;
  /** Where mesh-wide policies live, `istio-system` by default in Istio. */
  readonly rootNamespace: string;
}

/** Everything the control plane knows, parsed and joined; the input of every translation. */
export interface MeshModel extends ModelOptions {
  /** Sorted by host; of ServiceEntries several may have one, each for other namespaces. */
  readonly services: readonly MeshService[];
  /** Of several for one host Kubernetes', else the oldest. */
  readonly serviceByHost: ReadonlyMap<string, MeshService>;
  /** Pods by `namespace/name`. */
  readonly workloads: ReadonlyMap<string, Workload>;
  /** The service ports behind which a pod is, the oldest service first. */
  readonly servedPorts: ReadonlyMap<Workload, readonly ServedPort[]>;
  /** Oldest first. */
  readonly virtualServices: readonly MeshVirtualService[];
  readonly destinationRules: readonly MeshDestinationRule[];
  /** Oldest first. */
  readonly gateways: readonly MeshGateway[];
  /** What Gateway API's objects came to; its gateways and routes are among those above. */
  readonly gatewayApi: GatewayApi;
  /** Oldest first. */
  readonly sidecars: readonly MeshSidecar[];
  readonly settings: MeshSettings;
  readonly credentials: Credentials;
  /** Oldest first. */
  readonly peerAuthentications: readonly MeshPeerAuthentication[];
  /** Oldest first. */
  readonly requestAuthentications: readonly MeshRequestAuthentication[];
  readonly authorizationPolicies: readonly MeshAuthorizationPolicy[];
  /** Oldest first. */
  readonly telemetries: readonly MeshTelemetry[];
  /** What was left out, does nothing or cannot work, and why. */
  readonly problems: readonly ModelProblem[];
}

/**
 * Builds the model from what is watched. Never throws for a bad resource: it is left out and listed
 * in `problems`. The order of the objects does not matter. With the memory of the model before, only
 * what changed is made anew; the result is the same.
 */
export function buildModel(
  objects: MeshObjects,
  options: ModelOptions,
  memory: ModelMemory = new ModelMemory(),
): MeshModel {
  const log = createProblemLog();
  const credentials = memory.part("credentials", objects.secrets, log, () =>
    credentialsFrom(objects.secrets),
  );
  const workloads = workloadsFrom(objects, memory, log);
  const entries = memory.part("workloadEntries", objects.workloadEntries, log, (own) =>
    parsed(objects.workloadEntries, parseWorkloadEntry, own).map(({ object, spec }) =>
      workloadEntryFrom(object, spec),
    ),
  );
  const kubernetes = buildServices(
    objects.services,
    objects.endpointSlices,
    workloads,
    entries,
    memory.services,
  );
  const external = memory.part(
    "serviceEntries",
    // Without ServiceEntries pods do not matter.
    objects.serviceEntries.length === 0 ? [] : [...objects.serviceEntries, workloads, entries],
    log,
    (own) =>
      parsed(objects.serviceEntries, parseServiceEntry, own).flatMap(({ object, spec }) => {
        const pods = workloads.values();
        const built = serviceEntryServices(object, spec, { pods, entries }, own);
        return built.map((service) => ({ object, service }));
      }),
  );
  const services = memory.sameItems(
    "services",
    [...kubernetes, ...external.map(({ service }) => service)].sort((a, b) =>
      compare(a.host, b.host),
    ),
  );
  const serviceByHost = byHost(services);
  reportSharedHosts(external, serviceByHost, log);
  const isService = (host: string): boolean => serviceByHost.has(host);
  const hosts = memory.sameItems(
    "hosts",
    services.map(({ namespace, host }) => `${namespace}/${host}`),
  );
  const destinationRules = memory.part(
    "destinationRules",
    [hosts, ...objects.destinationRules],
    log,
    (own) => {
      const ruleSpecs = parsed(objects.destinationRules, parseDestinationRule, own);
      for (const { object, spec } of ruleSpecs) {
        for (const message of ignoredPolicies(spec)) own.report(object, message);
      }
      return memory.equalItems(
        "destinationRules",
        mergeDestinationRules(ruleSpecs, isService),
        (rule) => `${rule.namespace}/${rule.name} ${rule.host} ${rule.exportTo.join()}`,
      );
    },
  );
  const routed = memory.part("virtualServices", [hosts, ...objects.virtualServices], log, (own) =>
    withDelegates(
      parsed(objects.virtualServices, parseVirtualService, own).map(({ object, spec }) => {
        for (const message of ignoredFields(spec)) own.report(object, message);
        return { object, spec, virtualService: virtualServiceFrom(object, spec, isService) };
      }),
      own,
    ),
  );
  const gatewayApi = gatewayApiFrom(objects, { serviceByHost, hosts, credentials }, memory, log);
  const istioRoutes = memory.part("virtualServiceList", [routed], log, () =>
    memory.equalItems(
      "virtualServices",
      routed.map((each) => each.virtualService),
      ({ namespace, name }) => `${namespace}/${name}`,
    ),
  );
  const virtualServices = memory.sameItems("allVirtualServices", [
    ...istioRoutes,
    // Where a VirtualService has the same host in the mesh, it counts.
    ...gatewayApi.virtualServices,
  ]);
  const settings = memory.part("settings", objects.meshConfigs, log, (own) =>
    settingsFrom(objects.meshConfigs, options.rootNamespace, own),
  );
  const istioGateways = memory.part(
    "gateways",
    objects.gateways.length === 0 ? [] : [...objects.gateways, workloads, credentials],
    log,
    (own) =>
      parsed(objects.gateways, parseGateway, own).map(({ object, spec }) => {
        for (const message of ignoredGatewayFields(spec)) own.report(object, message);
        const gateway = gatewayFrom(object, spec);
        reportCredentials(object, gateway, { workloads, credentials }, own);
        return gateway;
      }),
  );
  const gateways = memory.sameItems("allGateways", [...istioGateways, ...gatewayApi.gateways]);
  const sidecars = memory.part("sidecars", objects.sidecars, log, (own) =>
    parsed(objects.sidecars, parseSidecar, own).map(({ object, spec }) => {
      for (const message of ignoredSidecarFields(spec)) own.report(object, message);
      return sidecarFrom(object, spec);
    }),
  );
  const peerAuthentications = memory.part(
    "peerAuthentications",
    objects.peerAuthentications,
    log,
    (own) =>
      parsed(objects.peerAuthentications, parsePeerAuthentication, own).map(({ object, spec }) =>
        peerAuthenticationFrom(object, spec),
      ),
  );
  const requestAuthentications = memory.part(
    "requestAuthentications",
    // Without them services do not matter.
    objects.requestAuthentications.length === 0
      ? []
      : [services, ...objects.requestAuthentications],
    log,
    (own) =>
      parsed(objects.requestAuthentications, parseRequestAuthentication, own).map(
        ({ object, spec }) => {
          const policy = requestAuthenticationFrom(object, spec);
          reportKeys(object, policy, { serviceByHost }, own);
          return policy;
        },
      ),
  );
  const telemetries = memory.part("telemetries", [settings, ...objects.telemetries], log, (own) =>
    parsed(objects.telemetries, parseTelemetry, own).map(({ object, spec }) => {
      const ignored = [
        ...ignoredTelemetry(spec),
        ...missingProviders(spec, settings.tracing),
        ...ignoredAccessLogging(spec, settings.accessLogging),
      ];
      for (const message of ignored) own.report(object, message);
      return telemetryFrom(object, spec);
    }),
  );
  const authorizationPolicies = memory.part(
    "authorizationPolicies",
    objects.authorizationPolicies,
    log,
    (own) =>
      parsed(objects.authorizationPolicies, parseAuthorizationPolicy, own).flatMap(
        ({ object, spec }) => {
          if (spec.action === "CUSTOM") {
            own.report(
              object,
              "action CUSTOM needs an external authorizer; there is none: what it is for is denied",
            );
          }
          return [authorizationPolicyFrom(object, spec)];
        },
      ),
  );
  memory.part("routes", [routed, destinationRules, hosts], log, (own) => {
    const lookups = new Map<string, DestinationRuleLookup>();
    const rulesOf = (namespace: string): DestinationRuleLookup => {
      const known = lookups.get(namespace);
      const lookup =
        known ?? destinationRulesFor(destinationRules, namespace, options.rootNamespace);
      lookups.set(namespace, lookup);
      return lookup;
    };
    for (const { object, virtualService } of routed) {
      reportDestinations(object, virtualService, { serviceByHost }, rulesOf, own);
    }
    reportConflicts(routed, own);
  });
  return {
    ...options,
    services,
    serviceByHost,
    workloads,
    servedPorts: servedPortsOf(services),
    virtualServices,
    destinationRules,
    gateways,
    gatewayApi,
    credentials,
    sidecars,
    settings,
    peerAuthentications,
    requestAuthentications,
    telemetries,
    authorizationPolicies,
    problems: log.problems,
  };
}

function workloadsFrom(
  objects: MeshObjects,
  memory: ModelMemory,
  log: ProblemLog,
): ReadonlyMap<string, Workload> {
  const nodes = memory.part("nodes", objects.nodes, log, () =>
    memory.equalItems("nodes", [...nodeLocalities(objects.nodes)], ([name]) => name),
  );
  // A pod's status changes often, and seldom in what counts here.
  const localities = new Map(nodes);
  const found = memory.each(
    "workloads",
    nodes,
    objects.pods,
    (pod) => workloadFromPod(pod, localities),
    keyOfWorkload,
  );
  return memory.part(
    "workloadMap",
    [found],
    log,
    () => new Map(found.map((each) => [keyOfWorkload(each), each])),
  );
}

function keyOfWorkload({ namespace, podName }: Workload): string {
  return `${namespace}/${podName}`;
}

function byHost(services: readonly MeshService[]): ReadonlyMap<string, MeshService> {
  const known = new Map<string, MeshService>();
  for (const service of services) {
    const other = known.get(service.host);
    if (other === undefined || precedes(service, other)) known.set(service.host, service);
  }
  return known;
}

/** Hosts of ServiceEntries that another one has for every namespace. */
function reportSharedHosts(
  all: readonly { readonly object: KubeObject; readonly service: MeshService }[],
  serviceByHost: ReadonlyMap<string, MeshService>,
  log: ProblemLog,
): void {
  for (const { object, service } of all) {
    const owner = serviceByHost.get(service.host);
    if (owner === undefined || owner === service || !owner.exportTo.includes("*")) continue;
    const what = owner.isEntry ? "ServiceEntry" : "Service";
    log.report(
      object,
      `host ${service.host} already has the ${what} ${owner.namespace}/${owner.name}, which counts outside of namespace ${service.namespace}`,
    );
  }
}

/** The mesh's settings: those of the root namespace's ConfigMap. */
function settingsFrom(
  configs: readonly KubeObject[],
  rootNamespace: string,
  log: ProblemLog,
): MeshSettings {
  const object = configs.find(({ metadata }) => metadata.namespace === rootNamespace);
  if (object === undefined) return DEFAULT_SETTINGS;
  return meshSettingsFrom(object["mesh"], (message) => log.report(object, message));
}

/** Servers that wait for their Secret, in the namespaces of the gateway pods. */
function reportCredentials(
  object: KubeObject,
  gateway: MeshGateway,
  { workloads, credentials }: Pick<MeshModel, "workloads" | "credentials">,
  log: ProblemLog,
): void {
  const namespaces = new Set(
    [...workloads.values()]
      .filter((workload) => gatewaysOf([gateway], workload).length > 0)
      .map(({ namespace }) => namespace),
  );
  for (const namespace of namespaces) {
    for (const [i, server] of gateway.servers.entries()) {
      const missing = missingCredential(server, credentials, namespace);
      if (missing === undefined) continue;
      log.report(object, `spec.servers[${i}] is not served: there is no ${missing}`);
    }
  }
}

/** Keys that nobody can fetch: every token of that issuer is refused. */
function reportKeys(
  object: KubeObject,
  { namespace, jwtRules }: MeshRequestAuthentication,
  model: Pick<MeshModel, "serviceByHost">,
  log: ProblemLog,
): void {
  for (const [i, { issuer, jwks, jwksUri }] of jwtRules.entries()) {
    if ((jwks ?? "") !== "" || jwksCluster(jwksUri, namespace, model) !== undefined) continue;
    const why =
      (jwksUri ?? "") === ""
        ? "has neither jwks nor jwksUri"
        : `names the key set ${jwksUri}, to which nothing leads`;
    log.report(object, `jwtRules[${i}] ${why}; tokens of ${issuer} are refused`);
  }
}

/** The specs that are valid, oldest first; the others go to the log. */
function parsed<Spec>(
  objects: readonly KubeObject[],
  parse: (object: KubeObject) => Spec,
  log: ProblemLog,
): readonly { readonly object: KubeObject; readonly spec: Spec }[] {
  return byAge(objects).flatMap((object) => {
    try {
      return [{ object, spec: parse(object) }];
    } catch (error) {
      log.report(object, messageOf(error));
      return [];
    }
  });
}

/** Names destinations that cannot be reached: requests to them get 503, as with Istio. */
function reportDestinations(
  object: KubeObject,
  virtualService: MeshVirtualService,
  model: Pick<MeshModel, "serviceByHost">,
  rulesOf: (namespace: string) => DestinationRuleLookup,
  log: ProblemLog,
): void {
  const messages = new Set<string>();
  for (const { host, subset } of destinationsOf(virtualService)) {
    const service = model.serviceByHost.get(host);
    if (service === undefined) {
      messages.add(`destination host ${host} is not a service; requests to it get 503`);
      continue;
    }
    if (subset === undefined || subset === "") continue;
    const rule = rulesOf(virtualService.namespace)(service);
    if (rule?.subsets.some((known) => known.name === subset) !== true) {
      messages.add(
        `destination ${host} names subset ${subset}, which no DestinationRule defines; requests to it get 503`,
      );
    }
  }
  for (const message of messages) log.report(object, message);
}

/** For sidecars only the oldest VirtualService of a host counts; the others are named. */
function reportConflicts(
  all: readonly { readonly object: KubeObject; readonly virtualService: MeshVirtualService }[],
  log: ProblemLog,
): void {
  const owners = new Map<string, MeshVirtualService>();
  for (const { object, virtualService } of all) {
    if (!virtualService.gateways.includes(MESH_GATEWAY)) continue;
    for (const host of virtualService.hosts) {
      const key = `${host} ${virtualService.exportTo.join()}`;
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, virtualService);
      else if (owner !== virtualService) {
        log.report(
          object,
          `host ${host} already has the older VirtualService ${owner.namespace}/${owner.name}, which is the one that counts`,
        );
      }
    }
  }
}
