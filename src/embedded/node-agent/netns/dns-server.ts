import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { messageOf, SerinError } from "../../../base/index.ts";
import {
  answerTo,
  CODE,
  type DnsQuestion,
  type DnsRecord,
  parseQuestion,
  RECORD,
} from "../../core/netns/dns-message.ts";
import type { DnsZone } from "../../core/netns/dns-records.ts";
import { type DnsAnswer, resolveName } from "../../core/netns/dns-records.ts";

const PORT = 53;
const FORWARD_TIMEOUT_MS = 2000;
const MAX_TCP_QUERY_BYTES = 1024;
/** A client that asks by TCP and says nothing more. */
const TCP_IDLE_MS = 10_000;

/** The cluster's DNS. */
export interface DnsServer {
  close(): Promise<void>;
}

/**
 * Serves the cluster's names by UDP and TCP; any other name as the machine itself resolves it.
 * Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startDnsServer(address: string, zone: () => DnsZone): Promise<DnsServer> {
  const resolver = new Resolver({ timeout: FORWARD_TIMEOUT_MS, tries: 2 });
  const answer = async (message: Buffer, isDatagram: boolean): Promise<Buffer | undefined> => {
    const question = parseQuestion(message);
    if (question === undefined) return undefined;
    const found =
      resolveName(question.name, question.type, zone()) ?? (await forwarded(resolver, question));
    const more = await followed(resolver, question, found, zone());
    return answerTo(question, found.code, [...found.records, ...more], isDatagram);
  };

  const udp = createSocket("udp4");
  udp.on("message", (message, { address: host, port }) => {
    void answer(message, true).then((reply) => {
      // A client that left misses its answer.
      if (reply !== undefined && !isClosed) udp.send(reply, port, host, () => {});
    });
  });
  let isClosed = false;
  const sockets = new Set<Socket>();
  const tcp = createServer((socket) => {
    sockets.add(socket);
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    serveStream(socket, (message) => answer(message, false));
  });
  try {
    udp.bind({ address, port: PORT, exclusive: true });
    await once(udp, "listening");
    tcp.listen({ host: address, port: PORT, exclusive: true });
    await once(tcp, "listening");
  } catch (error) {
    udp.close();
    const message = `cannot serve DNS on ${address}:${PORT}: ${messageOf(error)}`;
    throw new SerinError("SERIN_PORT_IN_USE", message, { cause: error });
  }
  return {
    async close() {
      isClosed = true;
      resolver.cancel();
      udp.close();
      tcp.close();
      for (const socket of sockets) socket.destroy();
      await once(tcp, "close");
    },
  };
}

/** Each message is preceded by its length in two bytes (RFC 1035, 4.2.2). */
function serveStream(
  socket: Socket,
  answer: (message: Buffer) => Promise<Buffer | undefined>,
): void {
  let bytes = Buffer.alloc(0);
  socket.on("data", (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    while (bytes.length >= 2) {
      const length = bytes.readUInt16BE(0);
      if (length > MAX_TCP_QUERY_BYTES) {
        socket.destroy();
        return;
      }
      if (bytes.length < 2 + length) return;
      const message = bytes.subarray(2, 2 + length);
      bytes = bytes.subarray(2 + length);
      void answer(message).then((reply) => {
        if (reply === undefined) {
          socket.destroy();
          return;
        }
        const size = Buffer.alloc(2);
        size.writeUInt16BE(reply.length, 0);
        if (!socket.destroyed) socket.write(Buffer.concat([size, reply]));
      });
    }
  });
}

const NOTHING: DnsAnswer = { code: CODE.OK, records: [] };

/** What the machine's own resolver knows of a name. */
async function forwarded(
  resolver: Resolver,
  { name, type }: Pick<DnsQuestion, "name" | "type">,
): Promise<DnsAnswer> {
  if (type !== RECORD.A && type !== RECORD.ANY && type !== RECORD.AAAA) return NOTHING;
  // Pods have no IPv6.
  if (type === RECORD.AAAA) return NOTHING;
  try {
    const all = await resolver.resolve4(name);
    const records = all.map((address): DnsRecord => ({ name, kind: "A", address }));
    return { code: CODE.OK, records };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "ENODATA") return NOTHING;
    return { code: code === "ENOTFOUND" ? CODE.NO_SUCH_NAME : CODE.FAILURE, records: [] };
  }
}

/** The addresses of the name that an answer's alias leads to. */
async function followed(
  resolver: Resolver,
  { type }: DnsQuestion,
  { records }: DnsAnswer,
  zone: DnsZone,
): Promise<readonly DnsRecord[]> {
  const alias = records.find((each) => each.kind === "CNAME");
  if (alias === undefined || type === RECORD.CNAME) return [];
  const name = alias.target.replace(/\.$/, "").toLowerCase();
  return (resolveName(name, type, zone) ?? (await forwarded(resolver, { name, type }))).records;
}
