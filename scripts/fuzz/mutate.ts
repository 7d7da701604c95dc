import type { Random } from "./random.ts";

/** Pieces of HTTP that matter to parsers. */
const TOKENS: readonly string[] = [
  ...[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "\0",
    " ",
    "\t",
    "\x0b",
    "\x7f",
    "\xff",
    ":",
    ";",
    ",",
  ],
  ...["0\r\n\r\n", "1\r\na\r\n", "ffffffff\r\n", "Content-Length: 1\r\n", "Content-Length: 0\r\n"],
  ...[
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Host: y\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
  ],
  ...[
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "Upgrade: websocket\r\nConnection: upgrade\r\n",
    "%00",
    "%2f",
  ],
  ...[
    "../",
    "//",
    "\\",
    "Expect: 100-continue\r\n",
    "Trailer: x\r\n",
    "chunked",
    "identity",
    "%",
    "(",
    "*",
  ],
];

/** `bytes` with one to four random edits; `others` are where spliced pieces come from. */
export function mutate(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let out = bytes;
  for (let edits = 1 + random.below(4); edits > 0; edits -= 1) out = edit(out, others, random);
  return out;
}

function edit(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(16));
  switch (random.below(8)) {
    case 0: {
      // One bit.
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    }
    case 1: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = random.below(256);
      return copy;
    }
    case 2:
      return splice(bytes, at, end, Buffer.alloc(0));
    case 3:
      // Twice.
      return splice(bytes, end, end, bytes.subarray(at, end));
    case 4:
      return splice(bytes, at, at, Buffer.from(random.pick(TOKENS), "latin1"));
    case 5:
      return splice(bytes, at, end, Buffer.from(random.pick(TOKENS), "latin1"));
    case 6: {
      const other = random.pick(others);
      const from = random.below(other.length);
      return splice(bytes, at, at, other.subarray(from, from + 1 + random.below(64)));
    }
    default:
      return bytes.subarray(0, at);
  }
}

function splice(bytes: Buffer, start: number, end: number, insert: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(end)]);
}

/** Cuts into random pieces, now and then into single bytes. */
export function cut(bytes: Buffer, random: Random): readonly Buffer[] {
  const longest = random.chance(0.2) ? 1 : 1 + random.below(bytes.length + 1);
  const pieces: Buffer[] = [];
  for (let position = 0; position < bytes.length; ) {
    const end = position + 1 + random.below(longest);
    // A copy: a decoder that keeps a view of a read must not be saved by its neighbours.
    pieces.push(Buffer.from(bytes.subarray(position, end)));
    position = end;
  }
  return pieces;
}
