import type { StringMap } from "../../../api/index.ts";
import type { MeshModel } from "../model.ts";
import { destinationRulesFor, type MeshDestinationRule } from "../model-destination-rules.ts";
import { hostLookup } from "../model-hosts.ts";
import type { Destination, HttpRoute, Subset } from "../model-istio.ts";
import { NOWHERE } from "../model-locality.ts";
import type { MeshService } from "../model-services.ts";
import { type MeshView, viewOf } from "../model-view.ts";
import type { MeshVirtualService } from "../model-virtual-services.ts";
import type { Workload } from "../model-workloads.ts";
import { policyFields, policyFor } from "../translate/traffic-policy.ts";
import { httpVirtualServices } from "../translate/virtual-hosts.ts";
import { type ClusterSummary, summarizeCluster } from "./cluster-summary.ts";
import { matchWords } from "./match-words.ts";
import { referenceTo, ruleSource } from "./reference.ts";

/** What the mesh does with calls to a service, as callers of its own namespace have it. */
export interface ServiceDescription {
  readonly name: string;
  readonly namespace: string;
  readonly host: string;
  readonly ports: readonly {
    readonly name: string | undefined;
    readonly port: number;
    readonly protocol: string;
    /** Of the pods; undefined without any. */
    readonly targetPort: number | undefined;
  }[];
  readonly pods: readonly {
    readonly pod: string;
    readonly isReady: boolean;
    readonly hasSidecar: boolean;
  }[];
  readonly destinationRule: RuleDescription | undefined;
  readonly virtualService: RoutesDescription | undefined;
  readonly warnings: readonly string[];
}

export interface RuleDescription {
  readonly name: string;
  readonly host: string;
  /** Of the pod that is described; of a service: those that have pods. */
  readonly matchingSubsets: readonly string[];
  readonly otherSubsets: readonly string[];
  /** undefined: nothing but subsets. */
  readonly policy: (ClusterSummary & { readonly tls: string | undefined }) | undefined;
}

export interface RoutesDescription {
  readonly name: string;
  readonly routes: readonly {
    /** `http[0] beta` */
    readonly route: string;
    readonly matches: readonly string[];
    readonly destinations: readonly {
      readonly host: string;
      readonly subset: string | undefined;
      readonly weight: number;
      /** Whether the pod that is described is one of those meant. */
      readonly isForPod: boolean;
    }[];
    /** timeout, retries, fault, mirror, redirect, … that the rule sets. */
    readonly settings: readonly string[];
  }[];
}

/** Describes a service; with `pod`, as far as it concerns that pod. */
export function describeService(
  model: MeshModel,
  service: MeshService,
  pod: Workload | undefined,
): ServiceDescription {
  const view = viewOf(model, {
    ...{ role: "sidecar", namespace: service.namespace, labels: {}, locality: NOWHERE },
  });
  const rule = destinationRulesFor(
    view.destinationRules,
    service.namespace,
    model.rootNamespace,
  )(service);
  const endpoints = service.ports.flatMap((port) => port.endpoints);
  const pods = [...new Set(endpoints.flatMap(({ workload }) => workload ?? []))];
  const targets = (pod === undefined ? pods : [pod]).map(({ labels }) => labels);
  const virtualService = virtualServiceFor(view, service);
  return {
    name: service.name,
    namespace: service.namespace,
    host: service.host,
    ports: service.ports.map(({ name, number, protocol, endpoints: own }) => ({
      name,
      port: number,
      protocol,
      targetPort: (own.find(({ workload }) => workload === pod) ?? own[0])?.port,
    })),
    pods: pods.map((each) => ({
      pod: `${each.namespace}/${each.podName}`,
      isReady: endpoints.some(({ workload, isReady }) => workload === each && isReady),
      hasSidecar: each.hasSidecar,
    })),
    destinationRule: rule && ruleOf(rule, service, targets),
    virtualService: virtualService && routesOf(virtualService, service, rule, targets),
    warnings: warningsOf(service, pods, rule, virtualService, targets, pod),
  };
}

/** The VirtualService that counts for calls to a service from its own namespace. */
function virtualServiceFor(view: MeshView, { namespace, host }: MeshService) {
  return hostLookup(httpVirtualServices(view, namespace), ({ hosts }) => hosts)(host);
}

function ruleOf(
  rule: MeshDestinationRule,
  { ports }: MeshService,
  targets: readonly StringMap[],
): RuleDescription {
  const fits = (subset: Subset): boolean => targets.some((labels) => hasLabels(labels, subset));
  const names = (list: readonly Subset[]): readonly string[] => list.map(({ name }) => name);
  const port = ports[0]?.number ?? 0;
  const blocks = policyFor(rule, undefined, port);
  return {
    name: referenceTo(rule),
    host: rule.host,
    matchingSubsets: names(rule.subsets.filter(fits)),
    otherSubsets: names(rule.subsets.filter((subset) => !fits(subset))),
    policy:
      rule.trafficPolicy === undefined
        ? undefined
        : { ...summarizeCluster(policyFields(blocks, false)), tls: blocks.tls?.mode },
  };
}

