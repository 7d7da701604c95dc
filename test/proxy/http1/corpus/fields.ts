import { accepted, type HttpCase, refused } from "./case.ts";

const withField = (field: string): string => `GET /first HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`;
type Row = readonly [name: string, bytes: string];
const rows = (list: readonly Row[]): readonly Row[] =>
  list.map(([name, field]) => [name, withField(field)] as const);

const CONTROLS = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 24, 26, 27, 28, 30, 31, 127];
const hex = (code: number): string => `0x${code.toString(16).padStart(2, "0")}`;

/** Field lines (RFC 9112 §5, RFC 9110 §5). */
export const FIELDS: readonly HttpCase[] = [
  ...refused(
    "RFC 9110 §5.5 field values",
    400,
    rows([
      ...CONTROLS.map((c) => [`${hex(c)} in a value`, `A: b${String.fromCharCode(c)}c`] as const),
      ["NUL in a value", "A: b\0c"],
      ["NUL alone", "A: \0"],
      ["a bare CR in a value", "A: b\rc"],
      ["a bare LF in a value", "A: b\nc"],
      ["a bare LF that makes a field", "A: b\nC: d"],
      ["CR CR LF", "A: b\r\r\nC: d"],
      ["LF CR", "A: b\n\rC: d"],
      ["a bare CR that makes a field", "A: b\rC: d"],
      ["LF LF inside a head", `A: b\n\nGET /smuggled HTTP/1.1\r\nHost: y`],
    ]),
  ),
  ...refused(
    "RFC 9110 §5.1 field names",
    400,
    rows([
      ...CONTROLS.map((c) => [`${hex(c)} in a name`, `A${String.fromCharCode(c)}B: c`] as const),
      ["NUL in a name", "A\0B: c"],
      ["a space in a name", "A B: c"],
      ["a tab in a name", "A\tB: c"],
      ["an empty name", ": c"],
      ["an empty name with a space", " : c"],
      ["a parenthesis", "A(B: c"],
      ["a slash", "A/B: c"],
      ["an at sign", "A@B: c"],
      ["brackets", "A[]: c"],
      ["braces", "A{}: c"],
      ["an equals sign", "A=B: c"],
      ["a comma", "A,B: c"],
      ["a semicolon", "A;B: c"],
      ["a question mark", "A?B: c"],
      ["quotes", '"A": c'],
      ["a backslash", "A\\B: c"],
      ["angle brackets", "<A>: c"],
      ["latin-1", "A\xe9: c"],
      ["UTF-8", "A\xc3\xa9: c"],
      ["a soft hyphen", "A\xadB: c"],
      ["a no-break space", "\xa0A: c"],
      ["a byte order mark", "\xef\xbb\xbfA: c"],
      ["no colon", "Abc"],
      ["no colon but a space", "Abc def"],
      ["a pseudo header", ":authority: y"],
      ["a pseudo header for the path", ":path: /smuggled"],
      ["a bare LF in a name", "A\nB: c"],
      ["a bare CR in a name", "A\rB: c"],
    ]),
  ),
  ...refused(
    "§5.1 no whitespace before the colon",
    400,
    rows([
      ["a space before the colon", "A : b"],
      ["a tab before the colon", "A\t: b"],
      ["many spaces before the colon", "A     : b"],
      ["a vertical tab before the colon", "A\x0b: b"],
    ]),
  ),
  ...refused(
    "§5.2 obs-fold",
    400,
    rows([
      ["a fold with a space", "A: b\r\n c"],
      ["a fold with a tab", "A: b\r\n\tc"],
      ["a fold of nothing", "A: b\r\n "],
      ["a fold before a value", "A:\r\n b"],
      ["two folds", "A: b\r\n c\r\n d"],
      ["a fold that looks like a field", "A: b\r\n C: d"],
      ["a fold that looks like a length", "A: b\r\n\tContent-Length: 50"],
    ]),
  ),
  ...refused("§5.2 a fold behind the request line", 400, [
    ["a fold with a space first", "GET /first HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n"],
    ["a fold with a tab first", "GET /first HTTP/1.1\r\n\tA: b\r\nHost: x\r\n\r\n"],
  ]),
  ...refused(
    "Envoy: max_headers_count and max_request_headers_kb",
    431,
    rows([
      ["too many fields", "A: b\r\n".repeat(200).trimEnd()],
      ["a field that is too long", `A: ${"b".repeat(70_000)}`],
      ["a name that is too long", `${"A".repeat(70_000)}: b`],
      ["many long fields", `A: ${"b".repeat(900)}\r\n`.repeat(80).trimEnd()],
    ]),
  ),
  ...refused("Envoy: max_request_headers_kb counts the request line", 431, [
    ["a target that is too long", `GET /first?${"a".repeat(70_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["a method that is too long", `${"A".repeat(70_000)} /first HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["a Host that is too long", `GET /first HTTP/1.1\r\nHost: ${"x".repeat(70_000)}\r\n\r\n`],
  ]),
  ...refused("a head without end", 431, [
    ["endless text", `GET /first HTTP/1.1\r\nHost: x\r\nA: ${"b".repeat(80_000)}`],
    ["an endless method", "A".repeat(80_000)],
  ]),
  ...accepted(
    "RFC 9110 §5.5 what is allowed",
    rows([
      ["an empty value", "A:"],
      ["no space behind the colon", "A:b"],
      ["tabs around a value", "A:\t\tb\t"],
      ["a tab within a value", "A: b\tc"],
      ["latin-1 in a value", "A: \xe9"],
      ["UTF-8 in a value", "A: \xc3\xa9\xe2\x82\xac"],
      ["a value of colons", "A: :::"],
      ["the same field twice", "A: b\r\nA: c"],
      ["a name of signs", "!#$%&'*+-.^_`|~: b"],
      ["a URL with CRLF encoded", "A: %0d%0aHost:%20y"],
      ["Connection naming Host", "Connection: host"],
      ["Connection of commas", "Connection: ,,,"],
      ["h2c, which is ignored", "Connection: upgrade\r\nUpgrade: h2c"],
      ["Upgrade that Connection does not name", "Upgrade: websocket"],
      ["Trailer without chunks", "Trailer: Content-Length"],
      ["Max-Forwards", "Max-Forwards: 0"],
    ]),
  ),
];
