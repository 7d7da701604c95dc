import type { AuthorizationRule } from "../../../api/index.ts";
import { type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshAuthorizationPolicy } from "../model-security.ts";
import { conditionTests, operationTests, sourceTests } from "./authorization-match.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type HttpFilter =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"];
type Permission = MessageTypes["envoy.config.rbac.v3.Permission"];
type Policy = MessageTypes["envoy.config.rbac.v3.Policy"];
type Principal = MessageTypes["envoy.config.rbac.v3.Principal"];
type Rules = MessageTypes["envoy.config.rbac.v3.RBAC"];

/** envoy.config.rbac.v3.RBAC.Action */
const ACTION = { ALLOW: 0, DENY: 1, AUDIT: 2 } as const;
/** What denies is asked before what allows; AUDIT decides nothing (Istio). */
const ORDER = ["AUDIT", "DENY", "ALLOW"] as const;
const ANY_PERMISSION: Permission = { any: true };
const ANY_PRINCIPAL: Principal = { any: true };

/** The policies of one action as Envoy's rules: those that count, and those on trial. */
interface ActionRules {
  readonly action: (typeof ORDER)[number];
  readonly rules: Rules | undefined;
  readonly shadowRules: Rules | undefined;
}

/** The HTTP filters of a workload's authorization policies, in Istio's order. */
export function httpAuthorization(
  policies: readonly MeshAuthorizationPolicy[],
  trustDomain: string,
): HttpFilter[] {
  return actionRules(policies, trustDomain, true).map(({ action, rules, shadowRules }) => ({
    name: "envoy.filters.http.rbac",
    typed_config: packAny("envoy.extensions.filters.http.rbac.v3.RBAC", {
      ...(rules === undefined ? {} : { rules }),
      ...(shadowRules === undefined
        ? {}
        : {
            shadow_rules: shadowRules,
            shadow_rules_stat_prefix: `istio_dry_run_${action.toLowerCase()}_`,
          }),
    }),
  }));
}

/** The same for connections that carry no HTTP. */
export function tcpAuthorization(
  policies: readonly MeshAuthorizationPolicy[],
  trustDomain: string,
): Filter[] {
  return actionRules(policies, trustDomain, false).map(({ action, rules, shadowRules }) => ({
    name: "envoy.filters.network.rbac",
    typed_config: packAny("envoy.extensions.filters.network.rbac.v3.RBAC", {
      stat_prefix: "tcp.",
      ...(rules === undefined ? {} : { rules }),
      ...(shadowRules === undefined
        ? {}
        : {
            shadow_rules: shadowRules,
            shadow_rules_stat_prefix: `istio_dry_run_${action.toLowerCase()}_`,
          }),
    }),
  }));
}

function actionRules(
  policies: readonly MeshAuthorizationPolicy[],
  trustDomain: string,
  isHttp: boolean,
): readonly ActionRules[] {
  return ORDER.flatMap((action): ActionRules[] => {
    const own = policies.filter((policy) => policy.action === action);
    if (own.length === 0) return [];
    const joined = (isDryRun: boolean): Rules | undefined => {
      const chosen = own.filter((policy) => policy.isDryRun === isDryRun);
      if (chosen.length === 0) return undefined;
      const entries = chosen.flatMap((policy) => policyEntries(policy, trustDomain, isHttp));
      return { action: ACTION[action], policies: Object.fromEntries(entries) };
    };
    return [{ action, rules: joined(false), shadowRules: joined(true) }];
  });
}

function policyEntries(
  policy: MeshAuthorizationPolicy,
  trustDomain: string,
  isHttp: boolean,
): [name: string, policy: Policy][] {
  const place = { namespace: policy.namespace, trustDomain };
  return policy.rules.flatMap((rule, i): [string, Policy][] => {
    const translated = translateRule(rule, policy.action, place, isHttp);
    if (translated === undefined) return [];
    return [[`ns[${policy.namespace}]-policy[${policy.name}]-rule[${i}]`, translated]];
  });
}

/**
 * One rule. Where there is no HTTP, a rule that asks for it is dropped when it allows, and loses that
 * question when it denies: both ways fewer get through. Undefined: the rule matches nothing.
 */
export function translateRule(
  rule: AuthorizationRule,
  action: MeshAuthorizationPolicy["action"],
  place: { readonly namespace: string; readonly trustDomain: string },
  isHttp: boolean,
): Policy | undefined {
  const mayWiden = action === "DENY";
  const commonPermissions: Permission[] = [];
  const commonPrincipals: Principal[] = [];
  for (const condition of rule.when ?? []) {
    const tests = conditionTests(condition, place);
    if (tests === undefined) return undefined;
    for (const each of tests) {
      if (each.needsHttp && !isHttp) {
        if (!mayWiden) return undefined;
        continue;
      }
      if (each.side === "principal") commonPrincipals.push(each.test);
      else commonPermissions.push(each.test);
    }
  }
  const permissions = (rule.to ?? [{ operation: undefined }]).flatMap(({ operation }) => {
    const { tests, needsHttp, withoutHttp } = operationTests(operation ?? {});
    if (!needsHttp || isHttp) return [and([...tests, ...commonPermissions])];
    return mayWiden ? [and([...withoutHttp, ...commonPermissions])] : [];
  });
  const principals = (rule.from ?? [{ source: undefined }]).flatMap(({ source }) => {
    const { tests, needsHttp } = sourceTests(source ?? {}, place);
    if (!needsHttp || isHttp) return [andIds([...tests, ...commonPrincipals])];
    if (!mayWiden) return [];
    const { requestPrincipals: _a, notRequestPrincipals: _b, ...rest } = source ?? {};
    return [andIds([...sourceTests(rest, place).tests, ...commonPrincipals])];
  });
  if (permissions.length === 0 || principals.length === 0) return undefined;
  return { permissions, principals };
}

function and(rules: readonly Permission[]): Permission {
  const [only] = rules;
  if (only === undefined) return ANY_PERMISSION;
  return rules.length === 1 ? only : { and_rules: { rules: [...rules] } };
}

function andIds(ids: readonly Principal[]): Principal {
  const [only] = ids;
  if (only === undefined) return ANY_PRINCIPAL;
  return ids.length === 1 ? only : { and_ids: { ids: [...ids] } };
}
