import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type MessageTypes,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../../xds/index.ts";
import type { MeshModel } from "./model.ts";
import { destinationRulesFor } from "./model-destination-rules.ts";
import { NOWHERE } from "./model-locality.ts";
import { policiesFor } from "./model-security.ts";
import { type Client, type MeshView, viewKey, viewOf } from "./model-view.ts";
import type { ProxyNode } from "./proxy-node.ts";
import { credentialSecrets } from "./translate/credentials.ts";
import {
  gatewayCredentials,
  gatewayListener,
  gatewayPorts,
  gatewayRoutes,
} from "./translate/gateway.ts";
import { inboundCluster, inboundListener, inboundPorts } from "./translate/inbound.ts";
import { JoinedMap } from "./translate/joined-map.ts";
import { listenerClusters, namedClusters } from "./translate/named-clusters.ts";
import { BLACK_HOLE_CLUSTER, inboundClusterName, PASSTHROUGH_CLUSTER } from "./translate/names.ts";
import {
  emptyCluster,
  outboundClusters,
  passthroughCluster,
} from "./translate/outbound-clusters.ts";
import { httpProxyListener } from "./translate/outbound-listener.ts";
import { keySetClusters } from "./translate/request-authentication.ts";
import { createResourceEncoder, type ResourceEncoder } from "./translate/resource-encoder.ts";
import { httpProxyRoutes } from "./translate/virtual-hosts.ts";
import type { ResourceSet, XdsResource } from "./xds-resource.ts";

export interface TranslateOptions {
  /** Whether proxies write an access log. */
  readonly accessLog: boolean;
}

/** The translation of one model. It encodes what proxies share once, when it is first asked for. */
export interface Translator {
  /** Everything a proxy may ask for, secrets apart. Equal content is the same object. */
  resourcesFor(node: ProxyNode): ResourceSet;
  /** The translator of the next model; resources that did not change keep their objects. */
  next(model: MeshModel): Translator;
}

/** A translator for a model. */
export function createTranslator(model: MeshModel, options: TranslateOptions): Translator {
  return translatorOf(model, options, createResourceEncoder());
}

/** The resources of one proxy. For many proxies of one model use `createTranslator`. */
export function translate(
  model: MeshModel,
  node: ProxyNode,
  options: TranslateOptions,
): ResourceSet {
  return createTranslator(model, options).resourcesFor(node);
}

const CLUSTER = "envoy.config.cluster.v3.Cluster";
const ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER = "envoy.config.listener.v3.Listener";
const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";
const ROUTES = "envoy.config.route.v3.RouteConfiguration";

type RouteConfiguration = MessageTypes[typeof ROUTES];
type Resources = ReadonlyMap<string, XdsResource>;

/** A route configuration with the clusters it names. */
interface Routes {
  readonly resource: XdsResource;
  readonly clusters: ReadonlySet<string>;
}

/** What all proxies of a namespace share. */
interface OutboundResources {
  readonly clusters: Resources;
  readonly endpoints: Resources;
}

