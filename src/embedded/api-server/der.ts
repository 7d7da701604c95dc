/** The few DER structures a certificate needs (ITU-T X.690). */

/** One TLV with the given tag. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length: number[] = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), body]);
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]): Buffer => der(0x31, ...parts);
export const octetString = (bytes: Uint8Array): Buffer => der(0x04, bytes);
export const bitString = (bytes: Uint8Array): Buffer => der(0x03, Buffer.from([0]), bytes);
export const utf8String = (text: string): Buffer => der(0x0c, Buffer.from(text));
export const derTrue = (): Buffer => der(0x01, Buffer.from([0xff]));
/** A constructed, context-specific tag: `[n]`. */
export const explicit = (tag: number, inner: Uint8Array): Buffer => der(0xa0 | tag, inner);

/** A positive INTEGER from its big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  const padded = ((bytes[0] ?? 0) & 0x80) === 0 ? bytes : Buffer.concat([Buffer.from([0]), bytes]);
  return der(0x02, padded);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const group = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) group.unshift(0x80 | (left & 0x7f));
    bytes.push(...group);
  }
  return der(0x06, Buffer.from(bytes));
}

/** A time, as GeneralizedTime (RFC 5280 wants it from 2050 on, and readers take it before too). */
export function time(atMs: number): Buffer {
  const text = new Date(atMs).toISOString().replaceAll(/[-:T]/g, "");
  // UTCTime until 2049 (RFC 5280 §4.1.2.5).
  if (Number(text.slice(0, 4)) < 2050) return der(0x17, Buffer.from(`${text.slice(2, 14)}Z`));
  return der(0x18, Buffer.from(`${text.slice(0, 14)}Z`));
}
