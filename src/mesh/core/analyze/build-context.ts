import {
  type KubeObject,
  parseAuthorizationPolicy,
  parseCanary,
  parseDestinationRule,
  parseGateway,
  parsePeerAuthentication,
  parseRequestAuthentication,
  parseServiceEntry,
  parseSidecar,
  parseTelemetry,
  parseVirtualService,
} from "../../../api/index.ts";
import { templateOf } from "../injection-template.ts";
import type { MeshObjects } from "../mesh-objects.ts";
import { buildModel, type ModelOptions } from "../model.ts";
import { byAge, type Json, labelsOf, listOf, objectOf } from "../model-object.ts";
import { workloadFromPod } from "../model-workloads.ts";
import type { AnalysisContext, PodSource, Resource } from "./context.ts";

/** What there is to analyze. */
export interface AnalysisInput {
  /** Of the cluster and of files, those of files in the place of the cluster's. */
  readonly objects: MeshObjects;
  /** Kinds that the mesh does not watch: Deployments, Canaries, … */
  readonly others: readonly KubeObject[];
  /** Those of all of them that come from files, and are not applied yet. */
  readonly fromFiles: ReadonlySet<KubeObject>;
  /** Throws for an invalid resource, answers what of a valid one does nothing. */
  readonly check: (object: KubeObject) => readonly string[];
}

/** Parses everything once; what is invalid is left out of the typed lists. */
export function buildContext(input: AnalysisInput, options: ModelOptions): AnalysisContext {
  const { objects, others } = input;
  const makers = byAge(others).flatMap((object) => makerFrom(object) ?? []);
  const pods = byAge(objects.pods).map((object) => podSourceFrom(object, object));
  const promised = makers.filter(({ object }) => input.fromFiles.has(object));
  const ofGroup = (kind: string, groups: readonly string[]): readonly KubeObject[] =>
    others.filter(
      (object) => object.kind === kind && groups.includes(object.apiVersion.split("/")[0] ?? ""),
    );
  return {
    objects,
    all: [...Object.values(objects as unknown as Record<string, KubeObject[]>).flat(), ...others],
    model: buildModel(objects, options),
    rootNamespace: options.rootNamespace,
    virtualServices: valid(objects.virtualServices, parseVirtualService),
    destinationRules: valid(objects.destinationRules, parseDestinationRule),
    gateways: valid(objects.gateways, parseGateway),
    serviceEntries: valid(objects.serviceEntries, parseServiceEntry),
    sidecars: valid(objects.sidecars, parseSidecar),
    telemetries: valid(objects.telemetries, parseTelemetry),
    peerAuthentications: valid(objects.peerAuthentications, parsePeerAuthentication),
    requestAuthentications: valid(objects.requestAuthentications, parseRequestAuthentication),
    authorizationPolicies: valid(objects.authorizationPolicies, parseAuthorizationPolicy),
    canaries: valid(ofGroup("Canary", ["serin.dev", "flagger.app"]), parseCanary),
    makers,
    pods: [...pods, ...promised],
    check: input.check,
  };
}

function valid<Spec>(
  objects: readonly KubeObject[],
  parse: (object: KubeObject) => Spec,
): readonly Resource<Spec>[] {
  return byAge(objects).flatMap((object): Resource<Spec>[] => {
    const { namespace = "default", name } = object.metadata;
    try {
      return [{ object, namespace, name, spec: parse(object) }];
    } catch {
      // The schema's analyzer says what is wrong with it.
      return [];
    }
  });
}

function makerFrom(object: KubeObject): PodSource | undefined {
  // A ReplicaSet of a Deployment is the Deployment's business.
  if ((object.metadata.ownerReferences ?? []).length > 0) return undefined;
  const template = templateOf(object);
  return template === undefined ? undefined : podSourceFrom(object, template);
}

function podSourceFrom(object: KubeObject, pod: Json): PodSource {
  const { namespace = "default", name } = object.metadata;
  const metadata = objectOf(pod["metadata"]);
  const labels = labelsOf(metadata["labels"]);
  const asPod = { ...object, metadata: { name, namespace, labels }, spec: pod["spec"] };
  return {
    ...{ object, namespace, name, labels },
    annotations: labelsOf(metadata["annotations"]),
    spec: objectOf(pod["spec"]),
    hasSidecar: workloadFromPod(asPod).hasSidecar,
  };
}

/** The application's containers of a pod. */
export function containersOf(spec: Json): readonly Json[] {
  return listOf(spec["containers"])
    .map(objectOf)
    .filter(({ name }) => name !== "istio-proxy");
}
