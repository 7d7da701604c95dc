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
import { areSame } from "./model-memory.ts";
import { policiesFor } from "./model-security.ts";
import { type Client, labelsOfFailover, type MeshView, viewKey, viewOf } from "./model-view.ts";
import type { ProxyNode } from "./proxy-node.ts";
import { changedNames } from "./resource-changes.ts";
import { missingClusters, noteReferences } from "./snapshot-references.ts";
import { accessLogsFor } from "./translate/access-log.ts";
import { type CredentialRef, credentialSecrets } from "./translate/credentials.ts";
import { withEnvoyStats } from "./translate/envoy-stats.ts";
import {
  gatewayCredentials,
  gatewayListener,
  gatewayPorts,
  gatewayRoutes,
} from "./translate/gateway.ts";
import { emptyGrpcCluster, grpcClusters } from "./translate/grpc/grpc-clusters.ts";
import { grpcListeners, grpcServerListeners } from "./translate/grpc/grpc-listeners.ts";
import { grpcRoutes } from "./translate/grpc/grpc-routes.ts";
import {
  inboundCluster,
  inboundListener,
  inboundPassthroughCluster,
  inboundPorts,
} from "./translate/inbound.ts";
import { JoinedMap } from "./translate/joined-map.ts";
import { listenerClusters, namedClusters } from "./translate/named-clusters.ts";
import { BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER } from "./translate/names.ts";
import {
  emptyCluster,
  outboundClusters,
  passthroughCluster,
} from "./translate/outbound-clusters.ts";
import { httpProxyListener } from "./translate/outbound-listener.ts";
import { outboundPorts } from "./translate/redirected-ports.ts";
import { isRedirected } from "./translate/redirection.ts";
import { keySetClusters } from "./translate/request-authentication.ts";
import { createResourceEncoder, type ResourceEncoder } from "./translate/resource-encoder.ts";
import {
  placeOf,
  ServiceResourceCache,
  type ServiceResources,
} from "./translate/service-resources.ts";
import { shapeOf } from "./translate/service-shape.ts";
import { httpProxyRoutes, redirectedRoutes } from "./translate/virtual-hosts.ts";
import { virtualInboundListener } from "./translate/virtual-inbound.ts";
import { virtualOutboundListeners } from "./translate/virtual-outbound.ts";
import type { ResourceSet, XdsResource } from "./xds-resource.ts";

export interface TranslateOptions {
  /** Whether proxies write an access log. */
  readonly accessLog: boolean;
}

/** The translation of one model. It encodes what proxies share once, when it is first asked for. */
export interface Translator {
  /**
   * Everything a proxy may ask for, secrets apart. Equal content is the same object, for maps of
   * resources too: a proxy that nothing changed for gets the very set it had.
   */
  resourcesFor(node: ProxyNode): ResourceSet;
  /** The translator of the next model; what its changes do not touch is taken over. */
  next(model: MeshModel): Translator;
}

