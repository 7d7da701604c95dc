import type { StringMap } from "../../api/index.ts";
import type { Json } from "./model-object.ts";

/** Name of the container that redirects a pod's traffic to its sidecar (Istio's). */
export const INIT_CONTAINER = "istio-init";
/** The sidecar's own ports: readiness, metrics, and Istio's merged metrics. */
const OWN_PORTS = ["15090", "15021", "15020"];
const PREFIX = "traffic.sidecar.istio.io/";

/** What annotations give the flags of `serin init`, and what they are without. */
const FLAGS = [
  ["-i", "includeOutboundIPRanges", "*"],
  ["-x", "excludeOutboundIPRanges", ""],
  ["-b", "includeInboundPorts", "*"],
  ["-q", "includeOutboundPorts", ""],
  ["-o", "excludeOutboundPorts", ""],
  ["-k", "kubevirtInterfaces", ""],
  ["-c", "excludeInterfaces", ""],
] as const;

/**
 * The init container of a pod whose traffic is redirected. It needs rights over the pod's network,
 * which the sidecar and the application then do without.
 */
export function initContainerOf(annotations: StringMap, image: string, resources: Json): Json {
  const flags = FLAGS.flatMap(([flag, name, fallback]) => {
    const value = annotations[`${PREFIX}${name}`] ?? fallback;
    return value === "" ? [] : [flag, value];
  });
  const excluded = (annotations[`${PREFIX}excludeInboundPorts`] ?? "")
    .split(",")
    .map((port) => port.trim())
    .filter((port) => port !== "");
  return {
    name: INIT_CONTAINER,
    image,
    args: [
      ...["init", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"],
      ...flags,
      ...["-d", [...OWN_PORTS, ...excluded].join(",")],
    ],
    resources,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { add: ["NET_ADMIN", "NET_RAW"], drop: ["ALL"] },
      privileged: false,
      readOnlyRootFilesystem: false,
      runAsGroup: 0,
      runAsNonRoot: false,
      runAsUser: 0,
    },
  };
}
