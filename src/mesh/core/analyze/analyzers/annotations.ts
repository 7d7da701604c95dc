import type { KubeObject } from "../../../../api/index.ts";
import { nearestOf } from "../../../../api/index.ts";
import { labelsOf } from "../../model-object.ts";
import type { Analyzer, Finding } from "../context.ts";

interface Known {
  readonly kinds: readonly string[];
  /** What a value must be; undefined = anything. */
  readonly valid?: RegExp;
  readonly expected?: string;
}

const onPods = (valid?: RegExp, expected?: string): Known => ({
  kinds: ["Pod"],
  ...(valid === undefined || expected === undefined ? {} : { valid, expected }),
});
const on = (...kinds: string[]): Known => ({ kinds });

const BOOLEAN = [/^(?:true|false)$/, '"true" or "false"'] as const;
const PORTS = [/^(?:\*|(?:\d{1,5}(?:,\s*\d{1,5})*)?)$/, "ports, comma-separated, or *"] as const;
const CIDR = String.raw`\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?|[0-9a-fA-F:]+(?:/\d{1,3})?`;
const RANGES = [
  new RegExp(String.raw`^(?:\*|(?:(?:${CIDR})(?:,\s*(?:${CIDR}))*)?)$`),
  "CIDRs, comma-separated, or *",
] as const;
const QUANTITY = [
  /^\d+(?:\.\d+)?(?:[mkMGTPE]i?|Ki)?$/,
  "a quantity such as 100m or 128Mi",
] as const;

/** Annotations of Istio's (or of ours in its domain): what reads them, and what they may say. */
const KNOWN: Readonly<Record<string, Known>> = {
  "sidecar.istio.io/inject": onPods(...BOOLEAN),
  "sidecar.istio.io/status": onPods(),
  "sidecar.istio.io/proxyImage": onPods(),
  "sidecar.istio.io/proxyImageType": onPods(),
  "sidecar.istio.io/proxyCPU": onPods(...QUANTITY),
  "sidecar.istio.io/proxyCPULimit": onPods(...QUANTITY),
  "sidecar.istio.io/proxyMemory": onPods(...QUANTITY),
  "sidecar.istio.io/proxyMemoryLimit": onPods(...QUANTITY),
  "sidecar.istio.io/logLevel": onPods(
    /^(?:trace|debug|info|warning|warn|error|critical|off)$/,
    "a log level such as debug or info",
  ),
  "sidecar.istio.io/componentLogLevel": onPods(),
  "sidecar.istio.io/agentLogLevel": onPods(),
  "sidecar.istio.io/nativeSidecar": onPods(...BOOLEAN),
  "sidecar.istio.io/interceptionMode": onPods(
    /^(?:REDIRECT|TPROXY|NONE)$/,
    "REDIRECT, TPROXY or NONE",
  ),
  "sidecar.istio.io/rewriteAppHTTPProbers": onPods(...BOOLEAN),
  "sidecar.istio.io/bootstrapOverride": onPods(),
  "sidecar.istio.io/discoveryAddress": onPods(),
  "sidecar.istio.io/enableCoreDump": onPods(...BOOLEAN),
  "sidecar.istio.io/extraStatTags": onPods(),
  "sidecar.istio.io/statsInclusionPrefixes": onPods(),
  "sidecar.istio.io/statsInclusionRegexps": onPods(),
  "sidecar.istio.io/statsInclusionSuffixes": onPods(),
  "sidecar.istio.io/userVolume": onPods(),
  "sidecar.istio.io/userVolumeMount": onPods(),
  "readiness.status.sidecar.istio.io/applicationPorts": onPods(...PORTS),
  "readiness.status.sidecar.istio.io/failureThreshold": onPods(),
  "readiness.status.sidecar.istio.io/initialDelaySeconds": onPods(),
  "readiness.status.sidecar.istio.io/periodSeconds": onPods(),
  "status.sidecar.istio.io/port": onPods(),
  "traffic.sidecar.istio.io/includeInboundPorts": onPods(...PORTS),
  "traffic.sidecar.istio.io/excludeInboundPorts": onPods(...PORTS),
  "traffic.sidecar.istio.io/includeOutboundPorts": onPods(...PORTS),
  "traffic.sidecar.istio.io/excludeOutboundPorts": onPods(...PORTS),
  "traffic.sidecar.istio.io/includeOutboundIPRanges": onPods(...RANGES),
  "traffic.sidecar.istio.io/excludeOutboundIPRanges": onPods(...RANGES),
  "traffic.sidecar.istio.io/excludeInterfaces": onPods(),
  "traffic.sidecar.istio.io/kubevirtInterfaces": onPods(),
  "istio.io/reroute-virtual-interfaces": onPods(),
  "inject.istio.io/templates": onPods(),
  "proxy.istio.io/config": onPods(),
  "proxy.istio.io/overrides": onPods(),
  "prometheus.istio.io/merge-metrics": onPods(...BOOLEAN),
  "networking.istio.io/exportTo": on("Service"),
  "networking.istio.io/traffic-distribution": on("Service"),
  "networking.istio.io/service-type": on("Gateway"),
  "networking.istio.io/address-type": on("Gateway"),
  "traffic.istio.io/nodeSelector": on("Service"),
  "networking.istio.io/dnsName": on("Service"),
  "istio.io/dry-run": on("AuthorizationPolicy"),
  "istio.io/workloadController": on("WorkloadEntry"),
  "istio.io/connectedAt": on("WorkloadEntry"),
  "istio.io/disconnectedAt": on("WorkloadEntry"),
  "topology.istio.io/controlPlaneClusters": on("Namespace"),
  "sidecar.istio.io/statsHistogramBuckets": onPods(),
  "ambient.istio.io/redirection": onPods(),
  "galley.istio.io/analyze-suppress": on("*"),
  "install.operator.istio.io/chart-owner": on("*"),
  "internal.istio.io/parents": on("*"),
  "istio.io/for-service-account": on("*"),
};
/** The labels of which people make annotations. */
const LABELS = [
  "istio.io/rev",
  "istio-injection",
  "istio.io/use-waypoint",
  "istio.io/dataplane-mode",
];