/** A translator for a model. */
export function createTranslator(model: MeshModel, options: TranslateOptions): Translator {
  return translatorOf(model, options, createResourceEncoder(), {
    services: new ServiceResourceCache(outboundClusters),
    grpcServices: new ServiceResourceCache(grpcClusters),
    shared: new Map(),
    nodes: new WeakMap(),
    groups: new WeakMap(),
  });
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
const LISTENER = "envoy.config.listener.v3.Listener";
const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";
const ROUTES = "envoy.config.route.v3.RouteConfiguration";

type RouteConfiguration = MessageTypes[typeof ROUTES];
type Resources = ReadonlyMap<string, XdsResource>;

/** A route configuration. */
interface Routes {
  readonly resource: XdsResource;
}

/** What all proxies of a namespace share. */
interface OutboundResources {
  readonly clusters: Resources;
  readonly endpoints: Resources;
}

/** What clients without a proxy share. */
interface GrpcResources extends OutboundResources {
  readonly listeners: Resources;
  readonly routes: Resources;
}

const NO_RESOURCES: Resources = new Map();

/** What only one proxy gets, beside what it shares. */
interface NodeResources {
  readonly clusters: Resources;
  readonly listeners: Resources;
  readonly routes: Resources;
  readonly secrets: Resources;
}

/** Something made of inputs, to be taken over while those are the same objects. */
interface Made {
  readonly inputs: readonly unknown[];
  readonly value: unknown;
}

/** What outlives a model. */
interface Memory {
  readonly services: ServiceResourceCache;
  readonly grpcServices: ServiceResourceCache;
  /** By what it is and for which clients: views, outbound resources, routes. */
  readonly shared: ReadonlyMap<string, Made>;
  readonly nodes: WeakMap<ProxyNode, { readonly made: Made; readonly set: ResourceSet }>;
  readonly groups: WeakMap<ProxyNode, Made>;
}

/** Which group of clients a proxy belongs to: those that share views, clusters and routes. */
interface Membership {
  readonly client: Client;
  readonly viewKey: string;
  readonly id: string;
}

/** What a group of clients shares. */
interface Group {
  readonly view: MeshView;
  readonly outer: OutboundResources;
  /** Of the HTTP proxy listener, or of the ports that connections are redirected from. */
  readonly routes: readonly Routes[];
  /** What listeners for redirected connections go by. */
  readonly shapes: readonly unknown[] | undefined;
}

function translatorOf(
  model: MeshModel,
  options: TranslateOptions,
  encoder: ResourceEncoder,
  memory: Memory,
): Translator {
  const current = new Map<string, Made>();
  const checked = new Map<string, unknown>();
  const groups = new Map<string, Group>();
  const sourceLabels = sourceLabelsOf(model);
  const failoverLabels = labelsOfFailover(model);

  /** Looked at once per model; made anew when an input is another object than last time. */
  const shared = <T>(key: string, inputsOf: () => readonly unknown[], make: (before?: T) => T): T =>
    remembered(checked, key, () => {
      const before = memory.shared.get(key);
      const inputs = inputsOf();
      const isSame = before !== undefined && areSame(before.inputs, inputs);
      const made = isSame ? before : { inputs, value: make(before?.value as T | undefined) };
      current.set(key, made);
      return made.value;
    }) as T;

  const viewFor = (client: Client, key: string): MeshView =>
    shared<MeshView>(
      `view ${key}`,
      // Every model's view is another one, whose unchanged lists are those of the last.
      () => [model],
      (before) => {
        const view = viewOf(model, client);
        if (before === undefined) return view;
        const { services, virtualServices, destinationRules } = view;
        return {
          ...view,
          services: areSame(before.services, services) ? before.services : services,
          virtualServices: areSame(before.virtualServices, virtualServices)
            ? before.virtualServices
            : virtualServices,
          destinationRules: areSame(before.destinationRules, destinationRules)
            ? before.destinationRules
            : destinationRules,
        };
      },
    );

  const outboundOf = (node: ProxyNode, view: MeshView, key: string): OutboundResources => {
    // With redirection the original destination is known; else only what a request asks for is.
    const isBound = node.interceptionMode === "NONE";
    return shared<OutboundResources>(
      `outbound ${isBound} ${key}`,
      () => [view.services, view.destinationRules, view.settings, view.credentials],
      (before) => {
        const ruleFor = destinationRulesFor(
          view.destinationRules,
          node.namespace,
          model.rootNamespace,
        );
        const place = placeOf(view, failoverLabels, isBound);
        const made = outbound(isBound, encoder, view.services, (service) =>
          memory.services.resourcesOf(service, ruleFor(service), view, place, isBound, encoder),
        );
        return {
          clusters: kept(before?.clusters, made.clusters),
          endpoints: kept(before?.endpoints, made.endpoints),
        };
      },
    );
  };

  const encoded = (config: RouteConfiguration): Routes => {
    const resource = encoder.resource(ROUTES, config.name ?? "", config);
    const clusters = namedClusters(config);
    noteReferences(resource, { clusters, routes: new Set() });
    return { resource };
  };

  /** Of the services all but their endpoints: routes do not know those. */
  const shapesOf = (view: MeshView, key: string): readonly unknown[] =>
    shared<readonly string[]>(
      `shapes ${key}`,
      () => [view.services],
      (before) => {
        const shapes = view.services.map(shapeOf);
        return before !== undefined && areSame(before, shapes) ? before : shapes;
      },
    );

  const routesOf = (
    node: ProxyNode,
    view: MeshView,
    { viewKey, id }: Membership,
  ): readonly Routes[] =>
    shared<readonly Routes[]>(
      `routes ${id}`,
      () => [
        shapesOf(view, viewKey),
        view.virtualServices,
        view.destinationRules,
        view.settings,
        view.sidecar,
      ],
      () => {
        if (isRedirected(node)) {
          return redirectedRoutes(view, node, outboundPorts(view)).map(encoded);
        }
        const hasProxy = node.interceptionMode === "NONE" && node.httpProxyPort !== undefined;
        return hasProxy ? [encoded(httpProxyRoutes(view, node))] : [];
      },
    );

  /** Asked for every proxy with every push: looked at anew only when something it goes by changed. */
  const membershipOf = (node: ProxyNode): Membership => {
    const inputs = [
      model.workloads.get(`${node.namespace}/${node.name}`),
      ...[model.destinationRules, model.settings, model.sidecars],
      ...sourceLabels,
    ];
    const before = memory.groups.get(node);
    if (before !== undefined && areSame(before.inputs, inputs)) return before.value as Membership;
    const client = clientOf(model, node);
    const key = viewKey(model, client);
    // Routes depend on the client's namespace and on the labels that VirtualServices ask for.
    const labels = sourceLabels.map((name) => node.labels[name] ?? null);
    const { interceptionMode, httpProxyPort } = node;
    const hasProxy = httpProxyPort !== undefined;
    const kind = node.generator ?? interceptionMode;
    const id = JSON.stringify([key, kind, hasProxy, ...labels]);
    const value: Membership = { client, viewKey: key, id };
    memory.groups.set(node, { inputs, value });
    return value;
  };

  const groupOf = (node: ProxyNode, membership: Membership): Group =>
    remembered(groups, membership.id, () => {
      const view = viewFor(membership.client, membership.viewKey);
      const outer = outboundOf(node, view, membership.viewKey);
      return {
        view,
        outer,
        routes: routesOf(node, view, membership),
        shapes: isRedirected(node) ? shapesOf(view, membership.viewKey) : undefined,
      };
    });

  const ownOf = (
    node: ProxyNode,
    client: Client,
    view: MeshView,
    outer: OutboundResources,
    outbound: readonly Routes[],
  ): NodeResources => {
    const isBound = node.interceptionMode === "NONE";
    const logs = (direction: "inbound" | "outbound") => ({
      accessLogs: accessLogsFor(model, client, direction, options.accessLog),
    });
    const [server, caller] = [logs("inbound"), logs("outbound")];
    const inbound = node.role === "sidecar" ? inboundPorts(view, node) : [];
    const gateway = node.role === "router" ? gatewayPorts(model, node) : [];
    const proxyPort = isBound ? node.httpProxyPort : undefined;
    const all = [
      // Binding the pod's ports would take them from the application whose traffic is redirected.
      ...(isRedirected(node)
        ? [
            virtualInboundListener(inbound, node, model, server),
            ...virtualOutboundListeners(view, { ...node, labels: client.labels }, caller),
          ]
        : inbound.map((port) => inboundListener(port, node, model, server))),
      ...gateway.flatMap((port) => gatewayListener(port, node, view, caller) ?? []),
      ...(proxyPort === undefined
        ? []
        : [httpProxyListener({ ...node, labels: client.labels }, proxyPort, caller, model)]),
    ];
    const pod = model.workloads.get(`${node.namespace}/${node.name}`);
    const listeners = node.isEnvoy === true ? all.map((each) => withEnvoyStats(each, pod)) : all;
    const routes = [
      ...outbound,
      ...gateway.flatMap((port) => gatewayRoutes(port, node, view).map(encoded)),
    ];
    const known = [
      ...inbound.map((port) => inboundCluster(port, node)),
      ...(isRedirected(node) ? [inboundPassthroughCluster(node)] : []),
    ];
    const ownClusters = [
      ...known,
      ...keySetClusters(
        policiesFor(model.requestAuthentications, client, model.rootNamespace),
        model,
      ),
      // A route may name a subset or a host that does not exist. Its cluster is there and empty,
      // so that what is sent is complete, and one wrong name holds up nobody else's change.
      ...missingFrom(outer.clusters, [
        ...routes.map((each) => missingClusters(each.resource, outer.clusters)),
        listenerClusters(listeners),
      ])
        .filter((missing) => !known.some(({ name }) => name === missing))
        .map(emptyCluster),
    ];
    return {
      clusters: byName(ownClusters.map((each) => encoder.resource(CLUSTER, each.name ?? "", each))),
      listeners: byName(listeners.map((each) => encoder.resource(LISTENER, each.name ?? "", each))),
      routes: byName(routes.map((each) => each.resource)),
      secrets: byName(
        credentialSecrets(
          model.credentials,
          node.namespace,
          credentialNames(view, node, model),
        ).map((each) => encoder.resource(SECRET, each.name ?? "", each)),
      ),
    };
  };

  /** Clusters and endpoints, for clients without a proxy. */
  const grpcOutboundOf = (node: ProxyNode, view: MeshView, key: string): OutboundResources =>
    shared<OutboundResources>(
      `grpc outbound ${key}`,
      () => [view.services, view.destinationRules, view.settings, view.credentials],
      (before) => {
        const { namespace } = node;
        const ruleFor = destinationRulesFor(view.destinationRules, namespace, model.rootNamespace);
        const place = placeOf(view, failoverLabels, false);
        const all = view.services.map((service) =>
          memory.grpcServices.resourcesOf(service, ruleFor(service), view, place, false, encoder),
        );
        return {
          clusters: kept(before?.clusters, byName(all.flatMap((each) => each.clusters))),
          endpoints: kept(before?.endpoints, byName(all.flatMap((each) => each.endpoints))),
        };
      },
    );

  /** Listeners and routes, for clients without a proxy, and clusters that are named and not there. */
  const grpcNamedOf = (node: ProxyNode, view: MeshView, { viewKey, id }: Membership) => {
    const outer = grpcOutboundOf(node, view, viewKey);
    const inputs = () => [
      shapesOf(view, viewKey),
      view.virtualServices,
      view.destinationRules,
      view.settings,
    ];
    const routes = shared<Resources>(`grpc routes ${id}`, inputs, () =>
      byName(grpcRoutes(view, node).map((each) => encoded(each).resource)),
    );
    const listeners = shared<Resources>(`grpc listeners ${id}`, inputs, () =>
      byName(
        grpcListeners(view, node.namespace).map((each) =>
          encoder.resource(LISTENER, each.name ?? "", each),
        ),
      ),
    );
    return shared<GrpcResources>(
      `grpc named ${id}`,
      () => [outer, routes, listeners],
      (before) => {
        const named = [...routes.values()].map((each) => missingClusters(each, outer.clusters));
        const absent = missingFrom(outer.clusters, named).map(emptyGrpcCluster);
        const clusters = absent.map(({ name, cluster }) =>
          encoder.resource(CLUSTER, name, cluster),
        );
        const endpoints = absent.map(({ name, assignment = {} }) =>
          encoder.resource("envoy.config.endpoint.v3.ClusterLoadAssignment", name, assignment),
        );
        return {
          clusters: joined(before?.clusters, outer.clusters, byName(clusters)),
          endpoints: joined(before?.endpoints, outer.endpoints, byName(endpoints)),
          listeners,
          routes,
        };
      },
    );
  };

  const grpcSetOf = (node: ProxyNode, membership: Membership): ResourceSet => {
    const view = viewFor(membership.client, membership.viewKey);
    const named = grpcNamedOf(node, view, membership);
    const pod = model.workloads.get(`${node.namespace}/${node.name}`);
    const inputs = [
      named,
      pod,
      view.sidecar,
      model.peerAuthentications,
      model.authorizationPolicies,
    ];
    const served = (pod === undefined ? undefined : model.servedPorts.get(pod)) ?? [];
    const ports = served.flatMap(({ service, targetPort }) => [shapeOf(service), targetPort]);
    const before = memory.nodes.get(node);
    if (before !== undefined && areSame(before.made.inputs, [...inputs, ...ports])) {
      return before.set;
    }
    const own = grpcServerListeners(view, node).map((each) =>
      encoder.resource(LISTENER, each.name ?? "", each),
    );
    const set: ResourceSet = new Map<ResourceTypeUrl, Resources>([
      [CLUSTER_TYPE, named.clusters],
      [ENDPOINT_TYPE, named.endpoints],
      [LISTENER_TYPE, joined(before?.set.get(LISTENER_TYPE), named.listeners, byName(own))],
      [ROUTE_TYPE, named.routes],
      [SECRET_TYPE, NO_RESOURCES],
    ]);
    memory.nodes.set(node, { made: { inputs: [...inputs, ...ports], value: undefined }, set });
    return set;
  };

  /** Everything that a proxy's own resources are made of. */
  const inputsOf = (
    node: ProxyNode,
    client: Client,
    view: MeshView,
    outer: OutboundResources,
    { routes, shapes }: Pick<Group, "routes" | "shapes">,
  ): readonly unknown[] => {
    const pod = model.workloads.get(`${node.namespace}/${node.name}`);
    const served = pod === undefined ? [] : (model.servedPorts.get(pod) ?? []);
    const needsServices = node.role === "router" || model.requestAuthentications.length > 0;
    return [
      ...[outer.clusters, routes, shapes, pod, client.locality, view.sidecar, view.settings],
      ...[view.virtualServices, view.destinationRules, model.credentials, model.gateways],
      ...[model.peerAuthentications, model.requestAuthentications, model.authorizationPolicies],
      needsServices ? model.services : undefined,
      model.telemetries,
      // Traces go to collectors that there are.
      ...model.settings.tracing.providers.map(({ host }) => model.serviceByHost.has(host)),
      ...served.flatMap(({ service, port, targetPort }) => [
        shapeOf(service),
        port.number,
        targetPort,
      ]),
    ];
  };

  return {
    resourcesFor(node) {
      const membership = membershipOf(node);
      if (node.generator === "grpc") return grpcSetOf(node, membership);
      const { client } = membership;
      const group = groupOf(node, membership);
      const { view, outer, routes } = group;
      const inputs = inputsOf(node, client, view, outer, group);
      const before = memory.nodes.get(node);
      const isSame = before !== undefined && areSame(before.made.inputs, inputs);
      const own = isSame
        ? (before.made.value as NodeResources)
        : ownOf(node, client, view, outer, routes);
      const set = setOf(before?.set, outer, own);
      memory.nodes.set(node, { made: { inputs, value: own }, set });
      return set;
    },
    next: (nextModel) =>
      translatorOf(nextModel, options, encoder.next(), { ...memory, shared: current }),
  };
}

/** The set of a proxy; each map, and the set, is the one before when it has the same resources. */
function setOf(
  before: ResourceSet | undefined,
  outer: OutboundResources,
  own: NodeResources,
): ResourceSet {
  const set = new Map<ResourceTypeUrl, Resources>([
    [CLUSTER_TYPE, joined(before?.get(CLUSTER_TYPE), outer.clusters, own.clusters)],
    [ENDPOINT_TYPE, outer.endpoints],
    [LISTENER_TYPE, kept(before?.get(LISTENER_TYPE), own.listeners)],
    [ROUTE_TYPE, kept(before?.get(ROUTE_TYPE), own.routes)],
    [SECRET_TYPE, kept(before?.get(SECRET_TYPE), own.secrets)],
  ]);
  const isSame = before !== undefined && [...set].every(([type, map]) => before.get(type) === map);
  return isSame ? before : set;
}

function joined(before: Resources | undefined, first: Resources, own: Resources): Resources {
  if (!(before instanceof JoinedMap)) return new JoinedMap(first, own);
  const second = kept(before.second as Resources, own);
  return before.first === first && before.second === second
    ? (before as Resources)
    : new JoinedMap(first, second);
}

/** What was there before, when it is the same. */
function kept(before: Resources | undefined, after: Resources): Resources {
  return before !== undefined && changedNames(before, after).size === 0 ? before : after;
}

function outbound(
  isBound: boolean,
  encoder: ResourceEncoder,
  services: MeshView["services"],
  resourcesOf: (service: MeshView["services"][number]) => ServiceResources,
): OutboundResources {
  const clusters = [
    encoder.resource(CLUSTER, BLACK_HOLE_CLUSTER, emptyCluster(BLACK_HOLE_CLUSTER)),
    encoder.resource(CLUSTER, PASSTHROUGH_CLUSTER, passthroughCluster(isBound)),
  ];
  const endpoints: XdsResource[] = [];
  for (const service of services) {
    const resources = resourcesOf(service);
    clusters.push(...resources.clusters);
    endpoints.push(...resources.endpoints);
  }
  return { clusters: byName(clusters), endpoints: byName(endpoints) };
}

/** The credentials a proxy may ask for: a gateway's servers', and those of DestinationRules for it. */
function credentialNames(
  view: MeshView,
  node: ProxyNode,
  model: MeshModel,
): readonly CredentialRef[] {
  const own = node.role === "router" ? gatewayCredentials(model, node) : [];
  return [...own, ...view.credentialNames.map((name) => ({ name }))];
}

/** What the API says of a pod's labels counts; a proxy may still tell older ones. */
function clientOf(model: MeshModel, node: ProxyNode): Client {
  const { role, namespace, name, labels, isEnvoy = false } = node;
  const pod = model.workloads.get(`${namespace}/${name}`);
  return {
    role,
    namespace,
    labels: pod?.labels ?? labels,
    locality: pod?.locality ?? NOWHERE,
    isEnvoy,
  };
}

function missingFrom(clusters: Resources, named: readonly Iterable<string>[]): readonly string[] {
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
