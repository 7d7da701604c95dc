import type { StringMap } from "../../../api/index.ts";
import type { MessageTypes } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { policiesFor } from "../model-security.ts";
import { httpAuthorization, tcpAuthorization } from "./authorization.ts";
import { requestAuthentication } from "./request-authentication.ts";

type Filter = MessageTypes["envoy.config.listener.v3.Filter"];
type HttpFilter =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"];

/** What stands before a workload: for requests, and for connections that carry none. */
export interface WorkloadSecurity {
  readonly http: readonly HttpFilter[];
  readonly tcp: readonly Filter[];
}

/** The filters of the policies that apply to a workload: who is asking, then whether they may. */
export function securityOf(
  model: MeshModel,
  workload: { readonly namespace: string; readonly labels: StringMap },
): WorkloadSecurity {
  const { rootNamespace, trustDomain } = model;
  const authentications = policiesFor(model.requestAuthentications, workload, rootNamespace);
  const policies = policiesFor(model.authorizationPolicies, workload, rootNamespace);
  const jwt = requestAuthentication(authentications, model);
  return {
    http: [...(jwt === undefined ? [] : [jwt]), ...httpAuthorization(policies, trustDomain)],
    tcp: tcpAuthorization(policies, trustDomain),
  };
}
