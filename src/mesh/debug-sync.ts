import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  SECRET_TYPE,
} from "../xds/index.ts";
import type { Connection } from "./ads-server.ts";

/** How far one type of one proxy is, in Istio's words; ERROR: it refused something. */
export type SyncStatus = "SYNCED" | "STALE" | "NOT SENT" | "ERROR";

const FIELDS: readonly (readonly [ResourceTypeUrl, string])[] = [
  [CLUSTER_TYPE, "cluster"],
  [LISTENER_TYPE, "listener"],
  [ROUTE_TYPE, "route"],
  [ENDPOINT_TYPE, "endpoint"],
  [SECRET_TYPE, "secret"],
];

/** One proxy as `istioctl proxy-status` reads it: each type's nonces and state, and what was refused. */
export function syncOf(
  { node, protocol, session, problems }: Connection,
  controlPlane: string,
): object {
  const progress = new Map(session.progress().map((each) => [each.typeUrl, each]));
  const fields = FIELDS.flatMap(([typeUrl, name]): [string, unknown][] => {
    const type = progress.get(typeUrl);
    let state: SyncStatus = "SYNCED";
    if (type === undefined || type.nonceSent === "") state = "NOT SENT";
    else if (type.rejected.length > 0) state = "ERROR";
    else if (type.isInFlight) state = "STALE";
    const errors = type?.rejected.map((each) => each.message) ?? [];
    return [
      [`${name}_sent`, type?.nonceSent ?? ""],
      [`${name}_acked`, type?.nonceAcked ?? ""],
      [`${name}_status`, state],
      ...(errors.length === 0 ? [] : [[`${name}_errors`, errors] as [string, unknown]]),
    ];
  });
  return {
    proxy: `${node.name}.${node.namespace}`,
    proxy_type: node.role,
    node_id: node.id,
    cluster_id: node.clusterId ?? "",
    proxy_version: node.version ?? "",
    control_plane: controlPlane,
    protocol,
    acked_push: session.ackedPush(),
    ...(problems.length === 0 ? {} : { held_back: problems.map(({ message }) => message) }),
    ...Object.fromEntries(fields),
  };
}

/** The clients of /debug/adsz: who is connected, as whom, and what each was sent and holds. */
export function clientsOf(connections: readonly Connection[]): object {
  return {
    totalClients: connections.length,
    clients: connections.map(({ id, node, protocol, identity, session }) => ({
      connectionId: `${node.name}.${node.namespace}-${id}`,
      node: node.id,
      protocol,
      ...(identity === undefined
        ? {}
        : { identity: `${identity.namespace}/${identity.serviceAccount}` }),
      watches: Object.fromEntries(
        session
          .progress()
          .map(({ typeUrl }) => [typeUrl, Object.fromEntries([...session.held(typeUrl)].sort())]),
      ),
    })),
  };
}
