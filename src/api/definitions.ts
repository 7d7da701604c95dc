import type { z } from "zod";
import { type CrdSchema, crdSchemaOf } from "./crd-schema.ts";
import { freeForm } from "./fields.ts";
import { tcpRouteSpec, tlsRouteSpec } from "./gateway-api/connection-routes.ts";
import { kubernetesGatewaySpec } from "./gateway-api/gateway.ts";
import { gatewayClassSpec } from "./gateway-api/gateway-class.ts";
import { grpcRouteSpec } from "./gateway-api/grpc-route.ts";
import { httpRouteSpec } from "./gateway-api/http-route.ts";
import { referenceGrantSpec } from "./gateway-api/reference-grant.ts";
import { GATEWAY_API_GROUP } from "./gateway-api/references.ts";
import { authorizationPolicySpec } from "./istio/authorization-policy.ts";
import { destinationRuleSpec } from "./istio/destination-rule.ts";
import { gatewaySpec } from "./istio/gateway.ts";
import { peerAuthenticationSpec } from "./istio/peer-authentication.ts";
import { requestAuthenticationSpec } from "./istio/request-authentication.ts";
import { serviceEntrySpec } from "./istio/service-entry.ts";
import { sidecarSpec } from "./istio/sidecar.ts";
import { telemetrySpec } from "./istio/telemetry.ts";
import { virtualServiceSpec } from "./istio/virtual-service.ts";
import { workloadEntrySpec } from "./istio/workload-entry.ts";
import { workloadGroupSpec } from "./istio/workload-group.ts";
import type { KubeObject } from "./meta.ts";
import { alertProviderSpec } from "./serin/alert-provider.ts";
import { canarySpec, canaryStatus } from "./serin/canary.ts";
import { metricTemplateSpec } from "./serin/metric-template.ts";

interface Column {
  readonly name: string;
  readonly type: "string" | "number" | "boolean" | "date";
  readonly jsonPath: string;
  readonly description?: string;
  /** 1 = only with `-o wide`. */
  readonly priority?: number;
}

interface Kind {
  readonly group: string;
  /** The first one is stored. */
  readonly versions: readonly string[];
  readonly kind: string;
  readonly plural: string;
  /** `Namespaced` by default. */
  readonly scope?: "Cluster";
  readonly shortNames?: readonly string[];
  readonly categories: readonly string[];
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly columns: readonly Column[];
}

const AGE: Column = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };
const column = (
  name: string,
  jsonPath: string,
  type: Column["type"] = "string",
  priority = 0,
): Column => ({ name, type, jsonPath, ...(priority === 0 ? {} : { priority }) });

const NETWORKING = ["v1", "v1beta1", "v1alpha3"];
const istio = { categories: ["istio-io", "networking-istio-io"], status: freeForm };

