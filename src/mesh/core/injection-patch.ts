import type { KubeObject, StringMap } from "../../api/index.ts";
import { ENGINE, engineOf, engineVolumes, withEnvoy } from "./injection-engine.ts";
import { INIT_CONTAINER, initContainerOf } from "./injection-init.ts";
import { rewrittenProbes } from "./injection-probes.ts";
import { type Json, labelsOf, listOf, objectOf } from "./model-object.ts";

export interface InjectionSettings {
  /** The sidecar's image, tag included. */
  readonly proxyImage: string;
  /** host:port that the sidecar gets its configuration from. */
  readonly xdsAddress: string;
  /**
   * Whether it is reached over TLS, with a certificate of the mesh's root, which pods find in the
   * ConfigMap istio-ca-root-cert of their namespace; plaintext by default.
   */
  readonly xdsTls?: boolean;
  /** NONE: the application is told of the proxy; REDIRECT: its traffic is redirected. */
  readonly interceptionMode: "NONE" | "REDIRECT";
  readonly clusterId: string;
  /** Of the token that the sidecar proves itself with. */
  readonly audience: string;
  /**
   * Whether sidecars are init containers that stay (restartPolicy Always), which needs Kubernetes 1.29;
   * false by default. The annotation `sidecar.istio.io/nativeSidecar` of a pod beats it.
   */
  readonly nativeSidecars?: boolean;
  /**
   * Whether probes of applications go through the sidecar; false by default, for here kubelets are told
   * from other clients. The annotation `sidecar.istio.io/rewriteAppHTTPProbers` of a pod beats it.
   */
  readonly rewriteProbes?: boolean;
}

/** One operation of RFC 6902. */
export interface PatchOperation {
  readonly op: "add" | "replace";
  readonly path: string;
  readonly value: unknown;
}

export type Injection =
  | { readonly kind: "inject"; readonly patch: readonly PatchOperation[] }
  | { readonly kind: "skip"; readonly reason: string; readonly isWarning: boolean };

const SIDECAR = "istio-proxy";
const INJECT = "sidecar.istio.io/inject";
const REVISION = "istio.io/rev";
/** There is one control plane, and this is its revision (Istio's name for the unnamed one). */
const OWN_REVISION = "default";
const NATIVE = "sidecar.istio.io/nativeSidecar";
const STATUS = "sidecar.istio.io/status";
/** Of Kubernetes itself: nothing there is ever injected. */
const SYSTEM_NAMESPACES = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
const TEMPLATES = "inject.istio.io/templates";
/** The image that a pod's own `istio-proxy` container names to get the injected one. */
const INJECTED_IMAGE = "auto";
const TOKEN_VOLUME = "istio-token";
const TOKEN_DIR = "/var/run/secrets/tokens";
const TOKEN_SECONDS = 43_200;
/** Istio's: where the control plane's root is. */
const CA_VOLUME = "istiod-ca-cert";
const CA_DIR = "/var/run/secrets/istio";
const CA_CONFIG_MAP = "istio-ca-root-cert";
const CA_KEY = "root-cert.pem";
const HTTP_PROXY_PORT = 15_001;
const MAX_LABEL_CHARACTERS = 63;

/**
 * What injection does to a pod that is being created. Idempotent: an injected pod is left alone.
 * Precedence as Istio's: the pod's own label or annotation, then the namespace's `istio-injection`.
 * The annotation `inject.istio.io/templates` chooses between `sidecar` and `gateway`; a container
 * `istio-proxy` of image `auto` in the pod says what the injected one has differently. The annotation
 * `proxy.serin.dev/engine` (a label for a whole namespace) makes the sidecar real Envoy.
 */
