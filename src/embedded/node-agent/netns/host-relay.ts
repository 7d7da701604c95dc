import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { messageOf, SerinError } from "../../../base/index.ts";

const LOOPBACK = "127.0.0.1";

/** An open relay. */
export interface HostRelay {
  close(): void;
}

/**
 * Takes connections on an address of the pods' network and passes them on to the same port of the
 * machine's loopback. Throws SERIN_PORT_IN_USE.
 */
export async function openHostRelay(address: string, port: number): Promise<HostRelay> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: LOOPBACK, port, allowHalfOpen: true, noDelay: true });
    keep(client);
    keep(upstream);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen({ host: address, port, exclusive: true });
  try {
    await once(server, "listening");
  } catch (error) {
    const message = `cannot listen on ${address}:${port} for the pods: ${messageOf(error)}`;
    throw new SerinError("SERIN_PORT_IN_USE", message, { cause: error });
  }
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
