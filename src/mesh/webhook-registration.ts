import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";

export interface WebhookAddress {
  /** Without a path; or a Service, which the API server finds by itself. */
  readonly place: string | ServicePlace;
  /** PEM in base64. */
  readonly caBundle: string;
}

export interface ServicePlace {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** Kinds that are validated, by group. */
const VALIDATED = [
  {
    apiGroups: ["networking.istio.io"],
    resources: [
      ...["virtualservices", "destinationrules", "gateways", "sidecars"],
      ...["serviceentries", "workloadentries", "workloadgroups"],
    ],
  },
  {
    apiGroups: ["security.istio.io"],
    resources: ["peerauthentications", "requestauthentications", "authorizationpolicies"],
  },
  { apiGroups: ["telemetry.istio.io"], resources: ["telemetries"] },
  {
    apiGroups: ["gateway.networking.k8s.io"],
    resources: [
      ...["gatewayclasses", "gateways", "referencegrants"],
      ...["httproutes", "grpcroutes", "tcproutes", "tlsroutes"],
    ],
  },
  {
    apiGroups: ["serin.dev", "flagger.app"],
    resources: ["canaries", "metrictemplates", "alertproviders"],
  },
];

/** Tells the API server where the webhooks are; at each start, for port and root may be new. */
export async function registerWebhooks(store: KubeStore, address: WebhookAddress): Promise<void> {
  await put(store, RESOURCES.mutatingWebhookConfiguration, injector(address));
  await put(store, RESOURCES.validatingWebhookConfiguration, validator(address));
}

async function put(store: KubeStore, type: ResourceType, object: KubeObject): Promise<void> {
  try {
    await store.create(type, object);
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    const key = { name: object.metadata.name };
    await store.patch(type, key, { webhooks: object["webhooks"] }, { kind: "merge" });
  }
}

function clientConfig({ place, caBundle }: WebhookAddress, path: string) {
  if (typeof place === "string") return { url: `${place}${path}`, caBundle };
  return { service: { ...place, path }, caBundle };
}

function injector(address: WebhookAddress): KubeObject {
  const webhook = (name: string, namespaceSelector: unknown, objectSelector: unknown) => ({
    name,
    clientConfig: clientConfig(address, "/inject"),
    rules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] }],
    namespaceSelector,
    objectSelector,
    failurePolicy: "Fail",
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
    reinvocationPolicy: "Never",
    timeoutSeconds: 10,
  });
  const label = (key: string, operator: string, ...values: string[]) => ({
    key,
    operator,
    ...(values.length === 0 ? {} : { values }),
  });
  const inject = "sidecar.istio.io/inject";
  const byName = "istio-injection";
  const revision = "istio.io/rev";
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "istio-sidecar-injector", labels: { app: "sidecar-injector" } },
    webhooks: [
      webhook(
        "rev.namespace.sidecar-injector.istio.io",
        { matchExpressions: [label(revision, "In", "default"), label(byName, "DoesNotExist")] },
        { matchExpressions: [label(inject, "NotIn", "false")] },
      ),
      webhook(
        "rev.object.sidecar-injector.istio.io",
        { matchExpressions: [label(revision, "DoesNotExist"), label(byName, "DoesNotExist")] },
        { matchExpressions: [label(inject, "NotIn", "false"), label(revision, "In", "default")] },
      ),
      webhook(
        "namespace.sidecar-injector.istio.io",
        { matchExpressions: [label(byName, "In", "enabled")] },
        { matchExpressions: [label(inject, "NotIn", "false")] },
      ),
      // A pod may ask for itself where its namespace says nothing.
      webhook(
        "object.sidecar-injector.istio.io",
        { matchExpressions: [label(byName, "DoesNotExist"), label(revision, "DoesNotExist")] },
        { matchExpressions: [label(inject, "In", "true"), label(revision, "DoesNotExist")] },
      ),
    ],
  };
}

function validator(address: WebhookAddress): KubeObject {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "istio-validator-istio-system", labels: { app: "istiod" } },
    webhooks: [
      {
        name: "rev.validation.istio.io",
        clientConfig: clientConfig(address, "/validate"),
        rules: VALIDATED.map((rule) => ({
          ...rule,
          operations: ["CREATE", "UPDATE"],
          apiVersions: ["*"],
        })),
        failurePolicy: "Fail",
        sideEffects: "None",
        admissionReviewVersions: ["v1"],
        timeoutSeconds: 10,
      },
    ],
  };
}
