import type { MessageTypes } from "../../../xds/index.ts";
import {
  type DestinationRuleLookup,
  destinationRulesFor,
  type MeshDestinationRule,
} from "../model-destination-rules.ts";
import { isHttpProtocol } from "../model-protocol.ts";
import type { MeshService, ServicePort } from "../model-services.ts";
import type { Workload } from "../model-workloads.ts";
import { pathFields } from "../translate/connection-manager.ts";
import { INVALID_BACKEND, meshServerName, spiffeId } from "../translate/names.ts";
import { type AccessDecision, decideAccess } from "./authorization.ts";
import { type ClusterSummary, summarizeCluster } from "./cluster-summary.ts";
import { type EndpointShare, explainCluster } from "./endpoints.ts";
import { decideGatewayRoute } from "./gateway-route-decision.ts";
import { decideTls, type TlsDecision } from "./mutual-tls.ts";
import { merged, type Outcome } from "./outcome.ts";
import type { Question, RequestHead } from "./question.ts";
import { referenceTo } from "./reference.ts";
import { decideRoute, type RouteDecision, type TriedMatch } from "./route-decision.ts";
import {
  type ClusterChoice,
  clusterChoices,
  forwardedRequest,
  type RouteSummary,
  summarizeRoute,
} from "./route-summary.ts";
import { type Warning, warningsOf } from "./warnings.ts";

type Route = MessageTypes["envoy.config.route.v3.Route"];

/** The whole decision about one request. */
export interface Explanation {
  readonly source: {
    readonly pod: string;
    readonly workload: string;
    readonly hasSidecar: boolean;
    /** Who it proves to be over mutual TLS. */
    readonly principal: string;
    /** Of a gateway: whether it takes the request at all. */
    readonly access: AccessDecision | undefined;
  };
  readonly request: RequestHead;
  readonly route: ExplainedRoute;
  readonly destinations: readonly ExplainedDestination[];
  /** What the caller gets, and how often; the shares add up to 100. */
  readonly outcomes: readonly Outcome[];
  readonly warnings: readonly Warning[];
}

export interface ExplainedRoute extends Partial<RouteSummary> {
  readonly kind: RouteDecision["kind"] | "redirect" | "direct" | "none";
  /** Why it is this one, in a sentence. */
  readonly reason: string;
  readonly virtualHost: string | undefined;
  /** `namespace/name`; undefined where none has a say. */
  readonly virtualService: string | undefined;
  /** In the VirtualService's `http`. */
  readonly rule: number | undefined;
  readonly tried: readonly TriedMatch[];
}

export interface ExplainedDestination extends Partial<ClusterSummary> {
  readonly cluster: string;
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  /** Of the requests that are sent on. */
  readonly weightPercent: number;
  readonly destinationRule: string | undefined;
  /** Why nothing can be reached there. */
  readonly problem: string | undefined;
  readonly endpoints: readonly ExplainedEndpoint[];
}

export interface ExplainedEndpoint {
  readonly address: string;
  /** `namespace/pod`; undefined for an address that is no pod's. */
  readonly pod: string | undefined;
  readonly workload: string | undefined;
  readonly health: EndpointShare["health"];
  readonly locality: string;
  readonly priority: number;
  /** Of the destination's requests. */
  readonly sharePercent: number;
  readonly tls: TlsDecision;
  /** undefined: nobody asks, because the connection does not come about, or there is no sidecar. */
  readonly access: AccessDecision | undefined;
}