const ISTIO_KINDS: readonly Kind[] = [
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "VirtualService",
    plural: "virtualservices",
    shortNames: ["vs"],
    description: "How requests to a host are routed.",
    spec: virtualServiceSpec,
    columns: [column("Gateways", ".spec.gateways"), column("Hosts", ".spec.hosts"), AGE],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "DestinationRule",
    plural: "destinationrules",
    shortNames: ["dr"],
    description: "What applies to traffic of a service after it was routed.",
    spec: destinationRuleSpec,
    columns: [column("Host", ".spec.host"), AGE],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "Gateway",
    plural: "gateways",
    shortNames: ["gw"],
    description: "A load balancer at the edge of the mesh.",
    spec: gatewaySpec,
    columns: [AGE],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "ServiceEntry",
    plural: "serviceentries",
    shortNames: ["se"],
    description: "A service that the cluster does not know by itself.",
    spec: serviceEntrySpec,
    columns: [
      column("Hosts", ".spec.hosts"),
      column("Location", ".spec.location"),
      column("Resolution", ".spec.resolution"),
      AGE,
    ],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "WorkloadEntry",
    plural: "workloadentries",
    shortNames: ["we"],
    description: "A workload that is no pod.",
    spec: workloadEntrySpec,
    columns: [AGE, column("Address", ".spec.address")],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "WorkloadGroup",
    plural: "workloadgroups",
    shortNames: ["wg"],
    description: "What the WorkloadEntries of a group have in common.",
    spec: workloadGroupSpec,
    columns: [AGE],
  },
  {
    ...istio,
    group: "networking.istio.io",
    versions: NETWORKING,
    kind: "Sidecar",
    plural: "sidecars",
    description: "What the sidecars of a namespace or of some workloads reach and take.",
    spec: sidecarSpec,
    columns: [AGE],
  },
  {
    ...istio,
    categories: ["istio-io", "security-istio-io"],
    group: "security.istio.io",
    versions: ["v1", "v1beta1"],
    kind: "PeerAuthentication",
    plural: "peerauthentications",
    shortNames: ["pa"],
    description: "Whether workloads accept plain text, mutual TLS or both.",
    spec: peerAuthenticationSpec,
    columns: [column("Mode", ".spec.mtls.mode"), AGE],
  },
  {
    ...istio,
    categories: ["istio-io", "security-istio-io"],
    group: "security.istio.io",
    versions: ["v1", "v1beta1"],
    kind: "RequestAuthentication",
    plural: "requestauthentications",
    shortNames: ["ra"],
    description: "Whose JSON Web Tokens workloads accept.",
    spec: requestAuthenticationSpec,
    columns: [AGE],
  },
  {
    ...istio,
    categories: ["istio-io", "security-istio-io"],
    group: "security.istio.io",
    versions: ["v1", "v1beta1"],
    kind: "AuthorizationPolicy",
    plural: "authorizationpolicies",
    shortNames: ["ap"],
    description: "Who may do what with workloads.",
    spec: authorizationPolicySpec,
    columns: [column("Action", ".spec.action"), AGE],
  },
  {
    ...istio,
    categories: ["istio-io", "telemetry-istio-io"],
    group: "telemetry.istio.io",
    versions: ["v1", "v1alpha1"],
    kind: "Telemetry",
    plural: "telemetries",
    shortNames: ["telemetry"],
    description: "What the proxies of a mesh, a namespace or some workloads report.",
    spec: telemetrySpec,
    columns: [AGE],
  },
];

const gatewayApi = {
  group: GATEWAY_API_GROUP,
  categories: ["gateway-api"],
  status: freeForm,
};
const GATEWAY_API_APPROVAL = {
  "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2997",
};
const HOSTNAMES = column("Hostnames", ".spec.hostnames");

const GATEWAY_API_KINDS: readonly Kind[] = [
  {
    ...gatewayApi,
    versions: ["v1", "v1beta1"],
    kind: "GatewayClass",
    plural: "gatewayclasses",
    scope: "Cluster",
    shortNames: ["gc"],
    description: "Who serves the Gateways of this class.",
    spec: gatewayClassSpec,
    columns: [
      column("Controller", ".spec.controllerName"),
      column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
      AGE,
      column("Description", ".spec.description", "string", 1),
    ],
  },
  {
    ...gatewayApi,
    versions: ["v1", "v1beta1"],
    kind: "Gateway",
    plural: "gateways",
    shortNames: ["gtw"],
    description: "What a load balancer listens for.",
    spec: kubernetesGatewaySpec,
    columns: [
      column("Class", ".spec.gatewayClassName"),
      column("Address", ".status.addresses[*].value"),
      column("Programmed", '.status.conditions[?(@.type=="Programmed")].status'),
      AGE,
    ],
  },
  {
    ...gatewayApi,
    versions: ["v1", "v1beta1"],
    kind: "HTTPRoute",
    plural: "httproutes",
    description: "How HTTP requests to a listener or a Service are routed.",
    spec: httpRouteSpec,
    columns: [HOSTNAMES, AGE],
  },
  {
    ...gatewayApi,
    versions: ["v1"],
    kind: "GRPCRoute",
    plural: "grpcroutes",
    description: "How gRPC calls to a listener or a Service are routed.",
    spec: grpcRouteSpec,
    columns: [HOSTNAMES, AGE],
  },
  {
    ...gatewayApi,
    versions: ["v1alpha2"],
    kind: "TCPRoute",
    plural: "tcproutes",
    description: "Where the connections of a listener or a Service lead.",
    spec: tcpRouteSpec,
    columns: [AGE],
  },
  {
    ...gatewayApi,
    versions: ["v1alpha2", "v1alpha3"],
    kind: "TLSRoute",
    plural: "tlsroutes",
    description: "Where TLS connections lead, by the server name that they ask for.",
    spec: tlsRouteSpec,
    columns: [HOSTNAMES, AGE],
  },
  {
    ...gatewayApi,
    versions: ["v1beta1"],
    kind: "ReferenceGrant",
    plural: "referencegrants",
    shortNames: ["refgrant"],
    description: "Which objects of other namespaces may name those of this one.",
    spec: referenceGrantSpec,
    columns: [AGE],
  },
];

