/** What the first bytes of a connection say about it. */
export type Inspection =
  | { readonly kind: "incomplete" }
  | { readonly kind: "plain" }
  | {
      readonly kind: "tls";
      /** Lower case; "" = none sent. */
      readonly serverName: string;
      readonly applicationProtocols: readonly string[];
    };

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const APPLICATION_LAYER_PROTOCOL_NEGOTIATION = 16;
/** As Envoy's tls_inspector: a ClientHello larger than this is not looked into. */
const MAX_HELLO_BYTES = 16_384;

/**
 * Tells TLS from plain text and reads SNI and ALPN from a ClientHello, without consuming anything.
 * `bytes` is all that has arrived so far. Source: RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1.
 */
export function inspectFirstBytes(bytes: Buffer): Inspection {
  if (bytes.length === 0) return { kind: "incomplete" };
  if (bytes[0] !== HANDSHAKE_RECORD) return { kind: "plain" };
  if (bytes.length >= 2 && bytes[1] !== 3) return { kind: "plain" };
  const hello = joinRecords(bytes);
  if (hello === undefined) {
    return bytes.length > MAX_HELLO_BYTES ? UNREADABLE : { kind: "incomplete" };
  }
  return readClientHello(hello) ?? UNREADABLE;
}

const UNREADABLE: Inspection = { kind: "tls", serverName: "", applicationProtocols: [] };

/** The handshake message of the first records, or undefined when more bytes are needed. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  let gathered = 0;
  let position = 0;
  while (position + 5 <= bytes.length && bytes[position] === HANDSHAKE_RECORD) {
    const length = bytes.readUInt16BE(position + 3);
    const end = Math.min(bytes.length, position + 5 + length);
    parts.push(bytes.subarray(position + 5, end));
    gathered += end - position - 5;
    position += 5 + length;
  }
  const message = parts.length === 1 ? parts[0] : Buffer.concat(parts);
  if (message === undefined || gathered < 4) return undefined;
  const size = message.readUIntBE(1, 3);
  if (size > MAX_HELLO_BYTES) return message;
  return gathered >= size + 4 ? message.subarray(0, size + 4) : undefined;
}

function readClientHello(hello: Buffer): Inspection | undefined {
  if (hello[0] !== CLIENT_HELLO) return undefined;
  try {
    let position = 4 + 2 + 32;
    position += 1 + hello.readUInt8(position);
    position += 2 + hello.readUInt16BE(position);
    position += 1 + hello.readUInt8(position);
    let serverName = "";
    let applicationProtocols: readonly string[] = [];
    if (position + 2 <= hello.length) {
      const end = Math.min(hello.length, position + 2 + hello.readUInt16BE(position));
      position += 2;
      while (position + 4 <= end) {
        const type = hello.readUInt16BE(position);
        const length = hello.readUInt16BE(position + 2);
        const body = hello.subarray(position + 4, position + 4 + length);
        if (type === SERVER_NAME) serverName = readServerName(body);
        if (type === APPLICATION_LAYER_PROTOCOL_NEGOTIATION) applicationProtocols = readAlpn(body);
        position += 4 + length;
      }
    }
    return { kind: "tls", serverName, applicationProtocols };
  } catch {
    // A length points past the end: no hello that anybody can read; the handshake will fail.
    return undefined;
  }
}

function readServerName(body: Buffer): string {
  // ServerNameList: one host_name (type 0).
  if (body.length < 5 || body[2] !== 0) return "";
  return body
    .subarray(5, 5 + body.readUInt16BE(3))
    .toString("latin1")
    .toLowerCase();
}

function readAlpn(body: Buffer): readonly string[] {
  const names: string[] = [];
  let position = 2;
  while (position < body.length) {
    const length = body.readUInt8(position);
    names.push(body.subarray(position + 1, position + 1 + length).toString("latin1"));
    position += 1 + length;
  }
  return names;
}
