import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RequestHead, ResponseHead } from "../../../src/proxy/core/http1/head-parser.ts";
import type { HeaderBlock } from "../../../src/proxy/core/http1/header-block.ts";
import {
  type MessageSink,
  RequestDecoder,
  ResponseDecoder,
} from "../../../src/proxy/core/http1/message-decoder.ts";
import type { ProtocolError } from "../../../src/proxy/core/http1/protocol-error.ts";

const LIMITS = { maxHeadBytes: 8192, maxHeaders: 50 };

/** Everything a decoder says, as text: data of neighbouring calls is one event. */
class Recorder implements MessageSink<RequestHead | ResponseHead> {
  readonly events: string[] = [];
  #data = "";

  onHead(head: RequestHead | ResponseHead): void {
    const line = "method" in head ? `${head.method} ${head.target} ${head.authority}` : head.status;
    this.events.push(`head ${line} ${JSON.stringify(head.headers.entries())}`);
  }
  onData(bytes: Buffer, start: number, end: number): void {
    assert.ok(end > start, "empty data");
    this.#data += bytes.toString("latin1", start, end);
  }
  onEnd(trailers: HeaderBlock | undefined): void {
    this.#flush();
    this.events.push(`end ${JSON.stringify(trailers?.entries() ?? [])}`);
  }
  onProtocolError(error: ProtocolError): void {
    this.#flush();
    this.events.push(`error ${error.status} ${error.details}`);
  }
  #flush(): void {
    if (this.#data !== "") this.events.push(`data ${this.#data}`);
    this.#data = "";
  }
}

type Decoder = RequestDecoder | ResponseDecoder;

/** Feeds the pieces as reads of a socket; each message follows at once. */
function feed(decoder: Decoder, pieces: readonly Buffer[]): string[] {
  const recorder = new Recorder();
  for (const piece of pieces) {
    let offset = 0;
    while (offset < piece.length) {
      const next = decoder.decode(piece, offset, piece.length, recorder);
      if (decoder.isDone) decoder.next();
      else if (next === offset || decoder.hasFailed) break;
      offset = next;
    }
    if (decoder.hasFailed) break;
  }
  return recorder.events;
}

function decodeRequest(text: string): string[] {
  return feed(new RequestDecoder(LIMITS), [Buffer.from(text, "latin1")]);
}

const GOOD: readonly (readonly [name: string, text: string, events: readonly string[]])[] = [
  [
    "a plain GET",
    "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n",
    ['head GET /a?b x [["host","x"]]', "end []"],
  ],
  [
    "values without surrounding whitespace",
    "GET / HTTP/1.1\r\nHost: \t x \t\r\nA:b\r\nEmpty:\r\n\r\n",
    ['head GET / x [["host","x"],["a","b"],["empty",""]]', "end []"],
  ],
  [
    "an empty line before the request line",
    "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ['head GET / x [["host","x"]]', "end []"],
  ],
  [
    "an absolute-form target",
    "GET http://h:8080?q HTTP/1.1\r\nHost: other\r\n\r\n",
    ['head GET /?q h:8080 [["host","h:8080"]]', "end []"],
  ],
  [
    "asterisk-form",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ['head OPTIONS * x [["host","x"]]', "end []"],
  ],
  [
    "authority-form",
    "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    ['head CONNECT h:443 h:443 [["host","h:443"]]', "end []"],
  ],
  [
    "a body with a length, and what follows it",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: y\r\n\r\n",
    [
      'head POST / x [["host","x"],["content-length","3"]]',
      "data abc",
      "end []",
      'head GET / y [["host","y"]]',
      "end []",
    ],
  ],
  [
    "chunks with an extension and trailers, of which framing ones are dropped",
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n" +
      "2;a=b\r\nab\r\n00A\r\n0123456789\r\n0\r\nX-T: v\r\nContent-Length: 9\r\n\r\n",
    ['head POST / x [["host","x"]]', "data ab0123456789", 'end [["x-t","v"]]'],
  ],
  [
    "what Connection names is dropped, Host and Content-Length never",
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Drop, host, content-length\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n",
    ['head GET / x [["host","x"],["content-length","0"]]', "end []"],
  ],
];

