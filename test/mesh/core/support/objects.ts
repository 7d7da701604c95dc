import type { KubeObject, ObjectMeta, StringMap } from "../../../../src/api/index.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";

const NOTHING: MeshObjects = {
  namespaces: [],
  services: [],
  endpointSlices: [],
  pods: [],
  nodes: [],
  serviceEntries: [],
  workloadEntries: [],
  sidecars: [],
  secrets: [],
  meshConfigs: [],
  virtualServices: [],
  destinationRules: [],
  gateways: [],
  peerAuthentications: [],
  requestAuthentications: [],
  authorizationPolicies: [],
  telemetries: [],
  gatewayClasses: [],
  kubernetesGateways: [],
  httpRoutes: [],
  grpcRoutes: [],
  tcpRoutes: [],
  tlsRoutes: [],
  referenceGrants: [],
};

/** A mesh of these objects and nothing else. */
export function mesh(...parts: readonly Partial<MeshObjects>[]): MeshObjects {
  const out: Record<string, readonly KubeObject[]> = { ...NOTHING };
  for (const part of parts) {
    for (const [kind, objects] of Object.entries(part)) {
      out[kind] = [...(out[kind] ?? []), ...objects];
    }
  }
  return out as unknown as MeshObjects;
}

interface Named {
  readonly name: string;
  readonly namespace?: string;
  readonly createdAt?: string;
}

function object(apiVersion: string, kind: string, named: Named, rest: object): KubeObject {
  const { name, namespace = "default", createdAt = "2026-01-01T00:00:00Z" } = named;
  const metadata: ObjectMeta = { name, namespace, creationTimestamp: createdAt };
  const { metadata: more, ...fields } = rest as { metadata?: Partial<ObjectMeta> };
  return { apiVersion, kind, metadata: { ...metadata, ...more }, ...fields };
}

export function telemetry(named: Named, spec: object): KubeObject {
  return object("telemetry.istio.io/v1", "Telemetry", named, { spec });
}

export function virtualService(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1beta1", "VirtualService", named, { spec });
}

export function destinationRule(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1beta1", "DestinationRule", named, { spec });
}

export function serviceEntry(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1", "ServiceEntry", named, { spec });
}

export function workloadEntry(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1", "WorkloadEntry", named, { spec });
}

export function sidecar(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1", "Sidecar", named, { spec });
}

/** The settings of the whole mesh, as the control plane reads them. */
export function meshConfig(mesh: object): KubeObject {
  return object("v1", "ConfigMap", { name: "istio", namespace: "istio-system" }, { mesh });
}

/** A Secret; `data` as text, not base64. */
export function secret(named: Named, data: StringMap): KubeObject {
  const encoded = Object.entries(data).map(([key, text]) => [
    key,
    Buffer.from(text).toString("base64"),
  ]);
  return object("v1", "Secret", named, { data: Object.fromEntries(encoded) });
}

export function gateway(named: Named, spec: object): KubeObject {
  return object("networking.istio.io/v1beta1", "Gateway", named, { spec });
}

export function peerAuthentication(named: Named, spec: object): KubeObject {
  return object("security.istio.io/v1beta1", "PeerAuthentication", named, { spec });
}

export function requestAuthentication(named: Named, spec: object): KubeObject {
  return object("security.istio.io/v1beta1", "RequestAuthentication", named, { spec });
}

export function authorizationPolicy(
  named: Named & { readonly annotations?: StringMap },
  spec: object,
): KubeObject {
  const { annotations = {} } = named;
  const metadata = { annotations };
  return object("security.istio.io/v1beta1", "AuthorizationPolicy", named, { metadata, spec });
}

export interface PodOptions extends Named {
  readonly ip: string;
  readonly labels?: StringMap;
  readonly isReady?: boolean;
  readonly hasSidecar?: boolean;
  readonly serviceAccount?: string;
  readonly ports?: readonly { readonly containerPort: number; readonly name?: string }[];
}

export interface ServiceOptions extends Named {
  readonly clusterIp?: string;
  readonly ports: readonly {
    readonly port: number;
    readonly targetPort?: number;
    readonly name?: string;
    readonly appProtocol?: string;
  }[];
  readonly pods: readonly PodOptions[];
}

