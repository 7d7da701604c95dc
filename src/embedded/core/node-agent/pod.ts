import { z } from "zod";
import type { KubeObject } from "../../../api/index.ts";
import { SerinError } from "../../../base/index.ts";

const port = z.union([z.int(), z.string()]);
const keyRef = z.object({
  name: z.string().default(""),
  key: z.string(),
  optional: z.boolean().default(false),
});
const objectRef = z.object({ name: z.string().default(""), optional: z.boolean().default(false) });
const fieldRef = z.object({ fieldPath: z.string() });
const resourceFieldRef = z.object({
  containerName: z.string().optional(),
  resource: z.string(),
  divisor: z.union([z.string(), z.number()]).optional(),
});

const httpGet = z.object({
  host: z.string().optional(),
  path: z.string().default("/"),
  port,
  scheme: z.string().default("HTTP"),
  httpHeaders: z.array(z.object({ name: z.string(), value: z.string().default("") })).default([]),
});
const execAction = z.object({ command: z.array(z.string()).default([]) });
const tcpSocket = z.object({ host: z.string().optional(), port });

const probe = z.object({
  httpGet: httpGet.optional(),
  tcpSocket: tcpSocket.optional(),
  exec: execAction.optional(),
  initialDelaySeconds: z.number().default(0),
  periodSeconds: z.number().positive().catch(10).default(10),
  timeoutSeconds: z.number().positive().catch(1).default(1),
  successThreshold: z.number().positive().catch(1).default(1),
  failureThreshold: z.number().positive().catch(3).default(3),
  terminationGracePeriodSeconds: z.number().optional(),
});
const lifecycleHandler = z.object({
  exec: execAction.optional(),
  httpGet: httpGet.optional(),
  sleep: z.object({ seconds: z.number() }).optional(),
});

const envVariable = z.object({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z
    .object({
      fieldRef: fieldRef.optional(),
      resourceFieldRef: resourceFieldRef.optional(),
      configMapKeyRef: keyRef.optional(),
      secretKeyRef: keyRef.optional(),
    })
    .optional(),
});
const quantities = z.record(z.string(), z.union([z.string(), z.number()])).default({});

const id = z.int().nonnegative().optional();
const container = z.object({
  name: z.string(),
  image: z.string(),
  command: z.array(z.string()).default([]),
  args: z.array(z.string()).default([]),
  workingDir: z.string().optional(),
  ports: z
    .array(
      z.object({
        name: z.string().optional(),
        containerPort: z.int(),
        protocol: z.string().default("TCP"),
      }),
    )
    .default([]),
  env: z.array(envVariable).default([]),
  envFrom: z
    .array(
      z.object({
        prefix: z.string().default(""),
        configMapRef: objectRef.optional(),
        secretRef: objectRef.optional(),
      }),
    )
    .default([]),
  resources: z
    .object({ limits: quantities, requests: quantities })
    .default({ limits: {}, requests: {} }),
  volumeMounts: z
    .array(z.object({ name: z.string(), mountPath: z.string(), subPath: z.string().default("") }))
    .default([]),
  startupProbe: probe.optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe.optional(),
  lifecycle: z
    .object({ postStart: lifecycleHandler.optional(), preStop: lifecycleHandler.optional() })
    .optional(),
  restartPolicy: z.string().optional(),
  securityContext: z.object({ runAsUser: id, runAsGroup: id }).optional(),
  terminationMessagePolicy: z.string().optional(),
});

const items = z
  .array(z.object({ key: z.string(), path: z.string(), mode: z.int().optional() }))
  .optional();
const downwardItems = z
  .array(
    z.object({
      path: z.string(),
      mode: z.int().optional(),
      fieldRef: fieldRef.optional(),
      resourceFieldRef: resourceFieldRef.optional(),
    }),
  )
  .default([]);
const optional = z.boolean().default(false);
const defaultMode = z.int().default(0o644);