for (const [name, text, events] of GOOD) {
  test(`accepts ${name}`, () => assert.deepEqual(decodeRequest(text), events));
}

const HOST = "Host: x\r\n";
/** Heads and bodies that two parsers might read differently: each is refused, and how. */
const SMUGGLING: readonly (readonly [name: string, text: string, details: string])[] = [
  [
    "Content-Length with Transfer-Encoding",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    "content_length_and_chunked_not_allowed",
  ],
  [
    "Transfer-Encoding with Content-Length",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n`,
    "content_length_and_chunked_not_allowed",
  ],
  [
    "two lengths that differ",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "two equal lengths",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "a list of lengths",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3, 3\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "a signed length",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: +3\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "a hexadecimal length",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x3\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "an empty length",
    `POST / HTTP/1.1\r\n${HOST}Content-Length:\r\n\r\n`,
    "invalid_content_length",
  ],
  [
    "a length beyond any number",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 99999999999999999999\r\n\r\n`,
    "invalid_content_length",
  ],
  ["a bare LF after the request line", `GET / HTTP/1.1\n${HOST}\r\n`, "bare_lf"],
  ["a bare LF after a header", `GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n`, "bare_lf"],
  ["only bare LFs", "GET / HTTP/1.1\nHost: x\n\n", "bare_lf"],
  ["a bare CR in a value", `GET / HTTP/1.1\r\n${HOST}A: b\rC: d\r\n\r\n`, "bare_cr"],
  ["NUL in a value", `GET / HTTP/1.1\r\n${HOST}A: b\0\r\n\r\n`, "invalid_header_value"],
  [
    "a control character in a value",
    `GET / HTTP/1.1\r\n${HOST}A: b\x01\r\n\r\n`,
    "invalid_header_value",
  ],
  ["DEL in a value", `GET / HTTP/1.1\r\n${HOST}A: b\x7f\r\n\r\n`, "invalid_header_value"],
  ["a folded line", `GET / HTTP/1.1\r\n${HOST}A: b\r\n c\r\n\r\n`, "obs_fold"],
  ["a fold right after the request line", `GET / HTTP/1.1\r\n ${HOST}\r\n`, "obs_fold"],
  [
    "a space before the colon",
    `GET / HTTP/1.1\r\n${HOST}Content-Length : 3\r\n\r\n`,
    "invalid_header_name",
  ],
  ["a space in a name", `GET / HTTP/1.1\r\n${HOST}A B: 3\r\n\r\n`, "invalid_header_name"],
  ["an empty name", `GET / HTTP/1.1\r\n${HOST}: b\r\n\r\n`, "invalid_header_name"],
  ["a header without colon", `GET / HTTP/1.1\r\n${HOST}abc\r\n\r\n`, "invalid_header_name"],
  [
    "a byte above ASCII in a name",
    `GET / HTTP/1.1\r\n${HOST}\xe9: 1\r\n\r\n`,
    "invalid_header_name",
  ],
  [
    "gzip, chunked",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    "invalid_transfer_encoding",
  ],
  [
    "chunked twice",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    "invalid_transfer_encoding",
  ],
  [
    "identity",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: identity\r\n\r\n`,
    "invalid_transfer_encoding",
  ],
  [
    "xchunked",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n`,
    "invalid_transfer_encoding",
  ],
  [
    "chunked with vertical tab",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    "invalid_header_value",
  ],
  ["no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", "invalid_host"],
  ["two Hosts", `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, "invalid_host"],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "invalid_host"],
  ["a Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", "invalid_host"],
  ["a Host with userinfo", "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", "invalid_host"],
  ["a list of Hosts", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", "invalid_host"],
  ["a relative target", `GET a HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["another scheme", `GET ftp://x/ HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["userinfo in the target", `GET http://a@x/ HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["a fragment in the target", `GET /a#b HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["a control character in the target", `GET /\x01 HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["a byte above ASCII in the target", `GET /\xe9 HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["an asterisk for GET", `GET * HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["a space in the target", `GET /a b HTTP/1.1\r\n${HOST}\r\n`, "invalid_version"],
  ["two spaces in the request line", `GET  / HTTP/1.1\r\n${HOST}\r\n`, "invalid_url"],
  ["a bad method", `G(T / HTTP/1.1\r\n${HOST}\r\n`, "invalid_method"],
  ["a space before the method", ` GET / HTTP/1.1\r\n${HOST}\r\n`, "invalid_method"],
  ["HTTP/0.9", `GET /\r\n${HOST}\r\n`, "invalid_request_line"],
  ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, "invalid_version"],
  ["HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "invalid_version"],
  ["lower-case http", `GET / http/1.1\r\n${HOST}\r\n`, "invalid_version"],
  ["a version with trailing space", `GET / HTTP/1.1 \r\n${HOST}\r\n`, "invalid_version"],
  ["TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "invalid_header_value"],
];

for (const [name, text, details] of SMUGGLING) {
  test(`refuses ${name}`, () => {
    assert.deepEqual(decodeRequest(text), [`error 400 http1.${details}`]);
  });
}

const CHUNKED = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
const BAD_CHUNKS: readonly (readonly [name: string, text: string, details: string])[] = [
  ["no size", "\r\nab\r\n", "invalid_chunk_size"],
  ["a size that is no number", "xyz\r\n", "invalid_chunk_size"],
  ["a prefixed size", "0x2\r\nab\r\n", "invalid_chunk_size"],
  ["a negative size", "-2\r\nab\r\n", "invalid_chunk_size"],
  ["a size that overflows", "ffffffffffffffff1\r\n", "invalid_chunk_size"],
  ["a space after the size", "2 \r\nab\r\n", "invalid_chunk_size"],
  ["a bare LF after the size", "2\nab\r\n", "invalid_chunk_size"],
  ["a CR without LF after the size", "2\rab\r\n", "invalid_chunk_size"],
  ["no CRLF after the data", "2\r\nabc\r\n", "invalid_chunk_size"],
  ["a bare LF after the data", "2\r\nab\n", "invalid_chunk_size"],
  ["a bare LF in an extension", "2;a\nab\r\n", "invalid_chunk_extension"],
  ["NUL in an extension", "2;\0\r\nab\r\n", "invalid_chunk_extension"],
  ["an endless extension", `2;${"a".repeat(20_000)}`, "invalid_chunk_extension"],
  ["a trailer without colon", "0\r\nabc\r\n\r\n", "invalid_trailers"],
  ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "invalid_trailers"],
  ["a bare LF in trailers", "0\r\nA: b\n\r\n", "invalid_trailers"],
];

for (const [name, text, details] of BAD_CHUNKS) {
  test(`refuses chunks with ${name}`, () => {
    const events = decodeRequest(CHUNKED + text);
    assert.equal(events.at(-1), `error 400 http1.${details}`);
    assert.ok(!events.some((event) => event.startsWith("end")), "the message did not end");
  });
}

test("limits the size of a head and the number of its headers", () => {
  const many = `GET / HTTP/1.1\r\n${HOST}${"A: b\r\n".repeat(60)}\r\n`;
  assert.deepEqual(decodeRequest(many), ["error 431 too_many_headers"]);
  const long = `GET / HTTP/1.1\r\n${HOST}A: ${"b".repeat(9000)}`;
  assert.deepEqual(decodeRequest(`${long}\r\n\r\n`), ["error 431 request_headers_too_large"]);
  assert.deepEqual(decodeRequest(long), ["error 431 request_headers_too_large"], "before its end");
});

test("tells an HTTP/1.0 client to upgrade", () => {
  assert.deepEqual(decodeRequest("GET / HTTP/1.0\r\n\r\n"), ["error 426 low_version"]);
});

const RESPONSES: readonly (readonly [
  name: string,
  method: string,
  text: string,
  events: readonly string[],
])[] = [
  [
    "a length",
    "GET",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
    ['head 200 [["content-length","2"]]', "data ab", "end []"],
  ],
  ["no reason phrase", "GET", "HTTP/1.1 204\r\n\r\n", ["head 204 []", "end []"]],
  [
    "HEAD: no body whatever the length",
    "HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    ['head 200 [["content-length","2"]]', "end []"],
  ],
  [
    "304: no body",
    "GET",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    ['head 304 [["content-length","2"]]', "end []"],
  ],
  [
    "interim responses are skipped",
    "GET",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
    ["head 204 []", "end []"],
  ],
  [
    "an upgrade nobody asked for",
    "GET",
    "HTTP/1.1 101 Switching\r\n\r\n",
    ["error 400 http1.invalid_status_line"],
  ],
  [
    "two framings",
    "GET",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    ["error 400 http1.content_length_and_chunked_not_allowed"],
  ],
  [
    "a broken status line",
    "GET",
    "HTTP/1.1 2000 OK\r\n\r\n",
    ["error 400 http1.invalid_status_line"],
  ],
  ["no version", "GET", "ICY 200 OK\r\n\r\n", ["error 400 http1.invalid_status_line"]],
  ["a bare LF", "GET", "HTTP/1.1 200 OK\nA: b\r\n\r\n", ["error 400 http1.invalid_status_line"]],
  ["a folded line", "GET", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ["error 400 http1.obs_fold"]],
];

for (const [name, method, text, events] of RESPONSES) {
  test(`response: ${name}`, () => {
    const decoder = new ResponseDecoder(LIMITS);
    decoder.expect(method);
    assert.deepEqual(feed(decoder, [Buffer.from(text, "latin1")]), events);
  });
}

test("a body without length ends with the connection, any other is broken by it", () => {
  const decoder = new ResponseDecoder(LIMITS);
  const recorder = new Recorder();
  const bytes = Buffer.from("HTTP/1.1 200 OK\r\n\r\nabc");
  decoder.decode(bytes, 0, bytes.length, recorder);
  assert.equal(decoder.endOfInput(recorder), true);
  assert.deepEqual(recorder.events, ["head 200 []", "data abc", "end []"]);

  const broken = new ResponseDecoder(LIMITS);
  const part = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
  broken.decode(part, 0, part.length, recorder);
  assert.equal(broken.endOfInput(recorder), false);
});

// ── properties ──────────────────────────────────────────────────────────────

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}$/);
const value = fc.stringMatching(
  /^(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]{0,20}[\x21-\x7e])?)?$/,
);
const RESERVED =
  /^(host|content-length|transfer-encoding|connection|keep-alive|te|upgrade|proxy-connection|expect)$/i;
