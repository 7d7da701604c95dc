import type { MessageTypes } from "../../../xds/index.ts";
import type { Json } from "../model-object.ts";
import type { MeshView } from "../model-view.ts";
import type { Workload } from "../model-workloads.ts";

/** A request as one proxy has it before it. */
export interface RequestHead {
  readonly method: string;
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly scheme: "http" | "https";
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What authorization knows of a connection. */
export interface ConnectionFacts {
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly directRemoteIp: string;
  readonly remoteIp: string;
  readonly requestedServerName: string;
  /** undefined without mutual TLS. */
  readonly peer:
    | {
        readonly uris: readonly string[];
        readonly dnsNames: readonly string[];
        readonly subject: string;
      }
    | undefined;
}

type Manager =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"];

/**
 * What a proxy would make of pieces of its configuration: the one who answers is the data plane's own
 * code, so that nothing is explained otherwise than it happens.
 */
export interface DataPlane {
  /** Name of the virtual host that an authority belongs to. */
  virtualHost(
    table: MessageTypes["envoy.config.route.v3.RouteConfiguration"],
    authority: string,
  ): string | undefined;
  routeMatches(
    match: MessageTypes["envoy.config.route.v3.RouteMatch"],
    request: RequestHead,
  ): boolean;
  /** undefined: a path that is refused. */
  normalizedTarget(
    manager: Pick<Manager, "normalize_path" | "merge_slashes" | "path_with_escaped_slashes_action">,
    target: string,
  ): string | undefined;
  forwardedTarget(
    match: MessageTypes["envoy.config.route.v3.RouteMatch"],
    action: MessageTypes["envoy.config.route.v3.RouteAction"],
    target: string,
  ): string;
  /** 64 bits; undefined when nothing that is hashed is in the request, or it is of the connection. */
  requestHash(
    policies: readonly MessageTypes["envoy.config.route.v3.RouteAction.HashPolicy"][],
    request: RequestHead,
  ): bigint | undefined;
  /** The address that a hash leads to; undefined for clusters that do not go by hashes. */
  hashedHost(
    cluster: MessageTypes["envoy.config.cluster.v3.Cluster"],
    hosts: readonly { readonly address: string; readonly weight: number }[],
    hash: bigint,
  ): string | undefined;
  /** What the JWT filter answers (`failure`), and the metadata that it leaves. */
  tokens(
    filter: MessageTypes["envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"],
    request: RequestHead,
  ): { readonly failure: string | undefined; readonly metadata: Json };
  policyMatches(
    policy: MessageTypes["envoy.config.rbac.v3.Policy"],
    request: RequestHead,
    connection: ConnectionFacts,
    /** Of the JWT filter. */
    tokens: Json,
  ): boolean;
}

/** A request of which the whole decision is asked for. */
export interface Question {
  readonly source: Workload;
  /** The mesh as the source sees it. */
  readonly view: MeshView;
  readonly request: RequestHead;
  /**
   * Whether the source's connections are redirected to its proxy: then a host without a port means port
   * 80, where the application connects to. An application that is told of its proxy leaves that to it.
   */
  readonly isRedirected: boolean;
  /** Claims of a token that is taken to be valid, in place of one in the request. */
  readonly claims: Json | undefined;
  /** `cluster.local/ns/default/sa/productpage`, in place of the source's own. */
  readonly sourcePrincipal: string | undefined;
  readonly dataPlane: DataPlane;
  /** What the source's proxy found out about an endpoint; undefined: it was not asked. */
  readonly healthOf: (cluster: string, address: string) => EndpointHealth | undefined;
}

/** EJECTED: by outlier detection; UNHEALTHY: by health checks. */
export type EndpointHealth = "HEALTHY" | "EJECTED" | "UNHEALTHY";
