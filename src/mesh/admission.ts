import { z } from "zod";
import {
  type KubeObject,
  parseAlertProvider,
  parseAuthorizationPolicy,
  parseCanary,
  parseGateway,
  parseGatewayClass,
  parseGrpcRoute,
  parseHttpRoute,
  parseKubernetesGateway,
  parseMetricTemplate,
  parsePeerAuthentication,
  parseReferenceGrant,
  parseRequestAuthentication,
  parseServiceEntry,
  parseSidecar,
  parseTcpRoute,
  parseTelemetry,
  parseTlsRoute,
  parseWorkloadEntry,
  parseWorkloadGroup,
  RESOURCES,
} from "../api/index.ts";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import {
  ignoredHttpRouteFields,
  ignoredKubernetesGatewayFields,
} from "./core/gateway-api/ignored-fields.ts";
import { type InjectionSettings, injectPod } from "./core/injection-patch.ts";
import { ignoredFields, ignoredPolicies } from "./core/model-check.ts";
import { ignoredGatewayFields } from "./core/model-gateways.ts";
import { createProblemLog } from "./core/model-object.ts";
import { parseDestinationRule, parseVirtualService } from "./core/model-parse.ts";
import { serviceEntryServices } from "./core/model-service-entries.ts";
import { ignoredSidecarFields } from "./core/model-sidecars.ts";
import { ignoredTelemetry } from "./core/model-telemetry.ts";

const reviewSchema = z.object({
  apiVersion: z.literal("admission.k8s.io/v1"),
  kind: z.literal("AdmissionReview"),
  request: z.object({
    uid: z.string(),
    namespace: z.string().default(""),
    operation: z.string(),
    object: z.looseObject({ kind: z.string(), metadata: z.looseObject({}) }).nullish(),
  }),
});

export type AdmissionRequest = z.infer<typeof reviewSchema>["request"];

/** The answer to one request (admission.k8s.io/v1 AdmissionResponse without uid). */
export interface AdmissionAnswer {
  readonly allowed: boolean;
  readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
  readonly warnings?: readonly string[];
  readonly patchType?: "JSONPatch";
  readonly patch?: string;
}

/** Reads an AdmissionReview. Throws SERIN_INVALID_RESOURCE. */
export function parseAdmissionReview(text: string): AdmissionRequest {
  const refused = (reason: string): SerinError =>
    new SerinError("SERIN_INVALID_RESOURCE", `not an AdmissionReview: ${reason}`, {
      source: "caller",
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refused(messageOf(error));
  }
  const result = reviewSchema.safeParse(json);
  if (!result.success) throw refused(z.prettifyError(result.error).replaceAll("\n", " "));
  return result.data.request;
}

/** Injects a sidecar into a pod that is being created, where its namespace or itself asks for one. */
export async function admitPod(
  request: AdmissionRequest,
  store: KubeStore,
  settings: InjectionSettings,
): Promise<AdmissionAnswer> {
  const raw = request.object as unknown as KubeObject | null | undefined;
  if (!raw) return { allowed: true };
  // A pod of a controller has no name yet.
  const pod = { ...raw, metadata: { ...raw.metadata, name: raw.metadata?.name ?? "" } };
  const namespace = await store.get(RESOURCES.namespace, { name: request.namespace });
  const labels = namespace?.metadata.labels ?? {};
  const injection = injectPod(pod, { name: request.namespace, labels }, settings);
  if (injection.kind === "inject") {
    const patch = Buffer.from(JSON.stringify(injection.patch)).toString("base64");
    return { allowed: true, patchType: "JSONPatch", patch };
  }
  return injection.isWarning
    ? { allowed: true, warnings: [`no sidecar: ${injection.reason}`] }
    : { allowed: true };
}

const only = (parse: (object: KubeObject) => unknown) => (object: KubeObject) => {
  parse(object);
  return [];
};

function serviceEntryWarnings(object: KubeObject): readonly string[] {
  const log = createProblemLog();
  serviceEntryServices(object, parseServiceEntry(object), { pods: [], entries: [] }, log);
  return log.problems.map(({ message }) => message);
}

/** By kind (and group, where two have it): throws for what cannot be used, answers what is valid and does nothing. */
const CHECKS: Readonly<Record<string, (object: KubeObject) => readonly string[]>> = {
  // The model's parser also finds what only the translation minds, such as header names.
  VirtualService: (object) => ignoredFields(parseVirtualService(object)),
  DestinationRule: (object) => ignoredPolicies(parseDestinationRule(object)),
  Gateway: (object) => ignoredGatewayFields(parseGateway(object)),
  ServiceEntry: serviceEntryWarnings,
  WorkloadEntry: only(parseWorkloadEntry),
  WorkloadGroup: (object) => {
    parseWorkloadGroup(object);
    return ["a WorkloadGroup has no effect: nothing registers workloads by it"];
  },
  Sidecar: (object) => ignoredSidecarFields(parseSidecar(object)),
  PeerAuthentication: only(parsePeerAuthentication),
  RequestAuthentication: only(parseRequestAuthentication),
  AuthorizationPolicy: only(parseAuthorizationPolicy),
  // Which providers there are is the mesh's business, and may change afterwards.
  Telemetry: (object) => ignoredTelemetry(parseTelemetry(object)),
  "GatewayClass.gateway.networking.k8s.io": only(parseGatewayClass),
  "Gateway.gateway.networking.k8s.io": (object) =>
    ignoredKubernetesGatewayFields(parseKubernetesGateway(object)),
  HTTPRoute: (object) => ignoredHttpRouteFields(parseHttpRoute(object)),
  GRPCRoute: (object) => ignoredHttpRouteFields(parseGrpcRoute(object)),
  TCPRoute: only(parseTcpRoute),
  TLSRoute: only(parseTlsRoute),
  ReferenceGrant: only(parseReferenceGrant),
  Canary: only(parseCanary),
  MetricTemplate: only(parseMetricTemplate),
  AlertProvider: only(parseAlertProvider),
};

/** Whose kinds are checked: others may have kinds of the same names. */
const CHECKED_GROUPS = [
  ...["networking.istio.io", "security.istio.io", "telemetry.istio.io"],
  ...["gateway.networking.k8s.io", "serin.dev", "flagger.app"],
];

/**
 * What of a resource is valid and does nothing; nothing for kinds that are not ours. Throws
 * SERIN_INVALID_RESOURCE naming every bad path.
 */
export function checkResource(object: KubeObject): readonly string[] {
  return checkOf(object)?.(object) ?? [];
}

/** Whether resources of that kind are checked. */
export function isChecked(object: KubeObject): boolean {
  return checkOf(object) !== undefined;
}

function checkOf({ apiVersion, kind }: KubeObject) {
  const [group = ""] = String(apiVersion).split("/");
  if (!CHECKED_GROUPS.includes(group)) return undefined;
  return CHECKS[`${kind}.${group}`] ?? CHECKS[String(kind)];
}

/** Refuses a resource that the control plane or the controller could not use, naming every bad path. */
export function admitResource(request: AdmissionRequest): AdmissionAnswer {
  const object = request.object as unknown as KubeObject | null | undefined;
  // What is being deleted, finalizers and all, must not be held by what was wrong with it before.
  if (!object || object.metadata.deletionTimestamp !== undefined) return { allowed: true };
  try {
    const warnings = checkResource(object);
    return warnings.length === 0 ? { allowed: true } : { allowed: true, warnings };
  } catch (error) {
    return {
      allowed: false,
      status: { code: 422, reason: "Invalid", message: messageOf(error) },
    };
  }
}