const header = fc.tuple(
  token.filter((name) => !RESERVED.test(name)),
  value,
);
const bodies = fc.oneof(
  fc.constant({ kind: "none" as const }),
  fc.record({
    kind: fc.constant("length" as const),
    body: fc.string({ unit: "binary-ascii", maxLength: 60 }),
  }),
  fc.record({
    kind: fc.constant("chunked" as const),
    chunks: fc.array(fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 30 }), {
      maxLength: 5,
    }),
    trailer: fc.option(value, { nil: undefined }),
  }),
);
const message = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "X-OWN"),
  target: fc.stringMatching(/^\/[A-Za-z0-9/?&=%._~-]{0,30}$/),
  headers: fc.array(header, { maxLength: 8 }),
  body: bodies,
});

function encodeMessage(m: typeof message extends fc.Arbitrary<infer T> ? T : never): {
  text: string;
  events: string[];
} {
  let text = `${m.method} ${m.target} HTTP/1.1\r\nHost: h\r\n`;
  const fields: [string, string][] = [["host", "h"]];
  for (const [name, v] of m.headers) {
    text += `${name}: ${v}\r\n`;
    fields.push([name.toLowerCase(), v]);
  }
  const events: string[] = [];
  const finish = (data: string, trailers: [string, string][]): void => {
    events.push(`head ${m.method} ${m.target} h ${JSON.stringify(fields)}`);
    if (data !== "") events.push(`data ${data}`);
    events.push(`end ${JSON.stringify(trailers)}`);
  };
  if (m.body.kind === "none") {
    text += "\r\n";
    finish("", []);
  } else if (m.body.kind === "length") {
    text += `Content-Length: ${m.body.body.length}\r\n\r\n${m.body.body}`;
    fields.push(["content-length", String(m.body.body.length)]);
    finish(m.body.body, []);
  } else {
    text += "Transfer-Encoding: chunked\r\n\r\n";
    for (const chunk of m.body.chunks) text += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
    const { trailer } = m.body;
    text += trailer === undefined ? "0\r\n\r\n" : `0\r\nx-t: ${trailer}\r\n\r\n`;
    finish(m.body.chunks.join(""), trailer === undefined ? [] : [["x-t", trailer]]);
  }
  return { text, events };
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...points].map((start, i) => bytes.subarray(start, points[i] ?? bytes.length));
}

