import type { KubeObject } from "../../../api/index.ts";
import { arrayAt, numberAt, objectsAt, stringAt } from "../api/json.ts";
import { type Backend, backendsOf } from "../node-agent/service-listeners.ts";

/** The chain in a pod's namespace that leads from Services to their endpoints. */
const CHAIN = "SERIN-SERVICES";

/** A port of a Service at its cluster IP, and who is behind it. */
export interface VirtualPort {
  readonly address: string;
  readonly port: number;
  readonly backends: readonly Backend[];
}

/** Every TCP port of every cluster IP, sorted. UDP and SCTP are not served. */
export function virtualPorts(
  services: readonly KubeObject[],
  slices: readonly KubeObject[],
): readonly VirtualPort[] {
  const byService = Map.groupBy(slices, ({ metadata }) => {
    const name = metadata.labels?.["kubernetes.io/service-name"] ?? "";
    return `${metadata.namespace}/${name}`;
  });
  return services
    .flatMap((service) => {
      const own = byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [];
      const address = stringAt(service, "spec", "clusterIP") ?? "";
      if (!/^\d+(\.\d+){3}$/.test(address)) return [];
      return objectsAt(service, "spec", "ports").flatMap((each) => {
        const port = numberAt(each, "port");
        if (port === undefined || (each["protocol"] ?? "TCP") !== "TCP") return [];
        const backends = backendsOf(own, stringAt(each, "name") ?? "");
        return [{ address, port, backends: backends.toSorted(byAddress) }];
      });
    })
    .sort(byAddress);
}

function byAddress(a: Backend, b: Backend): number {
  return a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1;
}

/**
 * The input of `iptables-restore --noflush` that makes cluster IPs reachable from a pod, as kube-proxy
 * does for the machine: each connection goes to one of the ready endpoints, and is refused where
 * there is none. The hook comes last, behind those of a sidecar. `isFirst`: nothing is there yet.
 */
export function serviceRules(ports: readonly VirtualPort[], isFirst: boolean): string {
  const unhook = isFirst ? [] : [`-D OUTPUT -j ${CHAIN}`];
  const table = (name: string, rules: readonly string[]): readonly string[] => [
    `*${name}`,
    `:${CHAIN} - [0:0]`,
    ...unhook,
    ...rules,
    `-A OUTPUT -j ${CHAIN}`,
    "COMMIT",
  ];
  return [
    ...table("nat", ports.flatMap(forwarding)),
    ...table(
      "filter",
      ports
        .filter(({ backends }) => backends.length === 0)
        .map((each) => `-A ${CHAIN} ${destination(each)} -j REJECT --reject-with tcp-reset`),
    ),
    "",
  ].join("\n");
}

function destination({ address, port }: Pick<VirtualPort, "address" | "port">): string {
  return `-d ${address}/32 -p tcp -m tcp --dport ${port}`;
}

/** The first takes 1/n, of what is left the second 1/(n-1), and so on. */
function forwarding(port: VirtualPort): readonly string[] {
  const { backends } = port;
  return backends.map((backend, i) => {
    const left = backends.length - i;
    const chance =
      left === 1 ? "" : ` -m statistic --mode random --probability ${(1 / left).toFixed(8)}`;
    return `-A ${CHAIN} ${destination(port)}${chance} -j DNAT --to-destination ${backend.address}:${backend.port}`;
  });
}

/** Connections of the kubelet's probes reach the application whatever a sidecar captures. */
export function probeRules(source: string): string {
  return `*nat\n-I PREROUTING -s ${source}/32 -p tcp -j ACCEPT\nCOMMIT\n`;
}

/** The IPv4 cluster IPs of a Service. */
export function clusterIpsOf(service: KubeObject): readonly string[] {
  const all = arrayAt(service, "spec", "clusterIPs").filter((each) => typeof each === "string");
  const one = stringAt(service, "spec", "clusterIP") ?? "";
  return (all.length > 0 ? all : [one]).filter((each) => /^\d+(\.\d+){3}$/.test(each));
}
