import { formatDurationMs } from "../../base/index.ts";
import type {
  ExposureDescription,
  PodDescription,
  RoutesDescription,
  RuleDescription,
  ServiceDescription,
} from "../../mesh/index.ts";

const RULE = "--------------------\n";

/** A port of a container, as a pod lists it. */
export interface ContainerPortText {
  readonly port: number;
  readonly container: string;
}

/** A pod for people, as istioctl describes it. */
export function formatPod(
  pod: PodDescription,
  ports: readonly ContainerPortText[],
  exposures: readonly ExposureDescription[],
): string {
  const listed = ports.map(({ port, container }) => `${port} (${container})`).join(", ");
  const head = [
    `Pod: ${named(pod.name, pod.namespace)}\n`,
    `   Pod Ports: ${listed === "" ? "none" : listed}\n`,
    ...warned(pod.warnings),
  ];
  const { mode, ports: portModes, applied } = pod.peerAuthentication;
  const authentication = pod.hasSidecar
    ? [
        "Effective PeerAuthentication:\n",
        `   Workload mTLS mode: ${mode}\n`,
        ...Object.entries(portModes).map(([port, own]) => `   Port ${port} mTLS mode: ${own}\n`),
        ...(applied.length === 0
          ? []
          : ["Applied PeerAuthentication:\n", `   ${applied.map(dotted).join(", ")}\n`]),
        ...pod.requestAuthentications.map((name) => `RequestAuthentication: ${dotted(name)}\n`),
        ...pod.authorizationPolicies.flatMap(({ action, policy, isDryRun, rules }) => [
          `AuthorizationPolicy: ${dotted(policy)} (${action}${isDryRun ? ", dry run" : ""})\n`,
          ...(rules.length === 0
            ? ["   no rules: it matches nothing\n"]
            : rules.map((rule) => `   ${rule}\n`)),
        ]),
      ]
    : [];
  return [
    head,
    ...pod.services.map((service) => serviceLines(service, pod.namespace)),
    authentication,
    ...exposures.map(exposureLines),
  ]
    .filter((part) => part.length > 0)
    .map((part) => part.join(""))
    .join(RULE);
}

/** A service for people, as istioctl describes it. */
export function formatService(
  service: ServiceDescription,
  exposures: readonly ExposureDescription[],
): string {
  const ready = service.pods.filter(({ isReady }) => isReady).length;
  const meshed = service.pods.filter(({ hasSidecar }) => hasSidecar).length;
  const pods = `   Pods: ${service.pods.length} (${ready} ready, ${meshed} with a sidecar)\n`;
  const [first = "", ...rest] = serviceLines(service, "default");
  return [[first, pods, ...rest], ...exposures.map(exposureLines)]
    .map((part) => part.join(""))
    .join(RULE);
}

function serviceLines(service: ServiceDescription, namespace: string): readonly string[] {
  return [
    `Service: ${named(service.name, service.namespace, namespace)}\n`,
    ...service.ports.map(({ name, port, protocol, targetPort }) => {
      const title = [...(name === undefined ? [] : [name]), `${port}/${protocolText(protocol)}`];
      const target = targetPort === undefined ? "" : ` targets pod port ${targetPort}`;
      return `   Port: ${title.join(" ")}${target}\n`;
    }),
    ...warned(service.warnings),
    ...(service.destinationRule === undefined ? [] : ruleLines(service.destinationRule)),
    ...(service.virtualService === undefined ? [] : routesLines(service.virtualService)),
  ];
}

function protocolText(protocol: string): string {
  return protocol === "auto" ? "auto-detect" : protocol.toUpperCase();
}

function ruleLines(rule: RuleDescription): readonly string[] {
  const { name, host, matchingSubsets: own, otherSubsets: others, policy } = rule;
  return [
    `DestinationRule: ${dotted(name)} for "${host}"\n`,
    ...(own.length === 0 ? [] : [`   Matching subsets: ${own.join(",")}\n`]),
    ...(others.length === 0 ? [] : [`      (Non-matching subsets ${others.join(",")})\n`]),
    ...(policy === undefined ? ["   No Traffic Policy\n"] : policyLines(policy)),
  ];
}

function policyLines(policy: NonNullable<RuleDescription["policy"]>): readonly string[] {
  const { tls, loadBalancer, limits, outlierDetection: outlier } = policy;
  const named = Object.entries(limits).map(([name, value]) => `${name} ${value}`);
  return [
    `   Traffic Policy TLS Mode: ${tls ?? "by auto mTLS"}\n`,
    `   load balancer: ${loadBalancer}\n`,
    ...(named.length === 0 ? [] : [`   connection pool: ${named.join(", ")}\n`]),
    ...(outlier === undefined
      ? []
      : [
          `   outlier detection: ${outlier.consecutive5xx} failures in a row, ${formatDurationMs(outlier.baseEjectionTimeMs)}, ${outlier.maxEjectionPercent}% at most\n`,
        ]),
  ];
}

function routesLines({ name, routes }: RoutesDescription): readonly string[] {
  return [
    `VirtualService: ${dotted(name)}\n`,
    `   ${routes.length} HTTP route(s)\n`,
    ...routes.flatMap(({ route, matches, destinations, settings }) => [
      `   ${route}: ${matches.length === 0 ? "every request" : matches.join(" or ")}\n`,
      ...destinations.map(({ host, subset, weight, isForPod }) => {
        const target = subset === undefined ? host : `${host} subset ${subset}`;
        return `      ${weight}% to ${target}${isForPod ? "" : " (non-matching)"}\n`;
      }),
      ...(settings.length === 0 ? [] : [`      ${settings.join(", ")}\n`]),
    ]),
  ];
}

function exposureLines(exposure: ExposureDescription): readonly string[] {
  const { gateway, virtualService, urls, matches, warnings } = exposure;
  return [
    ...(urls.length === 0
      ? [`Exposed on Ingress Gateway ${dotted(gateway)}\n`]
      : urls.map((url) => `Exposed on Ingress Gateway ${url}\n`)),
    `Gateway: ${dotted(gateway)}\n`,
    `VirtualService: ${dotted(virtualService)}\n`,
    ...matches.map((match) => `   Match: ${match}\n`),
    ...warned(warnings),
  ];
}

function warned(warnings: readonly string[]): readonly string[] {
  return warnings.map((text) => `   WARNING: ${text}\n`);
}

/** istioctl leaves out the namespace one is in. */
function named(name: string, namespace: string, current = "default"): string {
  return namespace === current ? name : `${name}.${namespace}`;
}

function dotted(reference: string): string {
  const [namespace = "", name = ""] = reference.split("/");
  return named(name, namespace);
}
