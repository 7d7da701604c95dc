import type { AuthorizationRule } from "../../../api/index.ts";
import { unpackAny } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import type { Json } from "../model-object.ts";
import { type MeshAuthorizationPolicy, policiesFor } from "../model-security.ts";
import type { Workload } from "../model-workloads.ts";
import { translateRule } from "../translate/authorization.ts";
import { JWT_PAYLOAD } from "../translate/authorization-match.ts";
import { requestAuthentication } from "../translate/request-authentication.ts";
import type { ConnectionFacts, DataPlane, RequestHead } from "./question.ts";
import { referenceTo } from "./reference.ts";
import { conditionWords, operationWords, sourceWords } from "./rule-words.ts";

/** One rule of a policy, and whether the request is one of those it speaks of. */
export interface RuleVerdict {
  readonly action: MeshAuthorizationPolicy["action"];
  /** `namespace/name` */
  readonly policy: string;
  /** In the policy's `rules`; -1 for a policy without any. */
  readonly rule: number;
  readonly isMatch: boolean;
  /** On trial: counted and logged, and decides nothing. */
  readonly isDryRun: boolean;
  /** Which parts do not match. */
  readonly reasons: readonly string[];
}

/** Whether a workload lets a request in, and who says so. */
export interface AccessDecision {
  readonly isAllowed: boolean;
  /** Of the answer, when it is refused: 403, or 401 for a token that is not good. */
  readonly status: number | undefined;
  /** The answer's body, when it is refused. */
  readonly body: string | undefined;
  readonly reason: string;
  /** In the order in which they count: AUDIT, DENY, ALLOW. */
  readonly rules: readonly RuleVerdict[];
}

/** What is asked of a workload: the request as it arrives there, and how. */
export interface Arrival {
  readonly workload: Workload;
  /** Whether the port speaks HTTP; else only what is known of the connection counts. */
  readonly isHttp: boolean;
  readonly request: RequestHead;
  readonly connection: ConnectionFacts;
  /** Claims of a token that is taken to be valid. */
  readonly claims: Json | undefined;
}

/** DENY is asked before ALLOW; AUDIT decides nothing (Istio). */
const ORDER = ["AUDIT", "DENY", "ALLOW"] as const;
const NO_TOKENS: Json = {};

/** What the RequestAuthentications and AuthorizationPolicies of a workload say of a request. */
export function decideAccess(
  model: MeshModel,
  arrival: Arrival,
  dataPlane: DataPlane,
): AccessDecision {
  const { workload, request } = arrival;
  const { rootNamespace } = model;
  const authentications = policiesFor(model.requestAuthentications, workload, rootNamespace);
  const filter = requestAuthentication(authentications, model);
  const jwt =
    filter === undefined || !arrival.isHttp
      ? undefined
      : unpackAny(
          "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
          filter.typed_config,
        );
  const told = jwt === undefined ? undefined : dataPlane.tokens(jwt, request);
  if (told?.failure !== undefined) {
    const names = authentications.map(referenceTo).join(", ");
    return {
      isAllowed: false,
      status: told.failure === "Audiences in Jwt are not allowed" ? 403 : 401,
      body: told.failure,
      reason: `RequestAuthentication ${names}: ${told.failure}`,
      rules: [],
    };
  }
  const isClaimed = arrival.claims !== undefined && jwt !== undefined;
  const tokens = isClaimed ? { [JWT_PAYLOAD]: arrival.claims } : (told?.metadata ?? NO_TOKENS);
  const policies = policiesFor(model.authorizationPolicies, workload, rootNamespace);
  const rules = ORDER.flatMap((action) =>
    policies
      .filter((policy) => policy.action === action)
      .flatMap((policy) => verdictsOf(policy, arrival, tokens, model, dataPlane)),
  );
  return { ...decided(rules, arrival.isHttp), rules };
}

function decided(rules: readonly RuleVerdict[], isHttp: boolean): Omit<AccessDecision, "rules"> {
  const counting = rules.filter(({ isDryRun }) => !isDryRun);
  const denied = counting.find(({ action, isMatch }) => action === "DENY" && isMatch);
  const allowing = counting.filter(({ action }) => action === "ALLOW");
  const allowed = allowing.find(({ isMatch }) => isMatch);
  const refusal = {
    isAllowed: false,
    status: isHttp ? 403 : undefined,
    body: isHttp ? "RBAC: access denied" : undefined,
  };
  if (denied !== undefined) return { ...refusal, reason: `DENY: ${ruleName(denied)} matches` };
  const admission = { isAllowed: true, status: undefined, body: undefined };
  if (allowed !== undefined) {
    return { ...admission, reason: `ALLOW: ${ruleName(allowed)} matches` };
  }
  if (allowing.length === 0) {
    const reason = counting.some(({ action }) => action === "DENY")
      ? "no DENY rule matches, and there is no ALLOW policy"
      : "no AuthorizationPolicy applies";
    return { ...admission, reason };
  }
  const names = [...new Set(allowing.map(({ policy }) => policy))].join(", ");
  return { ...refusal, reason: `no rule of the ALLOW policies matches (${names})` };
}

function ruleName({ policy, rule }: RuleVerdict): string {
  return `AuthorizationPolicy ${policy} rules[${rule}]`;
}

function verdictsOf(
  policy: MeshAuthorizationPolicy,
  arrival: Arrival,
  tokens: Json,
  model: MeshModel,
  dataPlane: DataPlane,
): readonly RuleVerdict[] {
  const { action, isDryRun, rules } = policy;
  const common = { action, isDryRun, policy: referenceTo(policy) };
  if (rules.length === 0) {
    return [
      { ...common, rule: -1, isMatch: false, reasons: ["it has no rules: it matches nothing"] },
    ];
  }
  const place = { namespace: policy.namespace, trustDomain: model.trustDomain };
  const matches = (rule: AuthorizationRule): boolean | undefined => {
    const translated = translateRule(rule, action, place, arrival.isHttp);
    if (translated === undefined) return undefined;
    return dataPlane.policyMatches(translated, arrival.request, arrival.connection, tokens);
  };
  return rules.map((rule, i): RuleVerdict => {
    const isMatch = matches(rule);
    if (isMatch === undefined) {
      const reasons = [
        arrival.isHttp
          ? "it asks for something that nobody knows, and matches nothing"
          : "it asks for HTTP, and the port speaks none: it matches nothing",
      ];
      return { ...common, rule: i, isMatch: false, reasons };
    }
    return { ...common, rule: i, isMatch, reasons: isMatch ? [] : missing(rule, matches) };
  });
}

/** The parts of a rule that do not match by themselves. */
function missing(
  rule: AuthorizationRule,
  matches: (rule: AuthorizationRule) => boolean | undefined,
): readonly string[] {
  const { from, to, when = [] } = rule;
  return [
    ...(from !== undefined && matches({ from }) !== true ? [`not from ${sourceWords(from)}`] : []),
    ...(to !== undefined && matches({ to }) !== true ? [`not to ${operationWords(to)}`] : []),
    ...when
      .filter((condition) => matches({ when: [condition] }) !== true)
      .map((condition) => `not when ${conditionWords(condition)}`),
  ];
}