const volume = z.object({
  name: z.string(),
  emptyDir: z.unknown().optional(),
  hostPath: z.object({ path: z.string() }).optional(),
  configMap: z.object({ name: z.string().default(""), items, optional, defaultMode }).optional(),
  secret: z.object({ secretName: z.string().default(""), items, optional, defaultMode }).optional(),
  downwardAPI: z.object({ items: downwardItems, defaultMode }).optional(),
  projected: z
    .object({
      defaultMode,
      sources: z
        .array(
          z.object({
            serviceAccountToken: z
              .object({
                audience: z.string().default(""),
                expirationSeconds: z.number().default(3600),
                path: z.string(),
              })
              .optional(),
            configMap: z.object({ name: z.string().default(""), items, optional }).optional(),
            secret: z.object({ name: z.string().default(""), items, optional }).optional(),
            downwardAPI: z.object({ items: downwardItems }).optional(),
          }),
        )
        .default([]),
    })
    .optional(),
});

const podSpec = z.object({
  nodeName: z.string().default(""),
  hostNetwork: z.boolean().default(false),
  dnsPolicy: z.string().default("ClusterFirst"),
  securityContext: z.object({ runAsUser: id, runAsGroup: id }).optional(),
  nodeSelector: z.record(z.string(), z.string()).default({}),
  schedulerName: z.string().default("default-scheduler"),
  schedulingGates: z.array(z.object({ name: z.string() })).default([]),
  serviceAccountName: z.string().default("default"),
  restartPolicy: z.enum(["Always", "OnFailure", "Never"]).default("Always"),
  terminationGracePeriodSeconds: z.number().default(30),
  activeDeadlineSeconds: z.number().optional(),
  initContainers: z.array(container).default([]),
  containers: z.array(container),
  volumes: z.array(volume).default([]),
  readinessGates: z.array(z.object({ conditionType: z.string() })).default([]),
});

/** A container of a pod, with what the node agent needs of it. */
export type ContainerSpec = z.infer<typeof container>;
export type PodSpec = z.infer<typeof podSpec>;
export type Volume = z.infer<typeof volume>;
export type Probe = z.infer<typeof probe>;
export type HttpGetAction = z.infer<typeof httpGet>;
export type LifecycleHandler = z.infer<typeof lifecycleHandler>;
export type DownwardItem = z.infer<typeof downwardItems>[number];
export type ResourceFieldRef = z.infer<typeof resourceFieldRef>;

/** A Pod as the node agent reads it; its status stays as stored. */
export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
  /** How long a deletion may take; undefined while the pod is not being deleted. */
  readonly deletionGraceSeconds: number | undefined;
  readonly object: KubeObject;
}

/** Istio's name of the sidecar's container. */
export const SIDECAR_CONTAINER = "istio-proxy";

/** Reads a Pod that the API server has accepted. Throws SERIN_INVALID_RESOURCE. */
export function parsePod(object: KubeObject): Pod {
  const { metadata } = object;
  const spec = podSpec.safeParse(object["spec"]);
  if (!spec.success) {
    const [issue] = spec.error.issues;
    const where = `${metadata.namespace}/${metadata.name}: spec.${issue?.path.join(".") ?? ""}`;
    throw new SerinError("SERIN_INVALID_RESOURCE", `Pod ${where}: ${issue?.message ?? ""}`);
  }
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "default",
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    spec: spec.data,
    deletionGraceSeconds:
      metadata.deletionTimestamp === undefined
        ? undefined
        : (metadata.deletionGracePeriodSeconds ?? 0),
    object,
  };
}

/** Whether the pod has the mesh's sidecar, as a container or as a native sidecar. */
export function hasSidecar(spec: PodSpec): boolean {
  return [...spec.containers, ...spec.initContainers].some((c) => c.name === SIDECAR_CONTAINER);
}

/** An init container that stays: a native sidecar (KEP-753). */
export function isNativeSidecar(spec: ContainerSpec): boolean {
  return spec.restartPolicy === "Always";
}
