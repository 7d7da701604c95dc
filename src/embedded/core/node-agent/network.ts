import { type ContainerSpec, hasSidecar, type PodSpec, SIDECAR_CONTAINER } from "./pod.ts";

/** Where a network's addresses begin: the first two bytes of a /12. */
export interface AddressRange {
  readonly first: number;
  readonly second: number;
}

/** The loopback network of docs/architecture.md: pod IPs are 127.16.0.0/12. */
export const LOOPBACK_RANGE: AddressRange = { first: 127, second: 16 };
/** Pods in network namespaces of their own: 10.240.0.0/12. */
export const NETNS_RANGE: AddressRange = { first: 10, second: 240 };
/** A range is cut into blocks, one for each cluster of the machine. */
export const BLOCK_COUNT = 256;
/** A block is a /20. Its first two addresses (network, lock) and its last are nobody's. */
const BLOCK_SIZE = 4096;
const FIRST_HOST = 2;
export const ADDRESSES_PER_BLOCK = BLOCK_SIZE - FIRST_HOST - 1;
/** Bit 5 of the second octet: 127.16.0.7 → 127.48.0.7. */
const APPLICATION_BIT = 32;

export const APPLICATION_ADDRESS_ANNOTATION = "embedded.serin.dev/application-address";
/** Names the network namespace that a pod has for itself. */
export const NAMESPACE_ANNOTATION = "embedded.serin.dev/network-namespace";
/** Where a sidecar takes outgoing requests (Istio's http proxy on the outbound port). */
const OUTBOUND_PORT = 15_001;

/** The addresses of a pod. */
export interface PodNetwork {
  readonly podIp: string;
  /** Where the application listens when a sidecar has the pod IP. */
  readonly applicationAddress: string | undefined;
  /** The pod's own network namespace; undefined where it has the machine's. */
  readonly namespace?: string;
  /** Where the kubelet's probes come from, when the pod is to tell them from other connections. */
  readonly probeSource?: string;
}

/** The address whose port is held while a block is used. */
export function lockAddress(block: number): string {
  return addressAt(block, 1);
}

/** The address of the machine in a block of the network of namespaces. */
export function gatewayAddress(block: number): string {
  return addressAt(block, 1, NETNS_RANGE);
}

/** The pod IP number `index` (0 … ADDRESSES_PER_BLOCK - 1) of a block. */
export function podIpAt(block: number, index: number, range = LOOPBACK_RANGE): string {
  return addressAt(block, FIRST_HOST + index, range);
}

/** The index of a pod IP in a block, or undefined when it lies elsewhere. */
export function indexOfPodIp(
  block: number,
  podIp: string,
  range = LOOPBACK_RANGE,
): number | undefined {
  const [a, b = 0, c = 0, d = 0] = podIp.split(".").map(Number);
  const offset = ((c & 15) << 8) + d - FIRST_HOST;
  const isHere = a === range.first && b === range.second + (block >> 4) && c >> 4 === (block & 15);
  return isHere && offset >= 0 && offset < ADDRESSES_PER_BLOCK ? offset : undefined;
}

function addressAt(block: number, offset: number, range = LOOPBACK_RANGE): string {
  const second = range.second + (block >> 4);
  return `${range.first}.${second}.${((block & 15) << 4) + (offset >> 8)}.${offset & 255}`;
}

/** The addresses a pod uses, given its pod IP. */
export function podNetwork(podIp: string, spec: PodSpec): PodNetwork {
  if (!hasSidecar(spec)) return { podIp, applicationAddress: undefined };
  const [a, b = "16", ...rest] = podIp.split(".");
  return { podIp, applicationAddress: [a, Number(b) | APPLICATION_BIT, ...rest].join(".") };
}

/** What a pod's annotations say of its network; null = nothing. */
export function networkAnnotations(network: PodNetwork): Readonly<Record<string, string | null>> {
  return {
    [APPLICATION_ADDRESS_ANNOTATION]: network.applicationAddress ?? null,
    [NAMESPACE_ANNOTATION]: network.namespace ?? null,
  };
}

/** Where a container listens, and where its probes go. */
export function listenAddress(network: PodNetwork, container: string): string {
  if (container === SIDECAR_CONTAINER) return network.podIp;
  return network.applicationAddress ?? network.podIp;
}

/** What the network tells a container by environment. */
export function networkVariables(
  network: PodNetwork,
  container: ContainerSpec,
): Readonly<Record<string, string>> {
  // A program in a namespace of its own listens where it likes.
  if (network.namespace !== undefined) return {};
  const [port] = container.ports;
  const common = {
    HOST: listenAddress(network, container.name),
    POD_IP: network.podIp,
    ...(port === undefined ? {} : { PORT: String(port.containerPort) }),
  };
  if (network.applicationAddress === undefined) return common;
  if (container.name === SIDECAR_CONTAINER) {
    return { ...common, ISTIO_META_APPLICATION_ADDRESS: network.applicationAddress };
  }
  const proxy = `http://${network.podIp}:${OUTBOUND_PORT}`;
  return {
    ...common,
    HTTP_PROXY: proxy,
    http_proxy: proxy,
    NO_PROXY: "localhost,127.0.0.1",
    NODE_USE_ENV_PROXY: "1",
  };
}
