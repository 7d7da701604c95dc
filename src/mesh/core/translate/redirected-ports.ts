import type { MeshService, ServicePort } from "../model-services.ts";
import type { MeshView } from "../model-view.ts";
import type { PortOfService, RedirectedPorts } from "./virtual-hosts.ts";

/** How the ports of a client's services are listened for, when its connections are redirected. */
export interface OutboundPorts extends RedirectedPorts {
  /** Ports that carry no HTTP, by the address they have for themselves. */
  readonly tcp: readonly AddressedPort[];
  /** Undeclared ports: HTTP or not, each at its own address. Each is in `own` too. */
  readonly sniffed: readonly AddressedPort[];
  /** By number: ports without an address that carry no HTTP. */
  readonly loose: ReadonlyMap<number, readonly PortOfService[]>;
}

/** A port of a service with the addresses that mean it and nothing else. */
export interface AddressedPort extends PortOfService {
  readonly addresses: readonly string[];
}

/** Where redirected connections themselves arrive: nobody's service. */
const SIDECAR_PORTS = new Set([15_001, 15_006]);

/**
 * Sorts the ports as Istio does: HTTP is told apart by Host, so that all services share a port;
 * everything else by the service's address, or, without one, by the port alone.
 */
export function outboundPorts({ services }: Pick<MeshView, "services">): OutboundPorts {
  const shared = new Map<number, PortOfService[]>();
  const loose = new Map<number, PortOfService[]>();
  const own: PortOfService[] = [];
  const tcp: AddressedPort[] = [];
  const sniffed: AddressedPort[] = [];
  const taken = new Set<string>();
  const claim = (service: MeshService, { number }: ServicePort): readonly string[] =>
    service.clusterIps.filter((address) => {
      const key = `${address} ${number}`;
      if (taken.has(key)) return false;
      taken.add(key);
      return true;
    });
  for (const service of services) {
    for (const port of service.ports) {
      if (SIDECAR_PORTS.has(port.number) || port.protocol === "udp") continue;
      const entry = { service, port };
      const hasAddress = service.clusterIps.length > 0;
      if (port.protocol === "http" || port.protocol === "http2") {
        add(shared, port.number, entry);
      } else if (port.protocol === "auto" && hasAddress) {
        const addresses = claim(service, port);
        if (addresses.length === 0) continue;
        own.push(entry);
        sniffed.push({ ...entry, addresses });
      } else if (hasAddress) {
        const addresses = claim(service, port);
        if (addresses.length > 0) tcp.push({ ...entry, addresses });
      } else {
        if (port.protocol === "auto") add(shared, port.number, entry);
        add(loose, port.number, entry);
      }
    }
  }
  return { shared, own, tcp, sniffed, loose };
}

function add<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
