/** Record types of RFC 1035 and RFC 2782 that cluster DNS knows. */
export const RECORD = { A: 1, CNAME: 5, SOA: 6, AAAA: 28, SRV: 33, ANY: 255 } as const;
/** Response codes of RFC 1035. */
export const CODE = { OK: 0, FORMAT_ERROR: 1, FAILURE: 2, NO_SUCH_NAME: 3 } as const;

/** What is asked. */
export interface DnsQuestion {
  readonly id: number;
  /** Lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  readonly wantsRecursion: boolean;
  /** As it came: the answer repeats it. */
  readonly bytes: Buffer;
}

/** One record of an answer. */
export type DnsRecord =
  | { readonly name: string; readonly kind: "A"; readonly address: string }
  | { readonly name: string; readonly kind: "CNAME"; readonly target: string }
  | { readonly name: string; readonly kind: "SRV"; readonly port: number; readonly target: string };

/** As CoreDNS answers for the cluster. */
const TTL_SECONDS = 5;
const INTERNET = 1;
const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
/** What fits a datagram without EDNS. */
const MAX_DATAGRAM_BYTES = 512;

/** Reads a query with one question; undefined for anything else. Never throws. */
export function parseQuestion(message: Buffer): DnsQuestion | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const flags = message.readUInt16BE(2);
  const isQuery = (flags & 0x8000) === 0 && (flags & 0x7800) === 0;
  if (!isQuery || message.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    // Questions have no pointers.
    if (length === undefined || length > 63) return undefined;
    at += 1;
    if (length === 0) break;
    if (at + length > message.length || at + length - HEADER_BYTES > MAX_NAME_BYTES) {
      return undefined;
    }
    labels.push(message.toString("latin1", at, at + length).toLowerCase());
    at += length;
  }
  if (at + 4 > message.length || message.readUInt16BE(at + 2) !== INTERNET) return undefined;
  return {
    id: message.readUInt16BE(0),
    name: labels.join("."),
    type: message.readUInt16BE(at),
    wantsRecursion: (flags & 0x0100) !== 0,
    bytes: message.subarray(HEADER_BYTES, at + 4),
  };
}

/** An answer; one that is too long for a datagram is cut and says so, so that the client asks by TCP. */
export function answerTo(
  question: DnsQuestion,
  code: number,
  records: readonly DnsRecord[],
  isDatagram: boolean,
): Buffer {
  const encoded = records.map(encodeRecord);
  const whole = HEADER_BYTES + question.bytes.length + encoded.reduce((n, e) => n + e.length, 0);
  const isCut = isDatagram && whole > MAX_DATAGRAM_BYTES;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(question.id, 0);
  // A response, authoritative, recursion available.
  const flags = 0x8480 | (isCut ? 0x0200 : 0) | (question.wantsRecursion ? 0x0100 : 0) | code;
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(isCut ? 0 : encoded.length, 6);
  return Buffer.concat([header, question.bytes, ...(isCut ? [] : encoded)]);
}

function encodeRecord(record: DnsRecord): Buffer {
  const data = dataOf(record);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(RECORD[record.kind], 0);
  fixed.writeUInt16BE(INTERNET, 2);
  fixed.writeUInt32BE(TTL_SECONDS, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodeName(record.name), fixed, data]);
}

function dataOf(record: DnsRecord): Buffer {
  switch (record.kind) {
    case "A":
      return Buffer.from(record.address.split(".").map(Number));
    case "CNAME":
      return encodeName(record.target);
    case "SRV": {
      // Priority 0, weight 100, as CoreDNS.
      const fixed = Buffer.from([0, 0, 0, 100, record.port >> 8, record.port & 255]);
      return Buffer.concat([fixed, encodeName(record.target)]);
    }
  }
}

function encodeName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.flatMap((label) => {
    const bytes = Buffer.from(label.slice(0, 63), "latin1");
    return [Buffer.from([bytes.length]), bytes];
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}
