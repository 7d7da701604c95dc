function table(characters: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (characters(code) ? 1 : 0));
}

const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";
const isAlphanumeric = (code: number): boolean =>
  (code >= 0x30 && code <= 0x39) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x61 && code <= 0x7a);

/** 1 for tchar (RFC 9110 §5.6.2). */
export const TOKEN: Uint8Array = table(
  (code) => isAlphanumeric(code) || TOKEN_PUNCTUATION.includes(String.fromCharCode(code)),
);

/** 1 for what a field value may hold: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5). */
export const FIELD_VALUE: Uint8Array = table(
  (code) => code === 9 || (code >= 0x20 && code !== 0x7f),
);

/** 1 for what a request target may hold: VCHAR without `#`; nothing outside ASCII (RFC 9112 §3.2). */
export const TARGET: Uint8Array = table((code) => code > 0x20 && code < 0x7f && code !== 0x23);

/** The value of a hexadecimal digit, or 255. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});
