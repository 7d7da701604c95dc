import {
  type KubeObject,
  parseGatewayClass,
  parseGrpcRoute,
  parseHttpRoute,
  parseKubernetesGateway,
  parseReferenceGrant,
  parseTcpRoute,
  parseTlsRoute,
} from "../../api/index.ts";
import { convertGatewayApi, type GatewayApi, NO_GATEWAY_API } from "./gateway-api/convert.ts";
import {
  ignoredHttpRouteFields,
  ignoredKubernetesGatewayFields,
} from "./gateway-api/ignored-fields.ts";
import { type ApiObject, apiObject, apiService } from "./gateway-api/objects.ts";
import type { MeshObjects } from "./mesh-objects.ts";
import { type Credentials, keyPairOf, trustedCaOf } from "./model-credentials.ts";
import type { ModelMemory } from "./model-memory.ts";
import { labelsOf, type ProblemLog } from "./model-object.ts";
import type { MeshService } from "./model-services.ts";

/** What of the rest of the model Gateway API's objects are translated by. */
export interface GatewayApiContext {
  readonly serviceByHost: ReadonlyMap<string, MeshService>;
  /** Every `namespace/host`; the same list while nothing changed. */
  readonly hosts: readonly string[];
  readonly credentials: Credentials;
}

/** The part of the model that Gateway API's objects make; made anew when anything it names changed. */
export function gatewayApiFrom(
  objects: MeshObjects,
  { serviceByHost, hosts, credentials }: GatewayApiContext,
  memory: ModelMemory,
  log: ProblemLog,
): GatewayApi {
  const read = <Spec>(
    kind: keyof MeshObjects,
    parse: (object: KubeObject) => Spec,
  ): readonly ApiObject<Spec>[] =>
    memory.sameItems(
      `${kind} in order`,
      memory
        .each(kind, undefined, objects[kind], (object) => apiObject(object, parse), keyOf)
        .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
    );
  const classes = read("gatewayClasses", parseGatewayClass);
  const gateways = read("kubernetesGateways", parseKubernetesGateway);
  const httpRoutes = read("httpRoutes", parseHttpRoute);
  const grpcRoutes = read("grpcRoutes", parseGrpcRoute);
  const tcpRoutes = read("tcpRoutes", parseTcpRoute);
  const tlsRoutes = read("tlsRoutes", parseTlsRoute);
  const grants = read("referenceGrants", parseReferenceGrant);
  const all = [
    ...[...classes, ...gateways, ...httpRoutes, ...grpcRoutes],
    ...[...tcpRoutes, ...tlsRoutes, ...grants],
  ];
  if (all.length === 0) return NO_GATEWAY_API;
  const services = memory.each("apiServices", undefined, objects.services, apiService, keyOf);
  const namespaces = memory.each(
    "apiNamespaces",
    undefined,
    objects.namespaces,
    ({ metadata }) => ({ namespace: "", name: metadata.name, labels: labelsOf(metadata.labels) }),
    keyOf,
  );
  const isReady = (host: string): boolean =>
    serviceByHost
      .get(host)
      ?.ports.some(({ endpoints }) => endpoints.some((each) => each.isReady)) ?? false;
  // Readiness matters of the Services that Gateways are behind, and changes more often than all else.
  const ready =
    gateways.length === 0 ? [] : services.map(({ host }) => host).filter((host) => isReady(host));
  const readyHosts = memory.sameItems("apiReady", ready);
  const inputs = [
    ...[services, namespaces, hosts, readyHosts, credentials],
    ...[classes, gateways, httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, grants],
  ];
  const made = memory.part("gatewayApi", inputs, log, (own) => {
    reportProblems(all, own);
    for (const { spec, ...object } of [...httpRoutes, ...grpcRoutes]) {
      if (spec !== undefined) report(object, ignoredHttpRouteFields(spec), own);
    }
    for (const { spec, ...object } of gateways) {
      if (spec !== undefined) report(object, ignoredKubernetesGatewayFields(spec), own);
    }
    const isKnown = new Set(hosts.map((key) => key.slice(key.indexOf("/") + 1)));
    const isUp = new Set(readyHosts);
    return convertGatewayApi({
      ...{ classes, gateways, httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, grants },
      namespaces: new Map(namespaces.map(({ name, labels }) => [name, labels])),
      services: new Map(services.map((each) => [`${each.namespace}/${each.name}`, each])),
      isHost: (host) => isKnown.has(host),
      isReady: (host) => isUp.has(host),
      missingCertificate: (namespace, name, asksClients) => {
        if (keyPairOf(credentials, namespace, name) === undefined) {
          return `Secret ${namespace}/${name} with a tls.crt and its tls.key`;
        }
        return asksClients && trustedCaOf(credentials, namespace, name) === undefined
          ? `ca.crt in Secret ${namespace}/${name} or ${name}-cacert`
          : undefined;
      },
    });
  });
  return {
    ...made,
    gateways: memory.equalItems("apiGateways", made.gateways, keyOf),
    virtualServices: memory.equalItems("apiVirtualServices", made.virtualServices, keyOf),
  };
}

function keyOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

function reportProblems(all: readonly ApiObject<unknown>[], log: ProblemLog): void {
  for (const { problem, ...object } of all) {
    if (problem !== undefined) report(object, [problem], log);
  }
}

function report(
  { kind, namespace, name }: Pick<ApiObject<unknown>, "kind" | "namespace" | "name">,
  messages: readonly string[],
  log: ProblemLog,
): void {
  const object = {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind,
    metadata: { namespace, name },
  };
  for (const message of messages) log.report(object, message);
}