/** What becomes of a request, as the proxies on its way would decide, and why. */
export function explain(asking: Question): Explanation {
  const { view, request: asked, dataPlane } = asking;
  const isGateway = view.client.role === "router";
  const source = isGateway ? { ...asking.source, hasSidecar: true } : asking.source;
  const question = { ...asking, source };
  const principal =
    question.sourcePrincipal === undefined
      ? spiffeId(view.trustDomain, { namespace: source.namespace, name: source.serviceAccount })
      : `spiffe://${question.sourcePrincipal.replace(/^spiffe:\/\//, "")}`;
  const common = {
    source: {
      pod: `${source.namespace}/${source.podName}`,
      workload: source.workloadName,
      hasSidecar: source.hasSidecar,
      principal,
      access: undefined,
    },
  };
  const settings = pathFields(view.settings.pathNormalization);
  const target = dataPlane.normalizedTarget(settings, asked.target);
  if (target === undefined) {
    return {
      ...common,
      request: asked,
      route: nowhere("none", "the path is refused: it holds an encoded NUL or slash"),
      destinations: [],
      outcomes: [
        {
          sharePercent: 100,
          status: 400,
          workload: undefined,
          body: undefined,
          reason: "the path is refused",
        },
      ],
      warnings: [],
    };
  }
  const request = { ...asked, target };
  const decision = (isGateway ? decideGatewayRoute : decideRoute)(question, request);
  const ruleOf: DestinationRuleLookup = source.hasSidecar
    ? destinationRulesFor(view.destinationRules, source.namespace, view.rootNamespace)
    : () => undefined;
  const context = { question, request, principal, ruleOf };
  const access = isGateway && decision.kind !== "closed" ? enter(context) : undefined;
  const explained =
    access?.isAllowed === false ? refused(decision, access) : explainAction(decision, context);
  return {
    source: { ...common.source, access },
    request,
    ...explained,
    warnings: warningsOf(question, decision, explained.destinations, ruleOf),
  };
}

interface Context {
  readonly question: Question;
  readonly request: RequestHead;
  readonly principal: string;
  readonly ruleOf: DestinationRuleLookup;
}

type Explained = Pick<Explanation, "route" | "destinations" | "outcomes">;

function nowhere(kind: ExplainedRoute["kind"], reason: string): ExplainedRoute {
  return {
    ...{ kind, reason, virtualHost: undefined, virtualService: undefined },
    ...{ rule: undefined, tried: [] },
  };
}

/** Whether a gateway takes a request from outside: nobody is proven there. */
function enter({ question, request }: Context): AccessDecision {
  const { source, view, dataPlane, claims } = question;
  return decideAccess(
    view,
    {
      ...{ workload: source, isHttp: true, request, claims },
      connection: {
        destinationIp: source.address,
        destinationPort: 0,
        ...{ directRemoteIp: "", remoteIp: "", requestedServerName: "", peer: undefined },
      },
    },
    dataPlane,
  );
}

function refused(decision: RouteDecision, { status, body, reason }: AccessDecision): Explained {
  const { virtualHost, virtualService, rule, tried } = decision;
  return {
    route: { kind: "none", virtualHost, virtualService, rule, tried, reason: decision.reason },
    destinations: [],
    outcomes: [
      { sharePercent: 100, status, workload: undefined, body, reason: `the gateway: ${reason}` },
    ],
  };
}

function explainAction(decision: RouteDecision, context: Context): Explained {
  const { virtualHost, virtualService, rule, tried, reason } = decision;
  const common = { virtualHost, virtualService, rule, tried, reason };
  if (decision.kind === "closed") {
    return {
      route: { ...common, kind: "closed" },
      destinations: [],
      outcomes: [
        {
          ...{ sharePercent: 100, status: undefined, workload: undefined, body: undefined },
          reason,
        },
      ],
    };
  }
  const answer = (kind: ExplainedRoute["kind"], status: number, why: string): Explained => ({
    route: { ...common, kind },
    destinations: [],
    outcomes: [{ sharePercent: 100, status, workload: undefined, body: undefined, reason: why }],
  });
  const { route } = decision;
  if (route === undefined) return answer("none", 404, "no route matches");
  if (route.redirect) {
    const status = [301, 302, 303, 307, 308][route.redirect.response_code ?? 0] ?? 301;
    return answer("redirect", status, "the route redirects");
  }
  if (route.direct_response) {
    const status = route.direct_response.status ?? 200;
    return decision.kind === "blocked"
      ? answer("blocked", status, reason)
      : answer("direct", status, "the route answers by itself");
  }
  if (decision.kind === "passthrough") {
    return {
      route: { ...common, kind: "passthrough" },
      destinations: [],
      outcomes: [
        {
          ...{ sharePercent: 100, status: "application", workload: undefined, body: undefined },
          reason: "passed on to the host as it is: nobody in the mesh knows it",
        },
      ],
    };
  }
  return forward(route, { ...common, kind: decision.kind }, context);
}

