import { cookieOf, cookieValue } from "./cookie.ts";

/** Where a client keeps the name of the host that it stays with. */
export type SessionState =
  | {
      readonly kind: "cookie";
      readonly name: string;
      /** 0 = until the client forgets it. */
      readonly ttlSeconds: number;
      readonly path: string;
      readonly attributes: readonly (readonly [name: string, value: string])[];
    }
  | { readonly kind: "header"; readonly name: string };

/** Envoy's stateful_session filter; without a state it does nothing. */
export interface StatefulSession {
  readonly state: SessionState | undefined;
  /** Nobody but the client's host may answer. */
  readonly isStrict: boolean;
}

/** The `ip:port` that a client has come with; undefined when it has none, or one that is over. */
export function sessionAddress(
  state: SessionState,
  header: (name: string) => string | undefined,
  nowSeconds: number,
): string | undefined {
  const value =
    state.kind === "header" ? header(state.name) : cookieValue(header("cookie") ?? "", state.name);
  if (value === undefined || value === "") return undefined;
  const bytes = Buffer.from(value, "base64");
  if (state.kind === "header") return bytes.toString("latin1");
  const cookie = readCookie(bytes);
  // As Envoy: what is no message is an address as it stands.
  if (cookie === undefined) return bytes.toString("latin1");
  const isOver = cookie.expires !== 0 && nowSeconds > cookie.expires;
  return cookie.address === "" || isOver ? undefined : cookie.address;
}

/** Whether requests of this path have the session; a cookie may be for a part of them. */
export function hasSession(state: SessionState, path: string): boolean {
  if (state.kind === "header" || state.path === "" || state.path === "/") return true;
  if (!path.startsWith(state.path)) return false;
  if (path.length === state.path.length || state.path.endsWith("/")) return true;
  const next = path[state.path.length];
  return next === "/" || next === "?" || next === "#";
}

/** What tells the client which host it has now. */
export function sessionHeader(
  state: SessionState,
  address: string,
  nowSeconds: number,
): readonly [name: string, value: string] {
  if (state.kind === "header") return [state.name, Buffer.from(address).toString("base64")];
  const { ttlSeconds } = state;
  const message = writeCookie(address, ttlSeconds === 0 ? 0 : nowSeconds + ttlSeconds);
  return ["set-cookie", cookieOf(state, ttlSeconds, message.toString("base64"))];
}

/** The message envoy.Cookie: address = 1, expires = 2 (seconds). */
function writeCookie(address: string, expires: number): Buffer {
  const text = Buffer.from(address);
  const head = Buffer.from([0x0a, ...varint(text.length)]);
  const tail = expires === 0 ? Buffer.alloc(0) : Buffer.from([0x10, ...varint(expires)]);
  return Buffer.concat([head, text, tail]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

/** Undefined when the bytes are no such message. Its two fields are all that Envoy writes. */
function readCookie(
  bytes: Buffer,
): { readonly address: string; readonly expires: number } | undefined {
  let [address, expires, index] = ["", 0, 0];
  const number = (): number | undefined => {
    let [value, scale] = [0, 1];
    while (index < bytes.length && scale < 2 ** 56) {
      const byte = bytes[index] ?? 0;
      index += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    return undefined;
  };
  while (index < bytes.length) {
    const tag = bytes[index];
    index += 1;
    const value = number();
    if (value === undefined) return undefined;
    if (tag === 0x10) expires = value;
    else if (tag === 0x0a && index + value <= bytes.length) {
      address = bytes.toString("latin1", index, index + value);
      index += value;
    } else return undefined;
  }
  return { address, expires };
}
