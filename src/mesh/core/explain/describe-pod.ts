import type { MeshModel } from "../model.ts";
import { type EffectiveTlsMode, effectiveMutualTls } from "../model-peer-authentication.ts";
import { policiesFor } from "../model-security.ts";
import type { Workload } from "../model-workloads.ts";
import { describeService, type ServiceDescription } from "./describe-service.ts";
import { authorizationOverview, type PolicyOverview } from "./policy-overview.ts";
import { referenceTo } from "./reference.ts";

/** What the mesh does with a pod. */
export interface PodDescription {
  readonly name: string;
  readonly namespace: string;
  readonly hasSidecar: boolean;
  readonly isReady: boolean;
  readonly services: readonly ServiceDescription[];
  readonly peerAuthentication: {
    /** Of ports that have no mode of their own. */
    readonly mode: EffectiveTlsMode;
    readonly ports: Readonly<Record<string, EffectiveTlsMode>>;
    /** `namespace/name`, the one that counts most first. */
    readonly applied: readonly string[];
  };
  readonly requestAuthentications: readonly string[];
  readonly authorizationPolicies: readonly PolicyOverview[];
  readonly warnings: readonly string[];
}

/** Labels by which Istio names workloads in telemetry. */
const NAMING = [
  ["app", ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"]],
  ["version", ["version", "app.kubernetes.io/version", "service.istio.io/canonical-revision"]],
] as const;

export function describePod(model: MeshModel, workload: Workload): PodDescription {
  const { rootNamespace, peerAuthentications } = model;
  const served = model.servedPorts.get(workload) ?? [];
  const services = [...new Set(served.map(({ service }) => service))];
  const modeOf = (port: number | undefined) =>
    effectiveMutualTls(peerAuthentications, workload, port, rootNamespace);
  const whole = modeOf(undefined);
  const numbers = new Set([
    ...workload.containerPorts.map(({ number }) => number),
    ...served.map(({ targetPort }) => targetPort),
  ]);
  const own = [...numbers]
    .map((port) => [port, modeOf(port)] as const)
    .filter(([, { level }]) => level === "port");
  const applied = [...own.map(([, { policy }]) => policy), whole.policy];
  return {
    name: workload.podName,
    namespace: workload.namespace,
    hasSidecar: workload.hasSidecar,
    isReady: workload.isReady,
    services: services.map((service) => describeService(model, service, workload)),
    peerAuthentication: {
      mode: whole.mode,
      ports: Object.fromEntries(own.map(([port, { mode }]) => [port, mode])),
      applied: [...new Set(applied.flatMap((policy) => (policy ? [referenceTo(policy)] : [])))],
    },
    requestAuthentications: policiesFor(model.requestAuthentications, workload, rootNamespace).map(
      referenceTo,
    ),
    authorizationPolicies: authorizationOverview(model, workload),
    warnings: warningsOf(model, workload, services.length, numbers),
  };
}

function warningsOf(
  model: MeshModel,
  workload: Workload,
  services: number,
  ports: ReadonlySet<number>,
): readonly string[] {
  const missing = NAMING.filter(([, keys]) =>
    keys.every((key) => workload.labels[key] === undefined),
  );
  const policies = model.peerAuthentications.filter(
    ({ namespace, matchLabels }) =>
      namespace === workload.namespace &&
      matchLabels !== undefined &&
      Object.entries(matchLabels).every(([key, value]) => workload.labels[key] === value),
  );
  return [
    ...(workload.hasSidecar
      ? []
      : ["it is not part of the mesh (no sidecar): mutual TLS and policies do not apply to it"]),
    ...(workload.isReady ? [] : ["it is not ready: no traffic is sent to it"]),
    ...missing.map(
      ([name]) => `it has no label ${name}: metrics and traces cannot name its ${name}`,
    ),
    ...(services === 0 ? ["no Service leads to it: callers do not find it"] : []),
    // Istio: of several for one workload the oldest counts.
    ...policies
      .slice(1)
      .map(
        (policy) =>
          `PeerAuthentication ${referenceTo(policy)} selects it too and is ignored: ${referenceTo(policies[0] ?? policy)} is older`,
      ),
    ...policies
      .slice(0, 1)
      .flatMap((policy) =>
        [...policy.portModes.keys()]
          .filter((port) => !ports.has(port))
          .map(
            (port) =>
              `PeerAuthentication ${referenceTo(policy)}: portLevelMtls ${port} is no port of its containers`,
          ),
      ),
  ];
}
