import type { KubeObject } from "../../../api/index.ts";
import { arrayAt, numberAt, objectsAt, stringAt, valueAt } from "../api/json.ts";
import { CODE, type DnsRecord, RECORD } from "./dns-message.ts";
import { clusterIpsOf } from "./service-rules.ts";

/** The domain of the cluster's own names. */
export const CLUSTER_DOMAIN = "cluster.local";

/** An answer; undefined for a name that is none of the cluster's. */
export interface DnsAnswer {
  readonly code: number;
  readonly records: readonly DnsRecord[];
}

/** All that names are made of. */
export interface DnsZone {
  readonly services: readonly KubeObject[];
  readonly slices: readonly KubeObject[];
}

/**
 * Answers as Kubernetes' DNS specification (dns.md of kubernetes/dns) says: a Service's name is its
 * cluster IP, or, of a headless one, its ready endpoints; `_port._tcp.` of it are SRV records; a
 * hostname before it is one endpoint. IPv6 addresses there are none.
 */
export function resolveName(name: string, type: number, zone: DnsZone): DnsAnswer | undefined {
  if (name !== CLUSTER_DOMAIN && !name.endsWith(`.${CLUSTER_DOMAIN}`)) return undefined;
  const match = /^(?:(.+)\.)?([^.]+)\.([^.]+)\.svc\.cluster\.local$/.exec(name);
  const [, prefix, serviceName, namespace] = match ?? [];
  const service = zone.services.find(
    ({ metadata }) => metadata.name === serviceName && metadata.namespace === namespace,
  );
  if (service === undefined || serviceName === undefined) return NO_SUCH_NAME;
  const own = zone.slices.filter(
    ({ metadata }) =>
      metadata.namespace === namespace &&
      metadata.labels?.["kubernetes.io/service-name"] === serviceName,
  );
  const at = `${serviceName}.${namespace}.svc.${CLUSTER_DOMAIN}`;
  if (prefix === undefined) return plainAnswer(at, type, service, own);
  const srv = /^_([^.]+)\._tcp$/.exec(prefix);
  if (srv !== null) return portAnswer(name, at, srv[1] ?? "", type, service, own);
  const found = endpointsOf(own).filter(({ label }) => label === prefix);
  if (stringAt(service, "spec", "clusterIP") !== "None" || found.length === 0) return NO_SUCH_NAME;
  return addresses(
    name,
    type,
    found.map(({ address }) => address),
  );
}

const NO_SUCH_NAME: DnsAnswer = { code: CODE.NO_SUCH_NAME, records: [] };

function plainAnswer(
  at: string,
  type: number,
  service: KubeObject,
  slices: readonly KubeObject[],
): DnsAnswer {
  const target = stringAt(service, "spec", "externalName");
  if (stringAt(service, "spec", "type") === "ExternalName" && target !== undefined) {
    return { code: CODE.OK, records: [{ name: at, kind: "CNAME", target }] };
  }
  if (stringAt(service, "spec", "clusterIP") !== "None") {
    return addresses(at, type, clusterIpsOf(service));
  }
  return addresses(
    at,
    type,
    endpointsOf(slices).map(({ address }) => address),
  );
}

function addresses(name: string, type: number, all: readonly string[]): DnsAnswer {
  const wanted = type === RECORD.A || type === RECORD.ANY;
  const records = [...new Set(all)].map((address): DnsRecord => ({ name, kind: "A", address }));
  // The name is there; of another type it has nothing.
  return { code: CODE.OK, records: wanted ? records : [] };
}

function portAnswer(
  name: string,
  at: string,
  portName: string,
  type: number,
  service: KubeObject,
  slices: readonly KubeObject[],
): DnsAnswer {
  const port = objectsAt(service, "spec", "ports").find((each) => each["name"] === portName);
  const number = numberAt(port, "port");
  if (number === undefined) return NO_SUCH_NAME;
  if (type !== RECORD.SRV && type !== RECORD.ANY) return { code: CODE.OK, records: [] };
  if (stringAt(service, "spec", "clusterIP") !== "None") {
    return { code: CODE.OK, records: [{ name, kind: "SRV", port: number, target: at }] };
  }
  const records = slices.flatMap((slice) => {
    const own = objectsAt(slice, "ports").find((each) => each["name"] === portName);
    const target = numberAt(own, "port") ?? number;
    return endpointsOf([slice]).map(
      ({ label }): DnsRecord => ({ name, kind: "SRV", port: target, target: `${label}.${at}` }),
    );
  });
  return { code: CODE.OK, records };
}

/** The ready endpoints: their addresses, and what they are called before the service's name. */
function endpointsOf(
  slices: readonly KubeObject[],
): readonly { readonly address: string; readonly label: string }[] {
  return slices.flatMap((slice) =>
    objectsAt(slice, "endpoints").flatMap((endpoint) => {
      const [address] = arrayAt(endpoint, "addresses");
      const isReady = valueAt(endpoint, "conditions", "ready") !== false;
      if (typeof address !== "string" || !isReady || address.includes(":")) return [];
      return [{ address, label: stringAt(endpoint, "hostname") ?? address.replaceAll(".", "-") }];
    }),
  );
}

/** A pod's /etc/resolv.conf with `dnsPolicy: ClusterFirst` (kubelet's). */
export function resolvConf(namespace: string, nameServer: string): string {
  const domains = [`${namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN];
  return `search ${domains.join(" ")}\nnameserver ${nameServer}\noptions ndots:5\n`;
}
