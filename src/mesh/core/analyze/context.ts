import type {
  AuthorizationPolicySpec,
  CanaryObjectSpec,
  DestinationRuleSpec,
  GatewaySpec,
  KubeObject,
  PeerAuthenticationSpec,
  RequestAuthenticationSpec,
  ServiceEntrySpec,
  SidecarSpec,
  StringMap,
  TelemetrySpec,
  VirtualServiceSpec,
} from "../../../api/index.ts";
import type { MeshObjects } from "../mesh-objects.ts";
import type { MeshModel } from "../model.ts";
import type { Json } from "../model-object.ts";
import type { Code } from "./messages.ts";

/** A resource whose spec is valid. */
export interface Resource<Spec> {
  readonly object: KubeObject;
  readonly namespace: string;
  readonly name: string;
  readonly spec: Spec;
}

/** Pods, or what makes pods and is not applied yet. */
export interface PodSource {
  readonly object: KubeObject;
  readonly namespace: string;
  readonly name: string;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  /** Of the pod. */
  readonly spec: Json;
  readonly hasSidecar: boolean;
}

/** What analyzers look at; every list oldest first. */
export interface AnalysisContext {
  readonly objects: MeshObjects;
  /** Every object, of whatever kind. */
  readonly all: readonly KubeObject[];
  readonly model: MeshModel;
  readonly rootNamespace: string;
  readonly virtualServices: readonly Resource<VirtualServiceSpec>[];
  readonly destinationRules: readonly Resource<DestinationRuleSpec>[];
  readonly gateways: readonly Resource<GatewaySpec>[];
  readonly serviceEntries: readonly Resource<ServiceEntrySpec>[];
  readonly sidecars: readonly Resource<SidecarSpec>[];
  readonly telemetries: readonly Resource<TelemetrySpec>[];
  readonly peerAuthentications: readonly Resource<PeerAuthenticationSpec>[];
  readonly requestAuthentications: readonly Resource<RequestAuthenticationSpec>[];
  readonly authorizationPolicies: readonly Resource<AuthorizationPolicySpec>[];
  readonly canaries: readonly Resource<CanaryObjectSpec>[];
  /** Deployments and what else makes pods. */
  readonly makers: readonly PodSource[];
  /** Pods that are, and those that makers in files would make. */
  readonly pods: readonly PodSource[];
  /** Throws for an invalid resource, answers what of a valid one does nothing. */
  readonly check: (object: KubeObject) => readonly string[];
}

/** Something that an analyzer found. */
export interface Finding {
  readonly code: Code;
  readonly object: KubeObject;
  readonly message: string;
  /** The field, for the line in a file; the whole object without one. */
  readonly path?: readonly (string | number)[];
}

/** Looks for problems of one sort. */
export interface Analyzer {
  readonly name: string;
  readonly description: string;
  readonly codes: readonly Code[];
  readonly analyze: (context: AnalysisContext) => Iterable<Finding>;
}

/** Whether labels have everything that a selector asks for; an empty one asks for nothing. */
export function selectsLabels(selector: StringMap | undefined, labels: StringMap): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}

/** `app=reviews,version=v1` */
export function formatLabels(labels: StringMap): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