test("any split of the bytes of any messages gives the messages back", () => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(2000), { maxLength: 40 }),
      (messages, cuts) => {
        const encoded = messages.map(encodeMessage);
        const bytes = Buffer.from(encoded.map((e) => e.text).join(""), "latin1");
        const events = encoded.flatMap((e) => e.events);
        assert.deepEqual(feed(new RequestDecoder(LIMITS), split(bytes, cuts)), events);
      },
    ),
    { numRuns: 500 },
  );
});

test("one byte at a time gives the same events as all at once, for good and bad input", () => {
  for (const [, text] of [
    ...GOOD,
    ...SMUGGLING,
    ...BAD_CHUNKS.map(([n, t]) => [n, CHUNKED + t] as const),
  ]) {
    const bytes = Buffer.from(text, "latin1");
    const whole = feed(new RequestDecoder(LIMITS), [bytes]);
    const single = feed(new RequestDecoder(LIMITS), split(bytes, [...bytes.keys()]));
    // A bad head may be refused for an earlier reason when it is seen byte by byte.
    if (whole.at(-1)?.startsWith("error 400")) {
      assert.ok(single.at(-1)?.startsWith("error 400"), `${JSON.stringify(text)}: ${single}`);
    } else {
      assert.deepEqual(single, whole, JSON.stringify(text));
    }
  }
});

