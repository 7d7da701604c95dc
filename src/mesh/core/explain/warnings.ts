import type { DestinationRuleLookup } from "../model-destination-rules.ts";
import type { OutlierDetection } from "../model-istio.ts";
import { policiesFor } from "../model-security.ts";
import type { Workload } from "../model-workloads.ts";
import { outlierNoOps, reservedHeaders, routeNoOps } from "../silent-no-ops.ts";
import { policyFor } from "../translate/traffic-policy.ts";
import type { AccessDecision } from "./authorization.ts";
import type { ExplainedDestination } from "./explain.ts";
import type { Question } from "./question.ts";
import { referenceTo, ruleSource } from "./reference.ts";
import type { RouteDecision } from "./route-decision.ts";

/** Something that a resource says and that has no effect, or not the one that its author may think. */
export interface Warning {
  /** `VirtualService default/reviews` */
  readonly about: string;
  readonly message: string;
}

/** What of the resources that had a say in a request does nothing, cannot work, or misleads. */
export function warningsOf(
  question: Question,
  decision: RouteDecision,
  destinations: readonly ExplainedDestination[],
  ruleOf: DestinationRuleLookup,
): readonly Warning[] {
  const workloads = involvedWorkloads(destinations, question);
  const all = [
    ...portWarnings(decision),
    ...routeWarnings(decision),
    ...destinations.flatMap((each) => destinationWarnings(each, question, ruleOf)),
    ...workloads.flatMap((workload) => policyWarnings(workload, question)),
    ...accessWarnings(destinations, question),
  ];
  const abouts = new Set([
    ...(decision.definition === undefined
      ? []
      : [ruleSource(decision.definition, decision.candidate?.rule)]),
    ...destinations.flatMap(({ destinationRule: rule }) =>
      rule === undefined ? [] : [`DestinationRule ${rule}`],
    ),
    ...workloads.flatMap((workload) => policiesOf(workload, question)),
  ]);
  const told = question.view.problems.flatMap(({ kind, namespace, name, message }): Warning[] => {
    const about = `${kind} ${namespace}/${name}`;
    return abouts.has(about) ? [{ about, message }] : [];
  });
  const distinct = new Map(
    [...all, ...told].map((warning) => [`${warning.about} ${warning.message}`, warning]),
  );
  return [...distinct.values()];
}

function involvedWorkloads(
  destinations: readonly ExplainedDestination[],
  { view }: Question,
): readonly Workload[] {
  const pods = new Set(destinations.flatMap(({ endpoints }) => endpoints.map(({ pod }) => pod)));
  return [...pods].flatMap((pod) => view.workloads.get(pod ?? "") ?? []);
}

/** Everything that applies to a workload, as warnings name it. */
function policiesOf(workload: Workload, { view }: Question): readonly string[] {
  const { rootNamespace } = view;
  const isNear = ({ namespace }: { readonly namespace: string }): boolean =>
    namespace === workload.namespace || namespace === rootNamespace;
  return [
    ...view.peerAuthentications
      .filter(isNear)
      .map((each) => `PeerAuthentication ${referenceTo(each)}`),
    ...policiesFor(view.requestAuthentications, workload, rootNamespace).map(
      (each) => `RequestAuthentication ${referenceTo(each)}`,
    ),
    ...view.problems
      .filter((each) => each.kind === "AuthorizationPolicy" && isNear(each))
      .map((each) => `AuthorizationPolicy ${referenceTo(each)}`),
  ];
}

function portWarnings({ service, port: number }: RouteDecision): readonly Warning[] {
  const port = service?.ports.find((each) => each.number === number);
  if (service === undefined || port?.protocol !== "auto") return [];
  const name = port.name === undefined ? "has no name" : `is named ${port.name}`;
  const message = `port ${port.number} ${name}, which says no protocol: it is taken for HTTP by its first bytes`;
  return [{ about: `Service ${service.namespace}/${service.name}`, message }];
}

function routeWarnings({ definition, candidate, tried }: RouteDecision): readonly Warning[] {
  if (definition === undefined) return [];
  const about = ruleSource(definition, candidate?.rule);
  const unreachable = tried
    .filter(({ reasons }) => reasons.some((reason) => reason.startsWith("never reached")))
    .map(({ match, reasons }) => `${match} is ${reasons.join("; ")}`);
  const reserved = definition.http.flatMap((rule, i) =>
    reservedHeaders(rule).map(({ message }) => `http[${i}].${message}`),
  );
  const own =
    candidate === undefined
      ? []
      : routeNoOps(candidate.rule).map(({ message }) => `http[${candidate.ruleIndex}].${message}`);
  return [...own, ...unreachable, ...reserved].map((message) => ({ about, message }));
}