function hasLabels(labels: StringMap, subset: Subset): boolean {
  return Object.entries(subset.labels ?? {}).every(([key, value]) => labels[key] === value);
}

/** Which routes lead to a service; with `pod`, to that pod. */
export function leadsTo(
  model: MeshModel,
  service: MeshService,
  pod: Workload | undefined,
): (route: HttpRoute) => boolean {
  const lookup = destinationRulesFor(
    model.destinationRules,
    service.namespace,
    model.rootNamespace,
  );
  const rule = lookup(service);
  return ({ route = [] }) =>
    route.some(({ destination }) =>
      pod === undefined
        ? destination.host === service.host
        : meansPods(destination, service, rule, [pod.labels]),
    );
}

/** Whether a destination of a route means one of these pods of the service. */
function meansPods(
  destination: Destination,
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  targets: readonly StringMap[],
): boolean {
  if (destination.host !== service.host) return false;
  if (destination.subset === undefined || destination.subset === "") return true;
  const subset = rule?.subsets.find(({ name }) => name === destination.subset);
  return subset !== undefined && targets.some((labels) => hasLabels(labels, subset));
}

function routesOf(
  virtualService: MeshVirtualService,
  service: MeshService,
  rule: MeshDestinationRule | undefined,
  targets: readonly StringMap[],
): RoutesDescription {
  return {
    name: referenceTo(virtualService),
    routes: virtualService.http.map((each, i) => ({
      route: `http[${i}]${each.name === undefined ? "" : ` ${each.name}`}`,
      matches: (each.match ?? []).map(matchWords),
      destinations: (each.route ?? []).map(({ destination, weight }, _, all) => ({
        host: destination.host,
        subset: destination.subset,
        weight: all.length === 1 ? 100 : (weight ?? 0),
        isForPod: meansPods(destination, service, rule, targets),
      })),
      settings: settingsOf(each),
    })),
  };
}

function settingsOf(route: HttpRoute): readonly string[] {
  const { timeout, retries, fault, mirror, mirrors, redirect, directResponse, rewrite } = route;
  return [
    ...(timeout === undefined ? [] : [`timeout ${timeout}`]),
    ...(retries === undefined ? [] : [`retries ${retries.attempts ?? 2}`]),
    ...(fault?.delay === undefined ? [] : [`delay ${fault.delay.fixedDelay ?? ""}`.trim()]),
    ...(fault?.abort === undefined
      ? []
      : [`abort ${fault.abort.httpStatus ?? fault.abort.grpcStatus ?? ""}`.trim()]),
    ...[
      ...(mirror === undefined ? [] : [mirror]),
      ...(mirrors ?? []).map((each) => each.destination),
    ].map(
      ({ host, subset }) => `mirror to ${host}${subset === undefined ? "" : ` subset ${subset}`}`,
    ),
    ...(redirect === undefined ? [] : ["redirect"]),
    ...(directResponse === undefined ? [] : [`answers ${directResponse.status}`]),
    ...(rewrite === undefined ? [] : ["rewrite"]),
  ];
}

function warningsOf(
  service: MeshService,
  pods: readonly Workload[],
  rule: MeshDestinationRule | undefined,
  virtualService: MeshVirtualService | undefined,
  targets: readonly StringMap[],
  pod: Workload | undefined,
): readonly string[] {
  const unnamed = service.ports
    .filter(({ protocol }) => protocol === "auto")
    .map(
      ({ name, number }) =>
        `port ${number} ${name === undefined ? "has no name" : `is named ${name}`}, which says no protocol: call it http-${name ?? "..."}, grpc-..., tcp-... or set appProtocol`,
    );
  const destinations = (virtualService?.http ?? []).flatMap(({ route = [] }) =>
    route.map(({ destination }) => destination),
  );
  const own = destinations.filter(({ host }) => host === service.host);
  const isMissed = own.length > 0 && !own.some((each) => meansPods(each, service, rule, targets));
  const missing = own.filter(
    ({ subset }) =>
      subset !== undefined && rule?.subsets.every(({ name }) => name !== subset) !== false,
  );
  return [
    ...unnamed,
    ...(pods.length === 0 && service.resolution === "endpoints" ? ["no pod is behind it"] : []),
    ...(pods.length > 0 &&
    service.ports.every(({ endpoints }) => endpoints.every(({ isReady }) => !isReady))
      ? ["none of its pods is ready"]
      : []),
    ...(isMissed
      ? [
          `no route of ${virtualService === undefined ? "a VirtualService" : ruleSource(virtualService)} leads to ${pod === undefined ? "any of its pods" : "this pod"}`,
        ]
      : []),
    ...[...new Set(missing.map(({ subset }) => subset))].map(
      (subset) => `a route names subset ${subset}, which no DestinationRule defines`,
    ),
    ...(rule !== undefined &&
    rule.subsets.length > 0 &&
    !rule.subsets.some((subset) => targets.some((labels) => hasLabels(labels, subset)))
      ? [
          `DestinationRule ${referenceTo(rule)}: no subset has ${pod === undefined ? "pods" : "this pod"}`,
        ]
      : []),
  ];
}
