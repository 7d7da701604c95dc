/** How bad a finding is; the order is that of severity. */
export const LEVELS = ["Info", "Warning", "Error"] as const;
export type Level = (typeof LEVELS)[number];

interface MessageKind {
  readonly name: string;
  readonly level: Level;
  /** When it is reported, for `serin analyze -L` and the reference. */
  readonly when: string;
}

const kind = (name: string, level: Level, when: string): MessageKind => ({ name, level, when });

/**
 * Everything that `serin analyze` reports. IST codes have Istio's numbers, names and levels; SRN codes are
 * Serin's own, for what says something and does nothing.
 */
export const MESSAGES = {
  IST0101: kind("ReferencedResourceNotFound", "Error", "something names what does not exist"),
  IST0102: kind(
    "NamespaceNotInjected",
    "Info",
    "a namespace neither asks for sidecars nor refuses",
  ),
  IST0103: kind("PodMissingProxy", "Warning", "a pod that should have a sidecar has none"),
  IST0106: kind("SchemaValidationError", "Error", "a resource is invalid, and is not used"),
  IST0107: kind(
    "MisplacedAnnotation",
    "Warning",
    "an annotation is on a kind that does not read it",
  ),
  IST0108: kind(
    "UnknownAnnotation",
    "Warning",
    "nothing reads an annotation of the domain istio.io",
  ),
  IST0109: kind(
    "ConflictingMeshGatewayVirtualServiceHosts",
    "Error",
    "several VirtualServices have one host on sidecars; only the oldest counts",
  ),
  IST0110: kind(
    "ConflictingSidecarWorkloadSelectors",
    "Error",
    "several Sidecars select one workload; only the oldest counts",
  ),
  IST0111: kind(
    "MultipleSidecarsWithoutWorkloadSelectors",
    "Error",
    "several Sidecars of a namespace select everything; only the oldest counts",
  ),
  IST0112: kind(
    "VirtualServiceDestinationPortSelectorRequired",
    "Error",
    "a route leads to a service of several ports and names none",
  ),
  IST0113: kind(
    "MTLSPolicyConflict",
    "Error",
    "a DestinationRule's TLS mode and the servers' PeerAuthentication do not fit",
  ),
  IST0116: kind(
    "DeploymentAssociatedToMultipleServices",
    "Warning",
    "services take one port of a workload for different protocols",
  ),
  IST0118: kind(
    "PortNameIsNotUnderNamingConvention",
    "Info",
    "a port's name says no protocol, which is then guessed",
  ),
  IST0123: kind(
    "NamespaceMultipleInjectionLabels",
    "Warning",
    "a namespace has both istio-injection and istio.io/rev",
  ),
  IST0125: kind("InvalidAnnotation", "Warning", "an annotation has a value that it cannot have"),
  IST0127: kind("NoMatchingWorkloadsFound", "Warning", "a policy's selector selects no workload"),
  IST0128: kind(
    "NoServerCertificateVerificationDestinationLevel",
    "Warning",
    "a DestinationRule speaks TLS without CA certificates: anybody may answer",
  ),
  IST0129: kind(
    "NoServerCertificateVerificationPortLevel",
    "Warning",
    "likewise, in the settings of a port",
  ),
  IST0130: kind(
    "VirtualServiceUnreachableRule",
    "Warning",
    "a route is never used because of those before it",
  ),
  IST0131: kind(
    "VirtualServiceIneffectiveMatch",
    "Info",
    "a match repeats one of an earlier route",
  ),
  IST0132: kind(
    "VirtualServiceHostNotFoundInGateway",
    "Warning",
    "no server of a gateway takes a host of a VirtualService",
  ),
  IST0133: kind("SchemaWarning", "Warning", "a resource is valid, and a field of it does nothing"),
  IST0134: kind(
    "ServiceEntryAddressesRequired",
    "Warning",
    "a ServiceEntry's TCP port cannot be told from others without addresses",
  ),
  IST0137: kind(
    "DeploymentConflictingPorts",
    "Warning",
    "services lead to one target port of a workload from different ports",
  ),
  IST0138: kind(
    "GatewayDuplicateCertificate",
    "Warning",
    "gateways of the same pods share a certificate: reused HTTP/2 connections get 404",
  ),
  IST0144: kind(
    "InvalidApplicationUID",
    "Warning",
    "an application runs as the sidecar's user 1337",
  ),
  IST0145: kind(
    "ConflictingGateways",
    "Error",
    "gateways of the same pods have one host on one port",
  ),
  IST0146: kind(
    "ImageAutoWithoutInjectionWarning",
    "Warning",
    "a workload asks for the injected image and is not injected",
  ),
  IST0150: kind(
    "ExternalNameServiceTypeInvalidPortName",
    "Warning",
    "a port of an ExternalName service says no protocol",
  ),
  IST0157: kind(
    "InvalidTelemetryProvider",
    "Warning",
    "a Telemetry names no providers, twice over",
  ),
  IST0159: kind(
    "ConflictingTelemetryWorkloadSelectors",
    "Error",
    "several Telemetries select one workload; only the oldest counts",
  ),
  IST0160: kind(
    "MultipleTelemetriesWithoutWorkloadSelectors",
    "Error",
    "several Telemetries of a namespace select everything; only the oldest counts",
  ),
  IST0162: kind(
    "GatewayPortNotDefinedOnService",
    "Warning",
    "no Service leads to a port of a gateway",
  ),
  IST0173: kind(
    "DestinationRuleSubsetNotSelectPods",
    "Error",
    "a subset's labels select no pod of the service",
  ),
  IST0174: kind("UnknownDestinationRuleHost", "Warning", "a DestinationRule is for no known host"),
  SRN0001: kind(
    "DeprecatedConsecutiveErrors",
    "Warning",
    "outlierDetection.consecutiveErrors, which Istio ignores",
  ),
  SRN0002: kind(
    "OutlierDetectionEjectsNobody",
    "Warning",
    "maxEjectionPercent of so few endpoints is less than one",
  ),
  SRN0003: kind("FaultWithoutPercentage", "Warning", "a fault has no percentage, and hits nobody"),
  SRN0004: kind(
    "SelectorInRootNamespace",
    "Warning",
    "a PeerAuthentication of the root namespace has a selector, and is not for the mesh",
  ),
  SRN0005: kind("PolicyWithoutRules", "Warning", "an ALLOW policy without rules denies everything"),
  SRN0006: kind(
    "DestinationWithoutWeight",
    "Warning",
    "one of several destinations has no weight, and gets nothing",
  ),
  SRN0007: kind("NothingMirrored", "Warning", "a mirror has the percentage 0"),
  SRN0008: kind(
    "ReservedHeaderMatch",
    "Warning",
    "a header match named uri, scheme, method or authority is ignored",
  ),
  SRN0009: kind("NotTaken", "Warning", "the control plane does not do what a resource says"),
  SRN0010: kind(
    "IdentityWithoutMutualTLS",
    "Info",
    "a policy asks who the caller is where callers may come in plain text",
  ),
  SRN0021: kind("CanariesOfOneTarget", "Error", "several Canaries are for one target"),
  SRN0022: kind(
    "CanaryWithoutChecks",
    "Warning",
    "a Canary has neither metrics nor webhooks: whatever runs is promoted",
  ),
  SRN0023: kind(
    "CanaryOutsideOfMesh",
    "Warning",
    "pods of a Canary's target get no sidecar: there is nothing to measure or route",
  ),
  SRN0024: kind("CanaryFailed", "Info", "a Canary's last rollout failed"),
} as const satisfies Record<string, MessageKind>;

export type Code = keyof typeof MESSAGES;

/** Whether one level is at least as bad as another. */
export function isAtLeast(level: Level, threshold: Level): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(threshold);
}
