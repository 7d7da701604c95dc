import type { Socket } from "node:net";
import type { FilterChainConfig } from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { decideRbac, type RbacSubject } from "../core/rbac.ts";
import { type ConnectionInfo, localAddressOf } from "./connection-info.ts";

/** Whether a connection may be served: the network RBAC filters of its chain, in order. */
export function mayConnect(
  context: ProxyContext,
  { authorization }: FilterChainConfig,
  socket: Socket,
  info: ConnectionInfo,
): boolean {
  if (authorization.length === 0) return true;
  const subject = subjectOf(socket, info);
  for (const { statPrefix, rbac } of authorization) {
    const count = (prefix: string, stat: string): void =>
      context.telemetry.counter(`${statPrefix}rbac.${prefix}${stat}`).add(1);
    if (rbac.shadowRules !== undefined) {
      const { isAllowed } = decideRbac(rbac.shadowRules, subject);
      count(rbac.shadowRulesStatPrefix, isAllowed ? "shadow_allowed" : "shadow_denied");
    }
    if (rbac.rules === undefined) continue;
    const { isAllowed } = decideRbac(rbac.rules, subject);
    count("", isAllowed ? "allowed" : "denied");
    if (!isAllowed) return false;
  }
  return true;
}

function subjectOf(socket: Socket, info: ConnectionInfo): RbacSubject {
  const local = localAddressOf(socket, info);
  const colon = local.lastIndexOf(":");
  const { identity } = info;
  return {
    headerValues: () => [],
    urlPath: undefined,
    destinationIp: local.slice(0, colon).replace(/^\[|\]$/g, ""),
    destinationPort: Number(local.slice(colon + 1)),
    directRemoteIp: socket.remoteAddress ?? "",
    remoteIp: socket.remoteAddress ?? "",
    requestedServerName: info.requestedServerName,
    peer: identity && {
      uris: identity.uris,
      dnsNames: identity.dnsNames,
      subject: identity.subject,
    },
    metadata: undefined,
  };
}