/** Serin's kinds have Flagger's shapes; both groups are served, so that a team can move over. */
function rolloutKinds(group: string, version: string): readonly Kind[] {
  const common = { group, versions: [version], categories: ["all"] };
  return [
    {
      ...common,
      kind: "Canary",
      plural: "canaries",
      description: "How new versions of a workload are rolled out.",
      spec: canarySpec,
      status: canaryStatus,
      columns: [
        column("Status", ".status.phase"),
        column("Weight", ".status.canaryWeight", "number"),
        column("Suspended", ".spec.suspend", "boolean", 1),
        column("FailedChecks", ".status.failedChecks", "number", 1),
        column("Interval", ".spec.analysis.interval", "string", 1),
        column("Mirror", ".spec.analysis.mirror", "boolean", 1),
        column("StepWeight", ".spec.analysis.stepWeight", "string", 1),
        column("StepWeights", ".spec.analysis.stepWeights", "string", 1),
        column("MaxWeight", ".spec.analysis.maxWeight", "string", 1),
        column("LastTransitionTime", ".status.lastTransitionTime"),
      ],
    },
    {
      ...common,
      kind: "MetricTemplate",
      plural: "metrictemplates",
      description: "A query that a Canary's analysis asks.",
      spec: metricTemplateSpec,
      status: freeForm,
      columns: [column("Provider", ".spec.provider.type")],
    },
    {
      ...common,
      kind: "AlertProvider",
      plural: "alertproviders",
      description: "Where a Canary's alerts go.",
      spec: alertProviderSpec,
      status: freeForm,
      columns: [column("Type", ".spec.type")],
    },
  ];
}

const KINDS = [
  ...rolloutKinds("serin.dev", "v1"),
  ...rolloutKinds("flagger.app", "v1beta1"),
  ...ISTIO_KINDS,
  ...GATEWAY_API_KINDS,
];

/** Every CustomResourceDefinition that Serin brings along, as `crds/*.yaml` holds them. */
export function allCustomResourceDefinitions(): readonly KubeObject[] {
  return KINDS.map(definitionOf);
}

function definitionOf(kind: Kind): KubeObject {
  const { group, plural, shortNames = [], categories } = kind;
  const schema: CrdSchema = {
    description: kind.description,
    type: "object",
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: crdSchemaOf(kind.spec),
      status: crdSchemaOf(kind.status),
    },
    ...(group.endsWith(".istio.io") ? {} : { required: ["spec"] }),
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      // Kubernetes asks of groups that end in k8s.io for where they were agreed on.
      ...(group === GATEWAY_API_GROUP ? { annotations: GATEWAY_API_APPROVAL } : {}),
    },
    spec: {
      group,
      scope: kind.scope ?? "Namespaced",
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        singular: kind.kind.toLowerCase(),
        ...(shortNames.length === 0 ? {} : { shortNames }),
        categories,
      },
      versions: kind.versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        schema: { openAPIV3Schema: schema },
        subresources: { status: {} },
        additionalPrinterColumns: kind.columns,
      })),
    },
  };
}