export function injectPod(
  pod: KubeObject,
  namespace: { readonly name: string; readonly labels: StringMap },
  settings: InjectionSettings,
): Injection {
  const skip = (reason: string, isWarning = false): Injection => ({
    kind: "skip",
    reason,
    isWarning,
  });
  const spec = objectOf(pod["spec"]);
  if (SYSTEM_NAMESPACES.includes(namespace.name)) return skip("the namespace is Kubernetes' own");
  const own = pod.metadata.labels?.[INJECT] ?? pod.metadata.annotations?.[INJECT];
  const wanted = isWanted(pod, own, namespace.labels);
  if (wanted !== undefined) {
    const isStrange = own !== undefined && own !== "true" && own !== "false";
    return isStrange
      ? skip(`${INJECT} must be "true" or "false" (found ${JSON.stringify(own)}); ${wanted}`, true)
      : skip(wanted);
  }
  if (hasSidecar(spec)) return skip("it has a sidecar already");
  // The API server says what is wrong with it, in its own words.
  if (listOf(spec["containers"]).length === 0) return skip("it has no containers");
  if (spec["hostNetwork"] === true) {
    return skip("pods on the host's network cannot have a sidecar", true);
  }
  const annotations = labelsOf(pod.metadata.annotations);
  const labels = labelsOf(pod.metadata.labels);
  const holds = /holdApplicationUntilProxyStarts:\s*true/.test(
    annotations["proxy.istio.io/config"] ?? "",
  );
  const template = annotations[TEMPLATES] ?? "sidecar";
  if (template !== "sidecar" && template !== "gateway") {
    const known = "sidecar and gateway are known";
    return skip(`${TEMPLATES} asks for ${JSON.stringify(template)}; ${known}`, true);
  }
  const engine = engineOf(annotations, namespace.labels);
  if (typeof engine === "object") {
    const known = "serin and envoy are known";
    return skip(`${ENGINE} asks for ${JSON.stringify(engine.unknown)}; ${known}`, true);
  }
  const application = rewrittenProbes(
    listOf(spec["containers"]).filter((each) => !isProxy(each)),
    annotations,
    settings.rewriteProbes ?? false,
  );
  const proxy = proxyOf(pod, namespace.name, settings, template, application.variables);
  const injected = engine === "envoy" ? withEnvoy(proxy) : proxy;
  const volumes = [
    tokenVolume(settings),
    ...(settings.xdsTls === true ? [{ name: CA_VOLUME, configMap: { name: CA_CONFIG_MAP } }] : []),
    ...engineVolumes(engine),
  ];
  const volumeNames = volumes.map(({ name }) => name);
  const container = merged(injected, listOf(spec["containers"]).map(objectOf).find(isProxy));
  const { containers } = application;
  const canonical = canonicalName(pod, labels);
  // A gateway has no application whose traffic there is to redirect.
  const isRedirected = settings.interceptionMode === "REDIRECT" && template === "sidecar";
  const isNative =
    template === "sidecar" &&
    (annotations[NATIVE] ?? String(settings.nativeSidecars ?? false)) === "true";
  const init = isRedirected
    ? [initContainerOf(annotations, String(container["image"]), resourcesOf(annotations))]
    : [];
  const ownInit = listOf(spec["initContainers"]).filter(
    (each) => objectOf(each)["name"] !== INIT_CONTAINER && !isProxy(each),
  );
  // A native sidecar is there before the pod's own init containers, and the redirection before it.
  const initContainers = isNative
    ? [...init, nativeContainer(container), ...ownInit]
    : [...ownInit, ...init];
  const status = {
    ...(isRedirected || isNative
      ? {
          initContainers: [
            ...(isRedirected ? [INIT_CONTAINER] : []),
            ...(isNative ? [SIDECAR] : []),
          ],
        }
      : {}),
    containers: isNative ? [] : [SIDECAR],
    volumes: volumeNames,
  };
  return {
    kind: "inject",
    patch: [
      ...(isRedirected || isNative ? [added("/spec/initContainers", initContainers)] : []),
      replaced("/spec/containers", placed(container, containers, { isNative, holds })),
      added("/spec/volumes", [
        ...listOf(spec["volumes"]).filter(
          (volume) => !volumeNames.includes(objectOf(volume)["name"]),
        ),
        ...volumes,
      ]),
      added("/metadata/labels", {
        ...labels,
        "security.istio.io/tlsMode": labels["security.istio.io/tlsMode"] ?? "istio",
        "service.istio.io/canonical-name":
          labels["service.istio.io/canonical-name"] ?? canonical.name,
        "service.istio.io/canonical-revision":
          labels["service.istio.io/canonical-revision"] ?? canonical.revision,
      }),
      added("/metadata/annotations", {
        ...annotations,
        [STATUS]: JSON.stringify(status),
      }),
    ],
  };
}

/**
 * Why not, or undefined when the pod shall have a sidecar. `own`: what the pod itself says; anything but
 * "true" and "false" says nothing.
 */