test("random bytes never throw and never end a message that had no head", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom(
          "GET ",
          "/ ",
          "HTTP/1.1",
          "\r\n",
          "\n",
          "Host: x",
          ":",
          " ",
          "0",
          "\0",
          "\r\n\r\n",
          "Transfer-Encoding: chunked",
        ),
        { maxLength: 30 },
      ),
      (parts) => {
        const events = feed(new RequestDecoder(LIMITS), [Buffer.from(parts.join(""), "latin1")]);
        const heads = events.filter((event) => event.startsWith("head")).length;
        const ends = events.filter((event) => event.startsWith("end")).length;
        assert.ok(ends <= heads && heads - ends <= 1);
      },
    ),
    { numRuns: 2000 },
  );
});

test("removed and set headers leave every other byte as it came", () => {
  fc.assert(
    fc.property(
      fc.array(header, { minLength: 1, maxLength: 10 }),
      fc.array(fc.nat(9)),
      (headers, removed) => {
        let head: RequestHead | ResponseHead | undefined;
        const sink: MessageSink<RequestHead> = {
          onHead: (h) => {
            head = h;
          },
          onData: () => {},
          onEnd: () => {},
          onProtocolError: (error) => assert.fail(error.details),
        };
        const lines = headers.map(([name, v]) => `${name}: ${v}\r\n`);
        const bytes = Buffer.from(`GET / HTTP/1.1\r\nHost: h\r\n${lines.join("")}\r\n`, "latin1");
        new RequestDecoder(LIMITS).decode(bytes, 0, bytes.length, sink);
        const names = new Set(
          removed.map((i) => headers[i % headers.length]?.[0].toLowerCase() ?? ""),
        );
        for (const name of names) head?.headers.remove(name);
        head?.headers.set("x-added", "1");
        const kept = headers.flatMap(([name], i) =>
          names.has(name.toLowerCase()) || name.toLowerCase() === "x-added" ? [] : [lines[i]],
        );
        assert.equal(head?.headers.encode(), `Host: h\r\n${kept.join("")}x-added: 1\r\n`);
      },
    ),
  );
});