function destinationWarnings(
  destination: ExplainedDestination,
  { view }: Question,
  ruleOf: DestinationRuleLookup,
): readonly Warning[] {
  const service = view.serviceByHost.get(destination.host);
  const rule = service === undefined ? undefined : ruleOf(service);
  if (rule === undefined) return [];
  const about = `DestinationRule ${referenceTo(rule)}`;
  const subset = rule.subsets.find(({ name }) => name === destination.subset);
  const outlier = policyFor(rule, subset, destination.port).outlierDetection;
  const empty =
    subset !== undefined && destination.endpoints.length === 0
      ? [`subset ${subset.name}: no pod has its labels`]
      : [];
  return [...empty, ...outlierWarnings(outlier, destination)].map((message) => ({
    about,
    message,
  }));
}

function outlierWarnings(
  outlier: OutlierDetection | undefined,
  { outlierDetection, endpoints }: ExplainedDestination,
): readonly string[] {
  if (outlier === undefined || outlierDetection === undefined) return [];
  const hosts = endpoints.filter(({ health }) => health !== "NOT READY").length;
  return outlierNoOps(outlier, { ...outlierDetection, hosts }).map(({ message }) => message);
}

function policyWarnings(
  workload: Workload,
  { view, claims, request }: Question,
): readonly Warning[] {
  const { rootNamespace } = view;
  const authentications = policiesFor(view.requestAuthentications, workload, rootNamespace);
  return [
    ...view.peerAuthentications
      .filter(
        ({ namespace, matchLabels }) => namespace === rootNamespace && matchLabels !== undefined,
      )
      .filter(() => workload.namespace !== rootNamespace)
      .map((policy) => ({
        about: `PeerAuthentication ${referenceTo(policy)}`,
        message: `it has a selector, so it is for pods of ${rootNamespace} only, and not for the whole mesh`,
      })),
    ...view.peerAuthentications
      .filter(({ namespace }) => namespace === workload.namespace)
      .filter(({ matchLabels, portModes }) => matchLabels === undefined && portModes.size > 0)
      .map((policy) => ({
        about: `PeerAuthentication ${referenceTo(policy)}`,
        message: "portLevelMtls has no effect without a selector",
      })),
    ...(request.headers.some(([name]) => name === "authorization") ? authentications : [])
      .filter(({ jwtRules }) => jwtRules.some(({ jwks, jwksUri }) => !jwks && jwksUri))
      .map((policy) => ({
        about: `RequestAuthentication ${referenceTo(policy)}`,
        message:
          "its keys are behind a URL: the token's signature is not checked here, and taken to be good",
      })),
    ...(claims !== undefined && authentications.length === 0
      ? [
          {
            about: `workload ${workload.namespace}/${workload.workloadName}`,
            message: "no RequestAuthentication applies: tokens and their claims are not looked at",
          },
        ]
      : []),
  ];
}

/** Rules that cannot match over this connection, whatever the request. */
function accessWarnings(
  destinations: readonly ExplainedDestination[],
  { view }: Question,
): readonly Warning[] {
  return destinations.flatMap(({ endpoints }) =>
    endpoints.flatMap(({ access, tls }) => {
      if (access === undefined) return [];
      const isPlain = tls.client !== "ISTIO";
      return access.rules.flatMap((rule) => [
        ...emptyWarning(rule),
        ...(isPlain && asksForIdentity(rule, view)
          ? [
              {
                about: `AuthorizationPolicy ${rule.policy}`,
                message: `rules[${rule.rule}] asks who the caller is, and over plain text nobody is anybody: principals, namespaces and serviceAccounts never match`,
              },
            ]
          : []),
      ]);
    }),
  );
}

type Rule = AccessDecision["rules"][number];

function emptyWarning({ rule, action, policy }: Rule): readonly Warning[] {
  if (rule >= 0 || action !== "ALLOW") return [];
  const message =
    "it has no rules, so it allows nothing: whatever no other policy allows is denied";
  return [{ about: `AuthorizationPolicy ${policy}`, message }];
}

function asksForIdentity(rule: Rule, view: Question["view"]): boolean {
  const policy = view.authorizationPolicies.find((each) => referenceTo(each) === rule.policy);
  return (policy?.rules[rule.rule]?.from ?? []).some(
    ({ source }) =>
      source?.principals !== undefined ||
      source?.namespaces !== undefined ||
      source?.serviceAccounts !== undefined,
  );
}