function isWanted(
  pod: KubeObject,
  own: string | undefined,
  namespaceLabels: StringMap,
): string | undefined {
  const byNamespace = namespaceLabels["istio-injection"];
  if (byNamespace === "disabled") return "the namespace has istio-injection=disabled";
  if (own === "false") return `the pod has ${INJECT}=false`;
  if (byNamespace === "enabled") return undefined;
  const revision = namespaceLabels[REVISION] ?? pod.metadata.labels?.[REVISION];
  if (revision !== undefined && revision !== OWN_REVISION) {
    return `revision ${JSON.stringify(revision)} is asked for, and this is ${OWN_REVISION}`;
  }
  if (own === "true" || revision !== undefined) return undefined;
  return "neither the namespace nor the pod asks for it";
}

/** The pod's containers: a sidecar that the application waits for is started first. */
function placed(
  container: Json,
  containers: readonly unknown[],
  { isNative, holds }: { readonly isNative: boolean; readonly holds: boolean },
): readonly unknown[] {
  if (isNative) return containers;
  return holds ? [container, ...containers] : [...containers, container];
}

/** Kubernetes goes on with the pod's next container once the startup probe has passed. */
function nativeContainer(container: Json): Json {
  return {
    ...container,
    restartPolicy: "Always",
    startupProbe: {
      httpGet: { path: "/healthz/ready", port: 15_021 },
      periodSeconds: 1,
      timeoutSeconds: 3,
      failureThreshold: 600,
    },
  };
}

function hasSidecar(spec: Json): boolean {
  return [...listOf(spec["containers"]), ...listOf(spec["initContainers"])].some(
    (container) => isProxy(container) && objectOf(container)["image"] !== INJECTED_IMAGE,
  );
}

function isProxy(container: unknown): boolean {
  return objectOf(container)["name"] === SIDECAR;
}

/** The injected container with what the pod's own one says instead; lists by their keys, as kubectl apply. */
function merged(injected: Json, own: Json | undefined): Json {
  if (own === undefined) return injected;
  const { image: _, ...rest } = own;
  const result: Record<string, unknown> = { ...injected, ...rest };
  for (const [field, key] of Object.entries(LIST_KEYS)) {
    const said = listOf(own[field]).map(objectOf);
    const names = new Set(said.map((each) => each[key]));
    const left = listOf(injected[field]).filter((each) => !names.has(objectOf(each)[key]));
    if (left.length > 0 || said.length > 0) result[field] = [...left, ...said];
  }
  return result;
}

const LIST_KEYS = { env: "name", ports: "containerPort", volumeMounts: "mountPath" } as const;

function proxyOf(
  pod: KubeObject,
  namespace: string,
  settings: InjectionSettings,
  template: "sidecar" | "gateway",
  variables: readonly Json[],
): Json {
  const annotations = labelsOf(pod.metadata.annotations);
  const field = (name: string, fieldPath: string): Json => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  const value = (name: string, text: string): Json => ({ name, value: text });
  const owner = ownerOf(pod);
  const logLevel = annotations["sidecar.istio.io/logLevel"];
  const all = listOf(objectOf(pod["spec"])["containers"]).map(objectOf);
  const containers = all.filter((each) => !isProxy(each));
  const isGateway = template === "gateway";
  const isTls = settings.xdsTls === true;
  return {
    name: SIDECAR,
    image: annotations["sidecar.istio.io/proxyImage"] ?? settings.proxyImage,
    args: [
      "proxy",
      isGateway ? "router" : "sidecar",
      ...(logLevel === undefined ? [] : ["--log-level", logLevel]),
    ],
    ports: [{ name: "http-envoy-prom", containerPort: 15_090, protocol: "TCP" }],
    env: [
      field("POD_NAME", "metadata.name"),
      field("POD_NAMESPACE", "metadata.namespace"),
      field("POD_IP", "status.podIP"),
      field("INSTANCE_IP", "status.podIP"),
      field("HOST_IP", "status.hostIP"),
      field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      value("SERIN_XDS_ADDRESS", settings.xdsAddress),
      ...(isTls ? [value("SERIN_XDS_CA_PATH", `${CA_DIR}/${CA_KEY}`)] : []),
      value("SERIN_TOKEN_PATH", `${TOKEN_DIR}/${TOKEN_VOLUME}`),
      value("ISTIO_META_INTERCEPTION_MODE", settings.interceptionMode),
      ...(settings.interceptionMode === "NONE" && !isGateway
        ? [value("ISTIO_META_HTTP_PROXY_PORT", String(HTTP_PROXY_PORT))]
        : []),
      value("ISTIO_META_CLUSTER_ID", settings.clusterId),
      value("ISTIO_META_LABELS", JSON.stringify(labelsOf(pod.metadata.labels))),
      value("ISTIO_META_APP_CONTAINERS", containers.map(({ name }) => String(name)).join(",")),
      value("ISTIO_META_POD_PORTS", JSON.stringify(portsOf(containers))),
      ...(owner.name === ""
        ? []
        : [
            value("ISTIO_META_WORKLOAD_NAME", owner.name),
            value(
              "ISTIO_META_OWNER",
              `kubernetes://apis/${owner.apiVersion}/namespaces/${namespace}/${owner.plural}/${owner.name}`,
            ),
          ]),
      ...variables,
    ],
    readinessProbe: {
      httpGet: { path: "/healthz/ready", port: 15_021 },
      initialDelaySeconds: 0,
      periodSeconds: 2,
      timeoutSeconds: 3,
      failureThreshold: 30,
    },
    resources: resourcesOf(annotations),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: 1337,
      runAsNonRoot: true,
      runAsUser: 1337,
    },
    volumeMounts: [
      { name: TOKEN_VOLUME, mountPath: TOKEN_DIR, readOnly: true },
      ...(isTls ? [{ name: CA_VOLUME, mountPath: CA_DIR, readOnly: true }] : []),
    ],
  };
}

