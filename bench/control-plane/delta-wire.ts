/** A resource of a delta response; `bytes` is the whole `Resource` message. */
export interface DeltaResource {
  readonly name: string;
  readonly bytes: Buffer;
}

export interface DeltaResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly DeltaResource[];
}

/** Reads the little of a DeltaDiscoveryResponse that a client must know to acknowledge it. */
export function parseDelta(message: Buffer): DeltaResponse {
  let typeUrl = "";
  let nonce = "";
  const resources: DeltaResource[] = [];
  for (const [field, bytes] of fieldsOf(message)) {
    if (field === 2) resources.push({ name: textOf(bytes, 3), bytes });
    else if (field === 4) typeUrl = bytes.toString("utf8");
    else if (field === 5) nonce = bytes.toString("utf8");
  }
  return { typeUrl, nonce, resources };
}

/** The encoded message of a resource: `Resource.resource.value`. */
export function bodyOf({ bytes }: DeltaResource): Buffer {
  for (const [field, any] of fieldsOf(bytes)) {
    if (field !== 2) continue;
    for (const [inner, value] of fieldsOf(any)) if (inner === 2) return value;
  }
  return Buffer.alloc(0);
}

function textOf(message: Buffer, wanted: number): string {
  for (const [field, bytes] of fieldsOf(message)) {
    if (field === wanted) return bytes.toString("utf8");
  }
  return "";
}

/** The length-delimited fields of a message; others are skipped (protobuf encoding, wire types). */
function* fieldsOf(message: Buffer): Generator<readonly [field: number, bytes: Buffer]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = message[at] ?? 0;
      at += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const wireType = tag & 7;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else {
      const length = varint();
      yield [tag >>> 3, message.subarray(at, at + length)];
      at += length;
    }
  }
}