/** Annotations of the domain istio.io that do nothing where they are. */
export const annotationsAnalyzer: Analyzer = {
  name: "annotations",
  description: "annotations of the domain istio.io: unknown, misplaced, or with impossible values",
  codes: ["IST0107", "IST0108", "IST0125"],
  *analyze({ all, makers }) {
    for (const object of all) {
      yield* findingsOf(object, object.kind, labelsOf(object.metadata.annotations), [
        "metadata",
        "annotations",
      ]);
    }
    for (const { object, annotations } of makers) {
      const at = object.kind === "CronJob" ? ["spec", "jobTemplate"] : [];
      const path = [...at, "spec", "template", "metadata", "annotations"];
      yield* findingsOf(object, "Pod", annotations, path);
    }
  },
};

function* findingsOf(
  object: KubeObject,
  kind: string,
  annotations: Readonly<Record<string, string>>,
  path: readonly string[],
): Generator<Finding> {
  for (const [name, value] of Object.entries(annotations)) {
    const finding = findingOf(name, value, kind);
    if (finding !== undefined) yield { ...finding, object, path: [...path, name] };
  }
}

function findingOf(
  name: string,
  value: string,
  kind: string,
): Pick<Finding, "code" | "message"> | undefined {
  if (!/(?:^|\.)istio\.io\//.test(name)) return undefined;
  const known = Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined;
  if (known === undefined) {
    const nearest = nearestOf(name, Object.keys(KNOWN));
    const isLabel = LABELS.includes(name) ? "; it is a label" : "";
    const meant = nearest === undefined ? isLabel : `, did you mean ${nearest}?`;
    return { code: "IST0108", message: `Unknown annotation: ${name}${meant}` };
  }
  if (!known.kinds.includes("*") && !known.kinds.includes(kind)) {
    const where =
      known.kinds[0] === "Pod"
        ? "Pod (of a workload: in its pod template)"
        : known.kinds.join(", ");
    return {
      code: "IST0107",
      message: `Misplaced annotation: ${name} can only be applied to ${where}`,
    };
  }
  if (known.valid === undefined || known.valid.test(value)) return undefined;
  const message = `Invalid annotation ${name}: must be ${known.expected} (found ${JSON.stringify(value)})`;
  return { code: "IST0125", message };
}