function forward(route: Route, common: ExplainedRoute, context: Context): Explained {
  const { request, question } = context;
  const before = request.target;
  const after = question.dataPlane.forwardedTarget(route.match ?? {}, route.route ?? {}, before);
  const summary = summarizeRoute(route, { before, after });
  const abort = summary.fault?.abort;
  const aborted = (abort?.percent ?? 0) / 100;
  const hash = question.dataPlane.requestHash(route.route?.hash_policy ?? [], request);
  const destinations = clusterChoices(route, hash).map((choice) => {
    const forwarded = forwardedRequest(request, route, choice.entry, after);
    return explainDestination(choice, forwarded, hash, context);
  });
  // RouteAction.ClusterNotFoundResponseCode
  const failsWith500 = route.route?.cluster_not_found_response_code === 2;
  const outcomes = [
    ...(abort === undefined
      ? []
      : [
          {
            sharePercent: abort.percent,
            status: abort.status,
            workload: undefined,
            body: "fault filter abort",
            reason: "the route's fault aborts the request before it is sent",
          },
        ]),
    ...destinations.flatMap((destination) => {
      const found = outcomesOf(
        destination,
        question.source,
        (1 - aborted) * destination.weightPercent,
      );
      return destination.cluster === INVALID_BACKEND && failsWith500
        ? found.map((outcome) => ({ ...outcome, status: 500 }))
        : found;
    }),
  ];
  return { route: { ...common, ...summary }, destinations, outcomes: merged(outcomes) };
}

/** `outbound|9080|v1|reviews.default.svc.cluster.local` taken apart. */
export function clusterParts(cluster: string): {
  readonly port: number;
  readonly subset: string | undefined;
  readonly host: string;
} {
  const [, port = "", subset = "", host = cluster] = cluster.split("|");
  return { port: Number(port), subset: subset === "" ? undefined : subset, host };
}

function explainDestination(
  { cluster, share }: ClusterChoice,
  request: RequestHead,
  hash: bigint | undefined,
  context: Context,
): ExplainedDestination {
  const { question, ruleOf } = context;
  const { view, source } = question;
  const { port: number, subset: subsetName, host } = clusterParts(cluster);
  const service = view.serviceByHost.get(host);
  const rule = service === undefined ? undefined : ruleOf(service);
  const port = service?.ports.find((each) => each.number === number);
  const subset = rule?.subsets.find(({ name }) => name === subsetName);
  const common = {
    ...{ cluster, host, port: number, subset: subsetName },
    weightPercent: share * 100,
    destinationRule: rule === undefined ? undefined : referenceTo(rule),
  };
  const problem = problemOf(host, service, port, rule, subsetName);
  if (service === undefined || port === undefined || problem !== undefined) {
    return { ...common, problem: problem ?? "it does not exist", endpoints: [] };
  }
  const target = { service, port, rule, subset };
  const found = explainCluster(cluster, target, view, question, hash);
  const endpoints = (found?.endpoints ?? []).map((each): ExplainedEndpoint => {
    const { endpoint } = each;
    const tls = decideTls(view, source, target, endpoint);
    const { workload } = endpoint;
    const sni = meshServerName(service.host, port.number, subsetName);
    return {
      address: `${endpoint.address}:${endpoint.port}`,
      pod: workload && `${workload.namespace}/${workload.podName}`,
      workload: workload?.workloadName,
      health: each.health,
      locality: each.locality,
      priority: each.priority,
      sharePercent: each.share * 100,
      tls,
      access:
        workload === undefined || !endpoint.takesMutualTls || tls.conflict !== undefined
          ? undefined
          : arrive(workload, port, request, tls, { ...each, sni }, context),
    };
  });
  return {
    ...common,
    ...(found === undefined || !source.hasSidecar ? {} : summarizeCluster(found.cluster)),
    problem: endpoints.some(({ sharePercent }) => sharePercent > 0)
      ? undefined
      : subsetName === undefined || port.endpoints.length === 0
        ? "no endpoint is healthy"
        : "no pod that is healthy has the subset's labels",
    endpoints,
  };
}

