import { apiVersionOf, type KubeObject, RESOURCES, type StringMap } from "../../../api/index.ts";
import { arrayAt, isJson, objectAt } from "../json.ts";
import type { Observation } from "../observation.ts";
import { apexName, type CanarySpec } from "../spec.ts";
import type { TrafficSplit } from "../traffic-split.ts";
import { FLUX_DISABLED, ownedMeta, selectorLabel } from "./names.ts";

export const ORIGINAL = "flagger.kubernetes.io/original-configuration";
export const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** One of the three Services. `suffix` names it, `pods` whom it selects. */
export function renderService(
  observation: Observation,
  target: KubeObject,
  role: "apex" | "primary" | "canary",
): KubeObject {
  const { canary, spec, services } = observation;
  const existing = services[role];
  const name = role === "apex" ? apexName(spec) : `${apexName(spec)}-${role}`;
  const label = selectorLabel(target);
  const value = role === "canary" ? label.value : `${label.value}-primary`;
  const { port, portName, targetPort, appProtocol } = spec.service;
  const extra = spec.service[role];
  const meta = ownedMeta(
    canary,
    name,
    { ...extra.labels, [label.key]: name },
    { ...extra.annotations, ...FLUX_DISABLED },
  );
  // A Service that was there before is its owner's: it must survive the Canary.
  const isOwned = existing === undefined || isOwnedBy(canary, existing);
  const [oldPort] = arrayAt(objectAt(existing, "spec"), "ports");
  const nodePort = objectAt({ oldPort }, "oldPort")["nodePort"];
  return {
    ...(existing ?? { apiVersion: "v1", kind: "Service" }),
    metadata: {
      ...existing?.metadata,
      ...(isOwned ? { ...existing?.metadata, ...meta } : {}),
      name,
    },
    spec: {
      type: "ClusterIP",
      ...objectAt(existing, "spec"),
      selector: { [label.key]: value },
      ports: [
        {
          ...{ name: portName, protocol: "TCP", port, targetPort: targetPort ?? port },
          ...(appProtocol === undefined ? {} : { appProtocol }),
          ...(nodePort === undefined ? {} : { nodePort }),
        },
      ],
    },
  };
}

/** A DestinationRule without subsets: two Services carry the split. */
export function renderDestinationRule(
  observation: Observation,
  role: "primary" | "canary",
): KubeObject {
  const { canary, spec } = observation;
  const existing = observation.destinationRules[role];
  const host = `${apexName(spec)}-${role}`;
  const { trafficPolicy } = spec.service;
  return {
    ...(existing ?? {
      apiVersion: apiVersionOf(RESOURCES.destinationRule),
      kind: "DestinationRule",
    }),
    metadata: existing?.metadata ?? ownedMeta(canary, host, {}, {}),
    spec: { host, ...(trafficPolicy === undefined ? {} : { trafficPolicy }) },
  };
}

/** The VirtualService `<apex>` with both destinations listed, even at weight 0. */
export function renderVirtualService(
  observation: Observation,
  split: TrafficSplit,
  isMirroring: boolean,
): KubeObject {
  const { canary, spec, virtualService: existing } = observation;
  const apex = apexName(spec);
  const { gateways, hosts, timeout, retries, match, rewrite, headers, corsPolicy } = spec.service;
  const allHosts = hosts.includes(apex) || hosts.includes("*") ? hosts : [...hosts, apex];
  const options = { match, rewrite, timeout, retries, corsPolicy, headers };
  const { mirrorWeight } = spec.analysis;
  const mirror = {
    mirror: { host: `${apex}-canary` },
    ...(mirrorWeight > 0 ? { mirrorPercentage: { value: mirrorWeight } } : {}),
  };
  const meta = ownedMeta(
    canary,
    apex,
    { ...spec.service.apex.labels },
    {
      ...spec.service.apex.annotations,
      ...FLUX_DISABLED,
      ...keptAnnotations(observation),
    },
  );
  // A VirtualService taken over stays its owner's: it must survive the Canary.
  const { ownerReferences, ...unowned } = meta;
  const owned = isForeign(observation) ? unowned : meta;
  return {
    ...(existing ?? { apiVersion: apiVersionOf(RESOURCES.virtualService), kind: "VirtualService" }),
    metadata: { ...existing?.metadata, ...owned },
    spec: {
      gateways: gateways.length > 0 ? gateways : ["mesh"],
      hosts: allHosts,
      http: [
        {
          ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
          route: [
            { destination: { host: `${apex}-primary` }, weight: split.primary },
            { destination: { host: `${apex}-canary` }, weight: split.canary },
          ],
          ...(isMirroring ? mirror : {}),
        },
      ],
    },
  };
}

/** The canary's weight in the VirtualService as it is, or undefined when it routes nothing to it. */
export function routedWeight(
  virtualService: KubeObject | undefined,
  spec: CanarySpec,
): number | undefined {
  const [http] = arrayAt(objectAt(virtualService, "spec"), "http");
  for (const route of arrayAt(http, "route")) {
    if (isJson(route) && objectAt(route, "destination")["host"] === `${apexName(spec)}-canary`) {
      return Number(route["weight"] ?? 0);
    }
  }
  return undefined;
}

/** Taking over somebody's VirtualService keeps what it said, so that it can be given back. */
function keptAnnotations(observation: Observation): StringMap {
  const { virtualService } = observation;
  if (virtualService === undefined) return {};
  const { annotations = {} } = virtualService.metadata;
  const kept = Object.fromEntries(
    Object.entries(annotations).filter(([key]) => key === LAST_APPLIED || key === ORIGINAL),
  );
  if (!isForeign(observation) || LAST_APPLIED in kept || ORIGINAL in kept) return kept;
  return { ...kept, [ORIGINAL]: JSON.stringify(virtualService["spec"]) };
}

/** Whether the VirtualService was there before the Canary. */
export function isForeign({ canary, virtualService }: Observation): boolean {
  return virtualService !== undefined && !isOwnedBy(canary, virtualService);
}

function isOwnedBy(
  canary: KubeObject,
  { metadata: { ownerReferences = [] } }: KubeObject,
): boolean {
  return ownerReferences.some((owner) => owner.uid === canary.metadata.uid);
}