function translatorOf(
  model: MeshModel,
  options: TranslateOptions,
  encoder: ResourceEncoder,
): Translator {
  const views = new Map<string, MeshView>();
  const outboundByClient = new Map<string, OutboundResources>();
  const httpProxyByClient = new Map<string, Routes>();
  const sourceLabels = sourceLabelsOf(model);

  const outboundOf = (node: ProxyNode, view: MeshView, key: string): OutboundResources => {
    // With redirection the original destination is known; else only what a request asks for is.
    const isBound = node.interceptionMode === "NONE";
    return remembered(outboundByClient, `${isBound} ${key}`, () =>
      outbound(view, node.namespace, isBound, encoder),
    );
  };

  const encoded = (config: RouteConfiguration): Routes => ({
    resource: encoder.resource(ROUTES, config.name ?? "", config),
    clusters: namedClusters(config),
  });

  const httpProxyOf = (node: ProxyNode, view: MeshView, clientKey: string): Routes => {
    // Routes depend on the client's namespace and on the labels that VirtualServices ask for.
    const labels = sourceLabels.map((key) => node.labels[key] ?? null);
    const key = JSON.stringify([clientKey, ...labels]);
    return remembered(httpProxyByClient, key, () => encoded(httpProxyRoutes(view, node)));
  };

  return {
    resourcesFor(node) {
      const client = clientOf(model, node);
      const key = viewKey(model, client);
      const view = remembered(views, key, () => viewOf(model, client));
      const shared = outboundOf(node, view, key);
      // Redirected traffic needs other listeners (one for each direction, original destinations);
      // binding the pod's ports there would take them from the application.
      const isBound = node.interceptionMode === "NONE";
      const inbound = node.role === "sidecar" && isBound ? inboundPorts(view, node) : [];
      const gateway = node.role === "router" ? gatewayPorts(model, node) : [];
      const proxyPort = isBound ? node.httpProxyPort : undefined;
      const listeners = [
        ...inbound.map((port) => inboundListener(port, node, model, options)),
        ...gateway.flatMap((port) => gatewayListener(port, node, view, options) ?? []),
        ...(proxyPort === undefined
          ? []
          : [httpProxyListener({ ...node, labels: client.labels }, proxyPort, options, model)]),
      ];
      const routes = [
        ...(proxyPort === undefined ? [] : [httpProxyOf(node, view, key)]),
        ...gateway.flatMap((port) => gatewayRoutes(port, node, view).map(encoded)),
      ];
      const ownClusters = [
        ...inbound.map((port) => inboundCluster(port, node)),
        ...keySetClusters(
          policiesFor(model.requestAuthentications, client, model.rootNamespace),
          model,
        ),
        // A route may name a subset or a host that does not exist. Its cluster is there and empty,
        // so that what is sent is complete, and one wrong name holds up nobody else's change.
        ...missingFrom(shared.clusters, [
          ...routes.map((each) => each.clusters),
          listenerClusters(listeners),
        ])
          .filter((name) => !inbound.some((port) => inboundClusterName(port.number) === name))
          .map(emptyCluster),
      ];
      return new Map<ResourceTypeUrl, Resources>([
        [
          CLUSTER_TYPE,
          new JoinedMap(
            shared.clusters,
            byName(ownClusters.map((each) => encoder.resource(CLUSTER, each.name ?? "", each))),
          ),
        ],
        [ENDPOINT_TYPE, shared.endpoints],
        [
          LISTENER_TYPE,
          byName(listeners.map((each) => encoder.resource(LISTENER, each.name ?? "", each))),
        ],
        [ROUTE_TYPE, byName(routes.map((each) => each.resource))],
        [
          SECRET_TYPE,
          byName(
            credentialSecrets(
              model.credentials,
              node.namespace,
              credentialNames(view, node, model),
            ).map((each) => encoder.resource(SECRET, each.name ?? "", each)),
          ),
        ],
      ]);
    },
    next: (nextModel) => translatorOf(nextModel, options, encoder.next()),
  };
}

function outbound(
  model: MeshView,
  namespace: string,
  isBound: boolean,
  encoder: ResourceEncoder,
): OutboundResources {
  const clusters = [
    encoder.resource(CLUSTER, BLACK_HOLE_CLUSTER, emptyCluster(BLACK_HOLE_CLUSTER)),
    encoder.resource(CLUSTER, PASSTHROUGH_CLUSTER, passthroughCluster(isBound)),
  ];
  const endpoints: XdsResource[] = [];
  const ruleFor = destinationRulesFor(model.destinationRules, namespace, model.rootNamespace);
  for (const service of model.services) {
    for (const { name, cluster, assignment } of outboundClusters(
      service,
      ruleFor(service),
      model,
      isBound,
    )) {
      clusters.push(encoder.resource(CLUSTER, name, cluster));
      if (assignment === undefined) continue;
      endpoints.push(encoder.resource(ENDPOINTS, name, assignment));
    }
  }
  return { clusters: byName(clusters), endpoints: byName(endpoints) };
}

/** The credentials a proxy may ask for: a gateway's servers', and those of DestinationRules for it. */
function credentialNames(view: MeshView, node: ProxyNode, model: MeshModel): readonly string[] {
  const own = node.role === "router" ? gatewayCredentials(model, node) : [];
  return [...own, ...view.credentialNames];
}

/** What the API says of a pod's labels counts; a proxy may still tell older ones. */
function clientOf(model: MeshModel, { role, namespace, name, labels }: ProxyNode): Client {
  const pod = model.workloads.get(`${namespace}/${name}`);
  return {
    role,
    namespace,
    labels: pod?.labels ?? labels,
    locality: pod?.locality ?? NOWHERE,
  };
}

function missingFrom(
  clusters: Resources,
  named: readonly ReadonlySet<string>[],
): readonly string[] {
  const missing = new Set<string>();
  for (const each of named) {
    for (const name of each) if (!clusters.has(name)) missing.add(name);
  }
  return [...missing].sort();
}

/** The labels that any VirtualService tells clients apart by, sorted. */
function sourceLabelsOf(model: MeshModel): readonly string[] {
  const keys = model.virtualServices.flatMap((virtualService) =>
    virtualService.http.flatMap((route) =>
      (route.match ?? []).flatMap((match) => Object.keys(match.sourceLabels ?? {})),
    ),
  );
  return [...new Set(keys)].sort();
}

function byName(resources: readonly XdsResource[]): Resources {
  return new Map(resources.map((resource) => [resource.name, resource]));
}

function remembered<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make();
  cache.set(key, made);
  return made;
}
