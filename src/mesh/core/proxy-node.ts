import type { StringMap } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import { structToJson } from "../../xds/index.ts";

/** A connected proxy as its Node message describes it (Istio's node id and metadata). */
export interface ProxyNode {
  /** As sent: `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`. */
  readonly id: string;
  readonly role: "sidecar" | "router";
  readonly ipAddress: string;
  /** Pod name. */
  readonly name: string;
  readonly namespace: string;
  readonly labels: StringMap;
  /** NONE: the application is told of the proxy (HTTP_PROXY); else its traffic is redirected. */
  readonly interceptionMode: "NONE" | "REDIRECT" | "TPROXY";
  /** Port of the outbound HTTP proxy listener, with interception mode NONE. */
  readonly httpProxyPort?: number;
  /** Where the application listens, when not on the pod IP (loopback network). */
  readonly applicationAddress?: string;
  /** Name of its Kubernetes cluster (Istio's CLUSTER_ID). */
  readonly clusterId?: string;
  /** Of the program that runs: Serin's or Istio's own version, else Envoy's. */
  readonly version?: string;
  /** `grpc`: the application itself is the client, and gets resources made for it (Istio). */
  readonly generator?: "grpc";
  /** Whether it is a stock Envoy, which makes Istio's metrics only when it is told how. */
  readonly isEnvoy?: true;
}

/** The part of envoy.config.core.v3.Node that counts, as decoded. */
export interface NodeMessage {
  readonly id?: string | null | undefined;
  readonly metadata?: unknown;
  readonly user_agent_name?: string | null | undefined;
  readonly user_agent_build_version?:
    | {
        readonly version?:
          | {
              readonly major_number?: number | null | undefined;
              readonly minor_number?: number | null | undefined;
              readonly patch?: number | null | undefined;
            }
          | null
          | undefined;
      }
    | null
    | undefined;
}

const INTERCEPTION_MODES = ["NONE", "REDIRECT", "TPROXY"] as const;
const NAME = /^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/;

/**
 * Reads the Node message of a stream's first request. `metadata` is the protobuf Struct, or the
 * plain JSON it stands for. Throws SERIN_INVALID_XDS naming the field that is missing or wrong.
 */
export function parseProxyNode(node: NodeMessage): ProxyNode {
  const id = node.id ?? "";
  const [role, ipAddress = "", podAndNamespace = "", domain] = id.split("~");
  if (domain === undefined || id.split("~").length !== 4) {
    throw invalid("id", `must be role~ip~pod.namespace~domain (found ${JSON.stringify(id)})`);
  }
  if (role !== "sidecar" && role !== "router") {
    throw invalid("id", `its role must be sidecar or router (found ${JSON.stringify(role)})`);
  }
  if (!isIpAddress(ipAddress)) {
    throw invalid(
      "id",
      `its second part must be an IP address (found ${JSON.stringify(ipAddress)})`,
    );
  }
  const metadata = metadataOf(node.metadata);
  // A pod name may hold dots, a namespace may not: the last dot divides.
  const dot = podAndNamespace.lastIndexOf(".");
  const name = textOf(metadata, "NAME") ?? podAndNamespace.slice(0, Math.max(dot, 0));
  const namespace = textOf(metadata, "NAMESPACE") ?? podAndNamespace.slice(dot + 1);
  if (dot < 1 || !NAME.test(name)) {
    throw invalid(
      "id",
      `its third part must be pod.namespace (found ${JSON.stringify(podAndNamespace)})`,
    );
  }
  if (!NAME.test(namespace)) {
    throw invalid("metadata.NAMESPACE", `must be a namespace (found ${JSON.stringify(namespace)})`);
  }
  const httpProxyPort = portOf(metadata, "HTTP_PROXY_PORT");
  const applicationAddress = textOf(metadata, "APPLICATION_ADDRESS");
  if (applicationAddress !== undefined && !isIpAddress(applicationAddress)) {
    throw invalid(
      "metadata.APPLICATION_ADDRESS",
      `must be an IP address (found ${JSON.stringify(applicationAddress)})`,
    );
  }
  const clusterId = textOf(metadata, "CLUSTER_ID");
  const version =
    textOf(metadata, "SERIN_VERSION") ?? textOf(metadata, "ISTIO_VERSION") ?? buildVersion(node);
  return {
    id,
    role,
    ipAddress,
    name,
    namespace,
    labels: labelsOf(metadata),
    interceptionMode: interceptionModeOf(metadata),
    ...(httpProxyPort === undefined ? {} : { httpProxyPort }),
    ...(applicationAddress === undefined ? {} : { applicationAddress }),
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(version === undefined ? {} : { version }),
    ...generatorOf(metadata),
    ...(node.user_agent_name === "envoy" ? { isEnvoy: true } : {}),
  };
}

/** What Envoy says of itself. */
function buildVersion({ user_agent_build_version: build }: NodeMessage): string | undefined {
  const version = build?.version;
  if (!version) return undefined;
  const { major_number: major, minor_number: minor, patch } = version;
  return [major, minor, patch].map((part) => part ?? 0).join(".");
}

type Json = Readonly<Record<string, unknown>>;

function metadataOf(metadata: unknown): Json {
  if (metadata === null || metadata === undefined) return {};
  if (!isObject(metadata)) throw invalid("metadata", "must be an object");
  return isObject(metadata["fields"]) ? structToJson(metadata) : metadata;
}

function labelsOf(metadata: Json): StringMap {
  const labels = metadata["LABELS"];
  if (labels === undefined || labels === null) return {};
  if (!isObject(labels)) throw invalid("metadata.LABELS", "must be an object");
  for (const [key, value] of Object.entries(labels)) {
    if (typeof value !== "string") throw invalid(`metadata.LABELS.${key}`, "must be text");
  }
  return labels as StringMap;
}

/** Istio's default is REDIRECT. */
function interceptionModeOf(metadata: Json): ProxyNode["interceptionMode"] {
  const text = textOf(metadata, "INTERCEPTION_MODE") ?? "REDIRECT";
  const mode = INTERCEPTION_MODES.find((known) => known === text);
  if (mode !== undefined) return mode;
  throw invalid(
    "metadata.INTERCEPTION_MODE",
    `must be one of ${INTERCEPTION_MODES.join(", ")} (found ${JSON.stringify(text)})`,
  );
}

/** Istio's generators; those for tools (`api`, `event`) are not served. */
function generatorOf(metadata: Json): Pick<ProxyNode, "generator"> {
  const generator = textOf(metadata, "GENERATOR");
  if (generator === undefined) return {};
  if (generator === "grpc") return { generator };
  throw invalid("metadata.GENERATOR", `must be grpc (found ${JSON.stringify(generator)})`);
}

function portOf(metadata: Json, key: string): number | undefined {
  const value = metadata[key];
  if (value === undefined || value === null || value === "") return undefined;
  const port = Number(value);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw invalid(`metadata.${key}`, `must be 1..65535 (found ${JSON.stringify(value)})`);
}

function textOf(metadata: Json, key: string): string | undefined {
  const value = metadata[key];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw invalid(`metadata.${key}`, `must be text (found ${JSON.stringify(value)})`);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isIpAddress(text: string): boolean {
  const isV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text);
  return isV4 || (text.includes(":") && /^[0-9a-fA-F:.]+$/.test(text));
}

function invalid(field: string, message: string): SerinError {
  return new SerinError("SERIN_INVALID_XDS", `node.${field}: ${message}`, { source: "remote" });
}
