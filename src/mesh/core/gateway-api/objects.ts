import type {
  GatewayClassSpec,
  GrpcRouteSpec,
  HttpRouteSpec,
  KubeObject,
  KubernetesGatewaySpec,
  ReferenceGrantSpec,
  StringMap,
  TcpRouteSpec,
  TlsRouteSpec,
} from "../../../api/index.ts";
import { messageOf } from "../../../base/index.ts";
import { compare, labelsOf, listOf, objectOf, portOf, textOf } from "../model-object.ts";
import { SERVICE_DOMAIN } from "../model-services.ts";

/** An object of Gateway API without its status: what is written there changes nothing. */
export interface ApiObject<Spec> {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** undefined when it is not valid; `problem` says why. */
  readonly spec: Spec | undefined;
  readonly problem: string | undefined;
}

export type RouteSpec = HttpRouteSpec | GrpcRouteSpec | TcpRouteSpec | TlsRouteSpec;

/** A route of any kind whose spec is valid. */
export type ValidRoute =
  | {
      readonly type: "HTTPRoute";
      readonly object: ApiObject<HttpRouteSpec>;
      readonly spec: HttpRouteSpec;
    }
  | {
      readonly type: "GRPCRoute";
      readonly object: ApiObject<GrpcRouteSpec>;
      readonly spec: GrpcRouteSpec;
    }
  | {
      readonly type: "TCPRoute";
      readonly object: ApiObject<TcpRouteSpec>;
      readonly spec: TcpRouteSpec;
    }
  | {
      readonly type: "TLSRoute";
      readonly object: ApiObject<TlsRouteSpec>;
      readonly spec: TlsRouteSpec;
    };
export type RouteType = ValidRoute["type"];

/** Everything that the translation of Gateway API goes by. */
export interface GatewayApiInput {
  readonly classes: readonly ApiObject<GatewayClassSpec>[];
  readonly gateways: readonly ApiObject<KubernetesGatewaySpec>[];
  readonly httpRoutes: readonly ApiObject<HttpRouteSpec>[];
  readonly grpcRoutes: readonly ApiObject<GrpcRouteSpec>[];
  readonly tcpRoutes: readonly ApiObject<TcpRouteSpec>[];
  readonly tlsRoutes: readonly ApiObject<TlsRouteSpec>[];
  readonly grants: readonly ApiObject<ReferenceGrantSpec>[];
  /** Labels of namespaces. */
  readonly namespaces: ReadonlyMap<string, StringMap>;
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<string, ApiService>;
  /** Every host of the mesh, those of ServiceEntries too. */
  readonly isHost: (host: string) => boolean;
  /** Whether anything ready is behind a host. */
  readonly isReady: (host: string) => boolean;
  /** What the Secret lacks to serve TLS with, and to ask clients for certificates; undefined = nothing. */
  readonly missingCertificate: (
    namespace: string,
    name: string,
    asksClients: boolean,
  ) => string | undefined;
}

/** A Kubernetes Service, as far as references to it go. */
export interface ApiService {
  readonly namespace: string;
  readonly name: string;
  readonly host: string;
  readonly ports: readonly number[];
  readonly selector: StringMap;
  /** Addresses that a load balancer gave it. */
  readonly ingress: readonly { readonly type: "IPAddress" | "Hostname"; readonly value: string }[];
}

/** Reads an object of Gateway API. Never throws: an invalid one says so in `problem`. */
export function apiObject<Spec>(
  object: KubeObject,
  parse: (object: KubeObject) => Spec,
): ApiObject<Spec> {
  const { namespace = "", name, generation = 0, creationTimestamp = "" } = object.metadata;
  const fields = { kind: object.kind, namespace, name, generation, createdAt: creationTimestamp };
  try {
    return { ...fields, spec: parse(object), problem: undefined };
  } catch (error) {
    return { ...fields, spec: undefined, problem: messageOf(error) };
  }
}

/** Reads a Service; what is no port or label is left out. */
export function apiService(object: KubeObject): ApiService {
  const { namespace = "default", name } = object.metadata;
  const spec = objectOf(object["spec"]);
  const balancer = objectOf(objectOf(object["status"])["loadBalancer"]);
  return {
    namespace,
    name,
    host: `${name}.${namespace}.${SERVICE_DOMAIN}`,
    ports: listOf(spec["ports"]).flatMap((port) => portOf(objectOf(port)["port"]) ?? []),
    selector: labelsOf(spec["selector"]),
    ingress: listOf(balancer["ingress"]).flatMap((each) => {
      const { ip, hostname } = objectOf(each);
      const address = textOf(ip);
      const host = textOf(hostname);
      return [
        ...(address === undefined ? [] : [{ type: "IPAddress" as const, value: address }]),
        ...(host === undefined ? [] : [{ type: "Hostname" as const, value: host }]),
      ];
    }),
  };
}

/** Gateway API's order of precedence: the oldest, then by namespace and name. */
export function byPrecedence(a: ApiObject<unknown>, b: ApiObject<unknown>): number {
  return (
    compare(a.createdAt, b.createdAt) ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name)
  );
}
