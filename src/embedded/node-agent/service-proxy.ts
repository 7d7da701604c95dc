import { connect, createServer, type Server, type Socket } from "node:net";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import { createKeyedWorker, keyOf, splitKey } from "../controllers/keyed-worker.ts";
import { objectsAt, stringAt } from "../core/api/json.ts";
import {
  type Backend,
  backendsOf,
  type ServiceListener,
  serviceListeners,
  wantsLoadBalancer,
} from "../core/node-agent/service-listeners.ts";
import type { LocalApi } from "../local-api.ts";
import type { AddressPool } from "./address-pool.ts";
import type { EventRecorder } from "./events.ts";

export interface ServiceProxyOptions {
  readonly api: LocalApi;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: EventRecorder;
  /** Where load balancers get their addresses. */
  readonly pool: Pick<AddressPool, "take" | "release">;
  /** Where node ports listen. */
  readonly nodeAddresses: readonly string[];
}

export interface ServiceProxy {
  stop(): Promise<void>;
}

/** What is open for one Service. */
interface Exposed {
  loadBalancerAddress: string | undefined;
  readonly ports: Map<string, ExposedPort>;
}

/** Ports that are in use are tried again, for what has them may go. */
const RETRY_MS = 5_000;

/**
 * Makes Services reachable from the machine, as kube-proxy and a cloud's load balancer do: NodePorts
 * on the node's addresses; a Service of type LoadBalancer gets an address of its own, which stands in
 * its status. Connections are relayed as they are, to the ready endpoints in turn.
 */
export function startServiceProxy(options: ServiceProxyOptions): ServiceProxy {
  const { api } = options;
  const exposed = new Map<string, Exposed>();
  const worker = createKeyedWorker({ ...options, name: "service-proxy" }, (key) =>
    reconcile(options, exposed, key),
  );
  const stops = [
    api.watch(RESOURCES.service, ({ object }) => worker.add(keyOf(object.metadata))),
    api.watch(RESOURCES.endpointSlice, ({ object: { metadata } }) => {
      const name = metadata.labels?.["kubernetes.io/service-name"];
      if (name === undefined) return;
      const key = keyOf({ ...metadata, name });
      if (exposed.has(key)) worker.add(key);
    }),
  ];
  return {
    async stop() {
      for (const stop of stops) stop();
      await worker.stop();
      for (const { ports } of exposed.values()) for (const port of ports.values()) port.close();
      exposed.clear();
    },
  };
}

/** Opens and closes what the Service asks for; answers when to look again, if something is in the way. */
async function reconcile(
  { api, events, pool, nodeAddresses }: ServiceProxyOptions,
  exposed: Map<string, Exposed>,
  key: string,
): Promise<number | undefined> {
  const id = splitKey(key);
  const service = await api.get(RESOURCES.service, id);
  const known = exposed.get(key);
  const isWanted = service !== undefined && wantsLoadBalancer(service);
  let address = known?.loadBalancerAddress;
  if (isWanted) address ??= pool.take(addressInStatus(service));
  const listeners = nodeAddresses.flatMap((node, i) =>
    service === undefined ? [] : serviceListeners(service, node, i === 0 ? address : undefined),
  );
  if (listeners.length === 0) {
    for (const port of known?.ports.values() ?? []) port.close();
    if (address !== undefined) pool.release(address);
    exposed.delete(key);
    return undefined;
  }
  const own = known ?? { loadBalancerAddress: undefined, ports: new Map<string, ExposedPort>() };
  if (!isWanted && address !== undefined) pool.release(address);
  own.loadBalancerAddress = isWanted ? address : undefined;
  exposed.set(key, own);
  const labelSelector = { matchLabels: { "kubernetes.io/service-name": id.name } };
  const slices = await api.list(RESOURCES.endpointSlice, { ...id, labelSelector });
  const wanted = new Map(listeners.map((each) => [`${each.address}:${each.port}`, each]));
  for (const [place, port] of own.ports) {
    if (wanted.has(place)) continue;
    port.close();
    own.ports.delete(place);
  }
  let failed = 0;
  for (const [place, listener] of wanted) {
    let port = own.ports.get(place);
    if (port === undefined) {
      port = new ExposedPort();
      const failure = await port.open(listener);
      if (failure !== undefined) {
        failed += 1;
        if (service !== undefined) {
          const message = `cannot listen on ${place}: ${failure}`;
          events.record(service, { type: "Warning", reason: "FailedToListen", message });
        }
        continue;
      }
      own.ports.set(place, port);
    }
    port.backends = backendsOf(slices, listener.portName);
  }
  if (service !== undefined) await publish(api, service, own.loadBalancerAddress);
  return failed > 0 ? RETRY_MS : undefined;
}

function addressInStatus(service: KubeObject): string | undefined {
  const [ingress] = objectsAt(service, "status", "loadBalancer", "ingress");
  return stringAt(ingress, "ip");
}

/** Writes the load balancer's address into the Service's status, or takes it away. */
async function publish(
  api: LocalApi,
  service: KubeObject,
  address: string | undefined,
): Promise<void> {
  if (addressInStatus(service) === address) return;
  const loadBalancer = { ingress: address === undefined ? null : [{ ip: address, ipMode: "VIP" }] };
  try {
    await api.patch(
      RESOURCES.service,
      service.metadata,
      { metadata: { uid: service.metadata.uid }, status: { loadBalancer } },
      { kind: "merge", subresource: "status" },
    );
  } catch (error) {
    if (!(error instanceof SerinError && error.code === "SERIN_NOT_FOUND")) throw error;
  }
}

/** One listening port; what it accepts goes to the backends in turn. */
class ExposedPort {
  backends: readonly Backend[] = [];
  #next = 0;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();

  /** Answers what is in the way, if anything. */
  open({ address, port }: ServiceListener): Promise<string | undefined> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#relay(socket),
    );
    this.#server = server;
    return new Promise((resolve) => {
      server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      server.listen({ host: address, port, exclusive: true }, () => {
        server.on("error", () => {});
        resolve(undefined);
      });
    });
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(client: Socket): void {
    this.#keep(client);
    // A backend that refuses is left for the next one.
    const tryNext = (left: number): void => {
      const backend = this.backends[this.#next++ % this.backends.length];
      if (backend === undefined || left === 0) {
        client.destroy();
        return;
      }
      const upstream = connect({
        host: backend.address,
        port: backend.port,
        allowHalfOpen: true,
        noDelay: true,
      });
      this.#keep(upstream);
      const onFailure = (): void => tryNext(left - 1);
      upstream.once("error", onFailure);
      upstream.once("connect", () => {
        upstream.off("error", onFailure);
        join(client, upstream);
        join(upstream, client);
      });
    };
    tryNext(this.backends.length);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** Passes on what comes and the end of it; a broken side takes the other with it. */
function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on("close", () => {
    if (!from.readableEnded) to.destroy();
  });
}
