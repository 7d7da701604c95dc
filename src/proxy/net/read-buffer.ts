import { type OnReadOpts, Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** What a connection begins with, and what one gets that fills it. */
const PLAIN_BYTES = 16_384;
const LARGE_BYTES = 131_072;
/** The plain text of one full TLS record (RFC 8446 §5.1): more never comes at once. */
export const TLS_RECORD_BYTES = 16_384;
const MAX_SPARES = 64;

/** The buffers of closed connections, for the next ones, by size. */
const spares: Readonly<Record<number, Buffer[]>> = { [PLAIN_BYTES]: [], [LARGE_BYTES]: [] };
const owners = new WeakMap<ArrayBufferLike, ReadBuffer>();

/**
 * The memory one connection reads into, again and again: Node would allocate 64 KB for every read,
 * and all that memory outside of V8's heap makes its collector run far too often. What is read is
 * valid until the callback returns; who needs it longer copies it or says `keepBytes`.
 */
export class ReadBuffer {
  #bytes: Buffer;
  readonly #maxBytes: number;
  /** Node does not know `#bytes` yet. */
  #isNew = true;

  constructor(isTls: boolean) {
    this.#maxBytes = isTls ? TLS_RECORD_BYTES : LARGE_BYTES;
    this.#bytes = this.#take(isTls ? TLS_RECORD_BYTES : PLAIN_BYTES);
  }

  /** The memory that the next read goes to. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Node's options for a socket that reads into this buffer; `onBytes` gets the bytes at its start. */
  onread(onBytes: (bytes: Buffer, length: number) => void): OnReadOpts {
    return {
      // Called once at first and then after every read. Telling Node what it knows would cost time.
      buffer: (() => this.#changed()) as () => Buffer,
      callback: (length) => {
        const bytes = this.#bytes;
        onBytes(bytes, length);
        if (length === bytes.length && length < this.#maxBytes) this.#grow(bytes);
        return true;
      },
    };
  }

  /** Somebody goes on using the memory: later reads go elsewhere. */
  replace(): void {
    this.#bytes = this.#take(this.#bytes.length);
    this.#isNew = true;
  }

  /** The connection is closed. */
  release(): void {
    const pool = spares[this.#bytes.length];
    owners.delete(this.#bytes.buffer);
    if (pool !== undefined && pool.length < MAX_SPARES) pool.push(this.#bytes);
  }

  /** There is more to read than fits: most connections never need as much. */
  #grow(before: Buffer): void {
    const isFree = before === this.#bytes;
    if (isFree) this.release();
    this.#bytes = this.#take(this.#maxBytes);
    this.#isNew = true;
  }

  #changed(): Buffer | undefined {
    if (!this.#isNew) return undefined;
    this.#isNew = false;
    return this.#bytes;
  }

  #take(sizeBytes: number): Buffer {
    const bytes = spares[sizeBytes]?.pop() ?? Buffer.allocUnsafeSlow(sizeBytes);
    owners.set(bytes.buffer, this);
    return bytes;
  }
}

/** Whether a later read of some connection will overwrite these bytes. */
export function isReadBuffer(bytes: Buffer): boolean {
  return ownerOf(bytes) !== undefined;
}

/** Nobody overwrites these bytes from now on. */
export function keepBytes(bytes: Buffer): void {
  ownerOf(bytes)?.replace();
}

/** Writes what was read, without a copy; false when the socket is behind, as `socket.write`. */
export function writeBytes(socket: Socket, bytes: Buffer): boolean {
  const isBehind = socket.writableLength > 0;
  const isTaken = socket.write(bytes);
  if (isBehind || !hasTaken(socket)) keepBytes(bytes);
  return isTaken;
}

/**
 * Whether what was just written to a socket that had nothing waiting may be overwritten. The kernel
 * takes all of it at once or Node keeps it; with TLS it is encrypted at once, and what waits is
 * cipher text.
 */
export function hasTaken(socket: Socket): boolean {
  if (socket.writableLength === 0) return true;
  return socket instanceof TLSSocket && !socket.connecting;
}

function ownerOf(bytes: Buffer): ReadBuffer | undefined {
  const owner = owners.get(bytes.buffer);
  return owner?.bytes.buffer === bytes.buffer ? owner : undefined;
}

/** What Node keeps a socket's `onread` option under; it can only be given when a socket is made. */
interface OnreadKeys {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

const KEYS = findKeys();

/**
 * Hands on what an accepted socket receives. Where this Node allows it the bytes come in a buffer
 * that is used again (`isReadBuffer`), else each time in a new one. Bytes that were received before
 * come first. The buffer goes back when the socket closes.
 */
export function readFrom(socket: Socket, onBytes: (bytes: Buffer) => void): void {
  // What is buffered already comes by this event, and all of it without the keys.
  socket.on("data", onBytes);
  const handle: unknown = Reflect.get(socket, "_handle");
  if (KEYS === undefined || typeof handle !== "object" || handle === null) return;
  const use: unknown = Reflect.get(handle, "useUserBuffer");
  if (typeof use !== "function") return;
  const buffer = new ReadBuffer(socket instanceof TLSSocket);
  const { callback, buffer: generator } = buffer.onread((bytes, length) =>
    onBytes(bytes.subarray(0, length)),
  );
  if (typeof generator !== "function") return;
  const first = generator();
  Reflect.set(socket, KEYS.callback, callback);
  Reflect.set(socket, KEYS.generator, generator);
  Reflect.set(socket, KEYS.buffer, first);
  Reflect.apply(use, handle, [first]);
  socket.once("close", () => buffer.release());
}

function findKeys(): OnreadKeys | undefined {
  const buffer = (): Buffer => Buffer.alloc(0);
  const callback = (): boolean => true;
  const socket = new Socket({ onread: { buffer, callback } });
  const keys = Object.getOwnPropertySymbols(socket);
  const holding = (value: unknown): symbol | undefined =>
    keys.find((key) => Reflect.get(socket, key) === value);
  const found = {
    buffer: keys.find((key) => key.description === "kBuffer"),
    callback: holding(callback),
    generator: holding(buffer),
  };
  socket.destroy();
  const { buffer: bufferKey, callback: callbackKey, generator } = found;
  if (bufferKey === undefined || callbackKey === undefined || generator === undefined) return;
  return { buffer: bufferKey, callback: callbackKey, generator };
}
