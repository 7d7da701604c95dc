import type { Kubectl } from "./serin-cluster.ts";

interface Injected {
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly image: string;
      readonly env: readonly { readonly name: string }[];
      readonly volumeMounts: readonly object[];
    }[];
    readonly volumes: readonly object[];
  };
}

/**
 * A Deployment of one gateway pod with the label `istio: ingressgateway`. How its proxy finds the
 * control plane and proves itself is what injection gave the sidecar of the pod with label `app`.
 */
export async function gatewayDeployment(kubectl: Kubectl, app: string): Promise<object> {
  const json = await kubectl("get", "pods", "-l", `app=${app}`, "-o", "jsonpath={.items[0]}");
  const { spec } = JSON.parse(json) as Injected;
  const sidecar = spec.containers.find(({ name }) => name === "istio-proxy");
  if (sidecar === undefined) throw new Error(`the pod of ${app} has no sidecar`);
  const labels = { app: "gateway", istio: "ingressgateway" };
  const own = new Set(["ISTIO_META_LABELS", "ISTIO_META_HTTP_PROXY_PORT", "ISTIO_META_OWNER"]);
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "gateway", namespace: "default" },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels: { ...labels, "sidecar.istio.io/inject": "false" } },
        spec: {
          containers: [
            {
              name: "gateway",
              image: sidecar.image,
              args: ["proxy", "router"],
              env: [
                ...sidecar.env.filter(({ name }) => !own.has(name)),
                { name: "ISTIO_META_LABELS", value: JSON.stringify(labels) },
              ],
              volumeMounts: sidecar.volumeMounts.filter((mount) =>
                JSON.stringify(mount).includes("istio-token"),
              ),
              readinessProbe: { httpGet: { path: "/healthz/ready", port: 15_021 } },
            },
          ],
          volumes: spec.volumes.filter((volume) => JSON.stringify(volume).includes("istio-token")),
        },
      },
    },
  };
}
