import type { KubeObject, StringMap } from "../../../api/index.ts";
import { GATEWAY_NAME_LABEL, type WantedDeployment } from "./convert.ts";

/** The label of what was deployed for a Gateway, with the controller's name; Istio's. */
export const MANAGED_LABEL = "gateway.istio.io/managed";
const MANAGED = "serin.dev-gateway-controller";
const CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name";
/** Istio's annotation of a Gateway for the type of its Service. */
const SERVICE_TYPE = "networking.istio.io/service-type";
const SERVICE_TYPES = ["LoadBalancer", "NodePort", "ClusterIP"];
/** Ports below need privileges, … */
const PRIVILEGED = 1024;
/** … so that pods listen this much above (80 is 8080, 443 is 8443). */
const UNPRIVILEGED_OFFSET = 8000;
const STATUS_PORT = 15_021;

/** The Gateway that something is deployed for. */
export interface DeploymentOwner {
  readonly uid: string;
  readonly annotations: StringMap;
}

/**
 * Service account, Service and Deployment of a Gateway's own proxies; the container is filled in by
 * injection. They go with the Gateway. How many replicas there are is left to others.
 */
export function deploymentManifests(
  wanted: WantedDeployment,
  owner: DeploymentOwner,
): readonly KubeObject[] {
  const { name, namespace, gateway, className } = wanted;
  const selector = { [GATEWAY_NAME_LABEL]: gateway };
  const labels = {
    ...wanted.labels,
    ...selector,
    [CLASS_LABEL]: className,
    [MANAGED_LABEL]: MANAGED,
  };
  const metadata = {
    name,
    namespace,
    labels,
    annotations: wanted.annotations,
    ownerReferences: [
      {
        apiVersion: "gateway.networking.k8s.io/v1",
        kind: "Gateway",
        name: gateway,
        uid: owner.uid,
      },
    ],
  };
  const asked = wanted.annotations[SERVICE_TYPE] ?? owner.annotations[SERVICE_TYPE] ?? "";
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        type: SERVICE_TYPES.includes(asked) ? asked : "LoadBalancer",
        selector,
        ports: servicePorts(wanted.ports),
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        selector: { matchLabels: selector },
        template: {
          metadata: {
            labels: {
              ...labels,
              "sidecar.istio.io/inject": "true",
              "service.istio.io/canonical-name": name,
              "service.istio.io/canonical-revision": "latest",
            },
            annotations: {
              ...wanted.annotations,
              "inject.istio.io/templates": "gateway",
              "prometheus.io/path": "/stats/prometheus",
              "prometheus.io/port": "15090",
              "prometheus.io/scrape": "true",
            },
          },
          spec: {
            serviceAccountName: name,
            containers: [{ name: "istio-proxy", image: "auto" }],
          },
        },
      },
    },
  ];
}

function servicePorts(ports: WantedDeployment["ports"]): readonly object[] {
  const taken = new Set(ports.map(({ number }) => number));
  const free = (port: number): number => {
    let candidate = port;
    while (taken.has(candidate)) candidate += 1;
    taken.add(candidate);
    return candidate;
  };
  const protocol = "TCP";
  return [
    ...(taken.has(STATUS_PORT)
      ? []
      : [{ name: "status-port", port: STATUS_PORT, protocol, targetPort: STATUS_PORT }]),
    ...ports.map(({ name, number }) => ({
      name,
      port: number,
      protocol,
      targetPort: number < PRIVILEGED ? free(number + UNPRIVILEGED_OFFSET) : number,
    })),
  ];
}
