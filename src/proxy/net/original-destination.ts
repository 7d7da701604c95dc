import { createRequire } from "node:module";
import type { Socket } from "node:net";

/** Where a connection was going before iptables turned it to us. */
export interface Destination {
  readonly address: string;
  readonly port: number;
}

const SOL_IP = 0;
const SOL_IPV6 = 41;
/** linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h: the same number in both. */
const ORIGINAL_DST = 80;
const AF_INET = 2;
const AF_INET6 = 10;
/** sizeof(struct sockaddr_in6), the larger one. */
const SOCKADDR_BYTES = 28;

type GetSockOpt = (fd: number, level: number, name: number, out: Buffer, length: Buffer) => number;

let getsockopt: GetSockOpt | undefined;

/**
 * The destination that a connection had before REDIRECT, from the kernel's connection tracking;
 * undefined when it was not redirected, or where there is no such thing (not Linux).
 */
export function originalDestination(socket: Socket): Destination | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined || process.platform !== "linux") return undefined;
  const isIpv6 =
    socket.localFamily === "IPv6" && socket.localAddress?.startsWith("::ffff:") !== true;
  const found = ask(fd, isIpv6 ? SOL_IPV6 : SOL_IP);
  if (found === undefined) return undefined;
  // Without REDIRECT the kernel answers with the address we know already.
  const isOwn = found.port === socket.localPort && found.address === plain(socket.localAddress);
  return isOwn ? undefined : found;
}

/** Node has no public way to the descriptor of an accepted socket. */
function descriptorOf(socket: Socket): number | undefined {
  if (!("_handle" in socket)) return undefined;
  const handle = socket._handle;
  if (typeof handle !== "object" || handle === null || !("fd" in handle)) return undefined;
  return typeof handle.fd === "number" && handle.fd >= 0 ? handle.fd : undefined;
}

function ask(fd: number, level: number): Destination | undefined {
  getsockopt ??= load();
  const out = Buffer.alloc(SOCKADDR_BYTES);
  const length = Buffer.alloc(4);
  length.writeInt32LE(SOCKADDR_BYTES);
  if (getsockopt(fd, level, ORIGINAL_DST, out, length) !== 0) return undefined;
  return readAddress(out);
}

/** Loaded when the first listener needs it: most proxies never pay for the library. */
function load(): GetSockOpt {
  const koffi: typeof import("koffi") = createRequire(import.meta.url)("koffi");
  const libc = koffi.load(null);
  const found = libc.func(
    "int getsockopt(int fd, int level, int name, _Out_ uint8_t *out, _Inout_ uint8_t *length)",
  );
  return (fd, option, name, out, length) => Number(found(fd, option, name, out, length));
}

/** struct sockaddr_in or sockaddr_in6: family in the host's order, port and address in the network's. */
function readAddress(sockaddr: Buffer): Destination | undefined {
  const family = sockaddr.readUInt16LE(0);
  const port = sockaddr.readUInt16BE(2);
  if (family === AF_INET) return { address: sockaddr.subarray(4, 8).join("."), port };
  if (family !== AF_INET6) return undefined;
  const groups = Array.from({ length: 8 }, (_, i) => sockaddr.readUInt16BE(8 + i * 2).toString(16));
  // As Node writes addresses.
  const url = new URL(`http://[${groups.join(":")}]/`);
  return { address: url.hostname.slice(1, -1), port };
}

function plain(address: string | undefined): string | undefined {
  return address?.startsWith("::ffff:") === true ? address.slice(7) : address;
}