function portsOf(containers: readonly Json[]): readonly unknown[] {
  return containers.flatMap((container) => listOf(container["ports"]));
}

/** Istio's defaults, or what the pod's annotations say. */
function resourcesOf(annotations: StringMap): Json {
  const of = (kind: string): string | undefined => annotations[`sidecar.istio.io/${kind}`];
  return {
    requests: { cpu: of("proxyCPU") ?? "10m", memory: of("proxyMemory") ?? "40Mi" },
    limits: { cpu: of("proxyCPULimit") ?? "2000m", memory: of("proxyMemoryLimit") ?? "1024Mi" },
  };
}

function tokenVolume({ audience }: InjectionSettings): Json {
  return {
    name: TOKEN_VOLUME,
    projected: {
      sources: [
        {
          serviceAccountToken: {
            audience,
            expirationSeconds: TOKEN_SECONDS,
            path: TOKEN_VOLUME,
          },
        },
      ],
    },
  };
}

/** Whose pod it is: the Deployment behind a ReplicaSet, another owner by its own name, or itself. */
function ownerOf(pod: KubeObject): {
  readonly apiVersion: string;
  readonly plural: string;
  readonly name: string;
} {
  const owner = (pod.metadata.ownerReferences ?? []).find(({ controller }) => controller === true);
  if (owner === undefined) return { apiVersion: "v1", plural: "pods", name: pod.metadata.name };
  const hash = pod.metadata.labels?.["pod-template-hash"];
  const suffix = hash === undefined ? undefined : `-${hash}`;
  const { apiVersion, kind, name } = owner;
  return suffix !== undefined && kind === "ReplicaSet" && name.endsWith(suffix)
    ? { apiVersion, plural: "deployments", name: name.slice(0, -suffix.length) }
    : { apiVersion, plural: `${kind.toLowerCase()}s`, name };
}

/** A label's value is at most 63 characters and ends with a letter or digit. */
function labelValue(text: string): string {
  return text.slice(0, MAX_LABEL_CHARACTERS).replace(/[^A-Za-z0-9]+$/, "");
}

function canonicalName(
  pod: KubeObject,
  labels: StringMap,
): { readonly name: string; readonly revision: string } {
  const name = labels["app.kubernetes.io/name"] ?? labels["app"] ?? ownerOf(pod).name;
  return {
    name: labelValue(name),
    revision: labels["app.kubernetes.io/version"] ?? labels["version"] ?? "latest",
  };
}

function added(path: string, value: unknown): PatchOperation {
  return { op: "add", path, value };
}

function replaced(path: string, value: unknown): PatchOperation {
  return { op: "replace", path, value };
}
