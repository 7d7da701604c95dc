import type { RbacConfig, RbacSubject } from "../core/rbac.ts";
import { decideRbac } from "../core/rbac.ts";
import { pathOf } from "../core/route.ts";
import type { Exchange } from "../upstream/exchange.ts";

const NAME = "envoy.filters.http.rbac";

/** Envoy's RBAC filter: shadow rules are only counted and told, rules decide. */
export function authorize(
  exchange: Exchange,
  filter: RbacConfig,
  override: RbacConfig | undefined,
  next: () => void,
): void {
  const { rules, shadowRules } = override ?? filter;
  if (rules === undefined && shadowRules === undefined) {
    next();
    return;
  }
  const subject = subjectOf(exchange);
  if (shadowRules !== undefined) {
    const { isAllowed, policy } = decideRbac(shadowRules, subject);
    // The counters are the filter's, whoever made the rules.
    const prefix = filter.shadowRulesStatPrefix;
    count(exchange, prefix, isAllowed ? "shadow_allowed" : "shadow_denied");
    exchange.addMetadata(NAME, {
      ...(policy === "none" ? {} : { [`${prefix}shadow_effective_policy_id`]: policy }),
      [`${prefix}shadow_engine_result`]: isAllowed ? "allowed" : "denied",
    });
  }
  if (rules === undefined) {
    next();
    return;
  }
  const { isAllowed, policy } = decideRbac(rules, subject);
  if (rules.action === "log") {
    exchange.addMetadata("envoy.common", { access_log_hint: policy !== "none" });
    count(exchange, filter.rulesStatPrefix, "allowed");
    next();
    return;
  }
  count(exchange, filter.rulesStatPrefix, isAllowed ? "allowed" : "denied");
  if (isAllowed) next();
  else exchange.fail({ kind: "accessDenied", policy });
}

function count(exchange: Exchange, prefix: string, stat: string): void {
  const { manager, context } = exchange;
  context.telemetry.counter(`http.${manager.statPrefix}.rbac.${prefix}${stat}`).add(1);
}

function subjectOf(exchange: Exchange): RbacSubject {
  const { connection } = exchange;
  const { identity, localAddress } = connection;
  const colon = localAddress.lastIndexOf(":");
  return {
    headerValues: (name) => {
      if (!name.startsWith(":")) return exchange.head.headers.all(name);
      const value = exchange.get(name);
      return value === undefined ? [] : [value];
    },
    urlPath: pathOf(exchange.target),
    destinationIp: localAddress.slice(0, colon).replace(/^\[|\]$/g, ""),
    destinationPort: Number(localAddress.slice(colon + 1)),
    directRemoteIp: connection.remoteIp,
    remoteIp: exchange.remoteIp,
    requestedServerName: connection.requestedServerName,
    peer: identity && {
      uris: identity.uris,
      dnsNames: identity.dnsNames,
      subject: identity.subject,
    },
    metadata: exchange.metadata,
  };
}
