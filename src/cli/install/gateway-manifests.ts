import type { KubeObject } from "../../api/index.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";

/** A gateway of the mesh, by the names that Istio's own charts give it. */
export interface GatewayPlan {
  readonly direction: "ingress" | "egress";
  readonly serviceType: "LoadBalancer" | "NodePort" | "ClusterIP";
  readonly replicas: number;
}

/** What `serin install` puts in place carries this label; `serin uninstall` goes by it. */
export const MANAGED_LABEL = { "app.kubernetes.io/managed-by": "serin-install" } as const;

const STATUS_PORT = 15_021;
const METRICS_PORT = 15_090;

/**
 * Service account, Deployment and Service of a gateway. The Deployment's container is filled in by
 * injection; the Service's ports 80 and 443 lead to 8080 and 8443, which need no privileges.
 * Source: Istio, "Installing Gateways".
 */
export function gatewayManifests(plan: GatewayPlan): readonly KubeObject[] {
  const name = `istio-${plan.direction}gateway`;
  const selector = { app: name, istio: `${plan.direction}gateway` };
  const metadata = { name, namespace: ROOT_NAMESPACE, labels: { ...selector, ...MANAGED_LABEL } };
  const port = (portName: string, number: number, targetPort: number) => ({
    name: portName,
    port: number,
    protocol: "TCP",
    targetPort,
  });
  const web = [port("http2", 80, 8080), port("https", 443, 8443)];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        replicas: plan.replicas,
        selector: { matchLabels: selector },
        template: {
          metadata: {
            labels: { ...selector, "sidecar.istio.io/inject": "true" },
            annotations: {
              "inject.istio.io/templates": "gateway",
              "prometheus.io/path": "/stats/prometheus",
              "prometheus.io/port": String(METRICS_PORT),
              "prometheus.io/scrape": "true",
            },
          },
          spec: {
            serviceAccountName: name,
            securityContext: {
              sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "0" }],
            },
            containers: [
              {
                name: "istio-proxy",
                image: "auto",
                ports: [
                  { name: "status-port", containerPort: STATUS_PORT, protocol: "TCP" },
                  { name: "http2", containerPort: 8080, protocol: "TCP" },
                  { name: "https", containerPort: 8443, protocol: "TCP" },
                  { name: "http-envoy-prom", containerPort: METRICS_PORT, protocol: "TCP" },
                ],
                resources: {
                  requests: { cpu: "100m", memory: "128Mi" },
                  limits: { cpu: "2000m", memory: "1024Mi" },
                },
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        type: plan.serviceType,
        selector,
        ports:
          plan.direction === "ingress"
            ? [port("status-port", STATUS_PORT, STATUS_PORT), ...web]
            : web,
      },
    },
  ];
}