function problemOf(
  host: string,
  service: MeshService | undefined,
  port: ServicePort | undefined,
  rule: MeshDestinationRule | undefined,
  subset: string | undefined,
): string | undefined {
  if (host === INVALID_BACKEND) return "the route's backend is not valid; its status says why";
  if (service === undefined) return "there is no such service";
  if (port === undefined) {
    return `the service has no such port, only ${service.ports.map(({ number }) => number).join(", ")}`;
  }
  if (subset === undefined || rule?.subsets.some(({ name }) => name === subset) === true) {
    return undefined;
  }
  return rule === undefined
    ? `no DestinationRule defines the subset ${subset}`
    : `DestinationRule ${referenceTo(rule)} defines no subset ${subset}`;
}

function arrive(
  workload: Workload,
  port: ServicePort,
  request: RequestHead,
  tls: TlsDecision,
  { endpoint, sni }: Pick<EndpointShare, "endpoint"> & { readonly sni: string },
  { question, principal }: Context,
): AccessDecision {
  const isMutual = tls.client === "ISTIO";
  const { source, view, dataPlane, claims } = question;
  return decideAccess(
    view,
    {
      workload,
      isHttp: isHttpProtocol(port.protocol),
      request,
      claims,
      connection: {
        destinationIp: endpoint.address,
        destinationPort: endpoint.port,
        directRemoteIp: source.address,
        remoteIp: source.address,
        requestedServerName: isMutual ? sni : "",
        peer: isMutual ? { uris: [principal], dnsNames: [], subject: "" } : undefined,
      },
    },
    dataPlane,
  );
}

function outcomesOf(
  destination: ExplainedDestination,
  source: Workload,
  percent: number,
): readonly Outcome[] {
  const { problem } = destination;
  if (problem !== undefined) {
    const name = destination.subset === undefined ? "" : ` (subset ${destination.subset})`;
    return [
      {
        sharePercent: percent,
        status: source.hasSidecar ? 503 : undefined,
        workload: undefined,
        body: source.hasSidecar ? "no healthy upstream" : undefined,
        reason: `${destination.host}:${destination.port}${name}: ${problem}`,
      },
    ];
  }
  return destination.endpoints
    .filter(({ sharePercent }) => sharePercent > 0)
    .map((endpoint) => ({
      sharePercent: (percent * endpoint.sharePercent) / 100,
      ...answerOf(endpoint, source),
    }));
}

function answerOf(endpoint: ExplainedEndpoint, source: Workload): Omit<Outcome, "sharePercent"> {
  const { tls, access, workload } = endpoint;
  if (tls.conflict !== undefined) {
    // Without a sidecar of its own the caller sees the connection close.
    const status = source.hasSidecar ? 503 : undefined;
    return { status, workload, body: undefined, reason: tls.conflict };
  }
  if (access?.isAllowed === false) {
    const { status, body, reason } = access;
    return { status: status ?? (source.hasSidecar ? 503 : undefined), workload, body, reason };
  }
  const reason = access === undefined ? "nobody stands before it" : access.reason;
  return { status: "application", workload, body: undefined, reason };
}