/** A pod of the Deployment whose name its own name starts with (`reviews-v1-5d8f-abcde`). */
export function pod(options: PodOptions): KubeObject {
  const [, deployment = options.name, hash = "0"] =
    /^(.+)-([a-z0-9]+)-[a-z0-9]+$/.exec(options.name) ?? [];
  const { hasSidecar = true, labels = {} } = options;
  return object("v1", "Pod", options, {
    metadata: {
      labels: {
        ...labels,
        "pod-template-hash": hash,
        ...(hasSidecar ? { "security.istio.io/tlsMode": "istio" } : {}),
      },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: `${deployment}-${hash}`,
          uid: "1",
          controller: true,
        },
      ],
    },
    spec: {
      serviceAccountName: options.serviceAccount ?? "default",
      containers: [
        { name: "app", ports: options.ports ?? [{ containerPort: 9080 }] },
        ...(hasSidecar ? [{ name: "istio-proxy", ports: [{ containerPort: 15090 }] }] : []),
      ],
    },
    status: { podIP: options.ip },
  });
}

/** A Service with its pods and their EndpointSlice, as the cluster would make it. */
export function service(options: ServiceOptions): Partial<MeshObjects> {
  const { namespace = "default" } = options;
  return {
    services: [
      object("v1", "Service", options, {
        spec: {
          clusterIP: options.clusterIp ?? "None",
          ports: options.ports.map((port) => ({ protocol: "TCP", ...port })),
        },
      }),
    ],
    pods: options.pods.map(pod),
    endpointSlices: [
      object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        { ...options, name: `${options.name}-x` },
        {
          metadata: { labels: { "kubernetes.io/service-name": options.name } },
          addressType: "IPv4",
          ports: options.ports.map((port) => ({
            name: port.name ?? "",
            port: port.targetPort ?? port.port,
            protocol: "TCP",
          })),
          endpoints: options.pods.map((each) => ({
            addresses: [each.ip],
            conditions: { ready: each.isReady ?? true },
            targetRef: { kind: "Pod", name: each.name, namespace },
          })),
        },
      ),
    ],
  };
}

/** The textbook's application: productpage calls reviews (v1, v2, v3). */
export function bookinfo(): MeshObjects {
  const reviews = (version: string, last: number): PodOptions => ({
    name: `reviews-${version}-5d8f7b9c-abcd${last}`,
    ip: `127.16.0.${last}`,
    labels: { app: "reviews", version },
    serviceAccount: "bookinfo-reviews",
  });
  return mesh(
    service({
      name: "productpage",
      clusterIp: "127.96.0.2",
      ports: [{ port: 9080, name: "http" }],
      pods: [
        {
          name: "productpage-v1-6b4c8d7f9-qwert",
          ip: "127.16.0.2",
          labels: { app: "productpage", version: "v1" },
          serviceAccount: "bookinfo-productpage",
        },
      ],
    }),
    service({
      name: "reviews",
      clusterIp: "127.96.0.3",
      ports: [{ port: 9080, name: "http" }],
      pods: [reviews("v1", 3), reviews("v2", 4), reviews("v3", 5)],
    }),
  );
}

/** The subsets of reviews in the textbook. */
export function reviewsSubsets(): KubeObject {
  return destinationRule(
    { name: "reviews" },
    {
      host: "reviews",
      subsets: ["v1", "v2", "v3"].map((version) => ({ name: version, labels: { version } })),
    },
  );
}

/** An object of Gateway API; `spec` as written. */
export function gatewayApi(kind: string, named: Named, spec: object): KubeObject {
  return object("gateway.networking.k8s.io/v1", kind, named, {
    metadata: { generation: 1 },
    spec,
  });
}

/** A Gateway of Gateway API, of the class `serin`, and the class itself. */
export function kubernetesGateway(
  named: Named,
  listeners: readonly object[],
  more: object = {},
): Partial<MeshObjects> {
  return {
    gatewayClasses: [
      {
        apiVersion: "gateway.networking.k8s.io/v1",
        kind: "GatewayClass",
        metadata: { name: "serin", generation: 1 },
        spec: { controllerName: "serin.dev/gateway-controller" },
      },
    ],
    kubernetesGateways: [
      gatewayApi("Gateway", named, { gatewayClassName: "serin", listeners, ...more }),
    ],
  };
}

/** A namespace with labels. */
export function namespace(name: string, labels: StringMap = {}): KubeObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}
