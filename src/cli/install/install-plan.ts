import { stringify } from "yaml";
import type { KubeObject } from "../../api/index.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";
import { usageError } from "../usage.ts";
import { type GatewayPlan, gatewayManifests, MANAGED_LABEL } from "./gateway-manifests.ts";

/** What there is to install, by Istio's names. */
export const PROFILES = ["minimal", "default", "demo"] as const;
export type Profile = (typeof PROFILES)[number];

/** A part of an installation: what is said once it runs, and its objects. */
export interface Component {
  readonly title: string;
  readonly objects: readonly KubeObject[];
}

/** What an installation consists of. */
export interface InstallPlan {
  readonly profile: Profile;
  /** The `path=value` settings that led here, the profile apart. */
  readonly settings: readonly string[];
  /** The mesh's settings to merge into the ConfigMap `istio`. */
  readonly meshConfig: Readonly<Record<string, unknown>>;
  readonly components: readonly Component[];
}

interface Draft {
  profile: Profile;
  readonly gateways: Record<GatewayPlan["direction"], Partial<GatewayPlan> & { enabled?: boolean }>;
  readonly meshConfig: Record<string, unknown>;
}

const GATEWAY = /^components\.(ingress|egress)Gateways(?:\[0\])?\.enabled$/;
const VALUES = /^values\.gateways\.istio-(ingress|egress)gateway\.(type|replicas)$/;
const MESH = /^meshConfig\.([A-Za-z0-9_.]+)$/;
const TYPES = ["LoadBalancer", "NodePort", "ClusterIP"] as const;

/** What `--set` may name. */
export const SETTABLE = `profile=${PROFILES.join("|")}
components.ingressGateways.enabled=true|false
components.egressGateways.enabled=true|false
values.gateways.istio-ingressgateway.type=${TYPES.join("|")} (likewise istio-egressgateway)
values.gateways.istio-ingressgateway.replicas=N
meshConfig.PATH=VALUE, e.g. meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY`;

/**
 * The installation that `--set path=value` settings ask for; later ones win. Throws SERIN_USAGE naming
 * the path that is unknown or has a value it cannot have.
 */
export function installPlan(sets: readonly string[]): InstallPlan {
  const draft: Draft = {
    profile: "default",
    gateways: { ingress: {}, egress: {} },
    meshConfig: {},
  };
  for (const set of sets) apply(draft, set);
  const isOn = {
    ingress: draft.gateways.ingress.enabled ?? draft.profile !== "minimal",
    egress: draft.gateways.egress.enabled ?? draft.profile === "demo",
  };
  const gateway = (direction: GatewayPlan["direction"], title: string): readonly Component[] => {
    if (!isOn[direction]) return [];
    const { serviceType, replicas = 1 } = draft.gateways[direction];
    const type = serviceType ?? (direction === "ingress" ? "LoadBalancer" : "ClusterIP");
    return [{ title, objects: gatewayManifests({ direction, serviceType: type, replicas }) }];
  };
  return {
    profile: draft.profile,
    settings: sets.filter((set) => !set.startsWith("profile=")),
    meshConfig: draft.meshConfig,
    components: [
      ...gateway("ingress", "Ingress gateways installed"),
      ...gateway("egress", "Egress gateways installed"),
    ],
  };
}

function apply(draft: Draft, set: string): void {
  const at = set.indexOf("=");
  const [path, value] = [set.slice(0, at), set.slice(at + 1)];
  if (at < 1) throw usageError(`--set must be PATH=VALUE (found ${JSON.stringify(set)})`);
  if (path === "profile") {
    draft.profile = oneOf(path, value, PROFILES);
    return;
  }
  const [, toggled] = GATEWAY.exec(path) ?? [];
  if (toggled === "ingress" || toggled === "egress") {
    draft.gateways[toggled].enabled = oneOf(path, value, ["true", "false"] as const) === "true";
    return;
  }
  const [, direction, field] = VALUES.exec(path) ?? [];
  if (direction === "ingress" || direction === "egress") {
    const gateway = draft.gateways[direction];
    draft.gateways[direction] =
      field === "type"
        ? { ...gateway, serviceType: oneOf(path, value, TYPES) }
        : { ...gateway, replicas: countOf(path, value) };
    return;
  }
  const [, mesh] = MESH.exec(path) ?? [];
  if (mesh === undefined) {
    throw usageError(`--set ${path}: unknown path; known are\n${SETTABLE}`);
  }
  setAt(draft.meshConfig, mesh.split("."), scalar(value));
}

function oneOf<T extends string>(path: string, value: string, known: readonly T[]): T {
  const found = known.find((each) => each === value);
  if (found !== undefined) return found;
  throw usageError(`--set ${path} must be ${known.join(", ")} (found ${JSON.stringify(value)})`);
}

function countOf(path: string, value: string): number {
  if (/^\d{1,3}$/.test(value)) return Number(value);
  throw usageError(`--set ${path} must be a number 0..999 (found ${JSON.stringify(value)})`);
}

function scalar(value: string): unknown {
  if (value === "true" || value === "false") return value === "true";
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

function setAt(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = "", ...rest] = path;
  if (rest.length === 0) {
    target[first] = value;
    return;
  }
  const next = target[first];
  const inner = typeof next === "object" && next !== null ? (next as Record<string, unknown>) : {};
  target[first] = inner;
  setAt(inner, rest, value);
}

/** Where an installation notes what it is, for `upgrade` and `uninstall`. */
export const STATE_KEY = { namespace: ROOT_NAMESPACE, name: "serin-install" } as const;

/** The ConfigMap that says what is installed. `version` is Serin's. */
export function installState(plan: InstallPlan, version: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { ...STATE_KEY, labels: MANAGED_LABEL },
    data: { profile: plan.profile, settings: stringify(plan.settings), version },
  };
}
