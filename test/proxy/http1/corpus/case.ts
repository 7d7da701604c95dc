/**
 * One hostile or odd piece of HTTP/1, as a client sends it. Every case is followed on the wire by a
 * complete second request for `/smuggled`, which nobody may ever see as one unless `forwarded` says so.
 */
export interface HttpCase {
  readonly name: string;
  /** The section it breaks (RFC 9112 unless said otherwise), or the published attack it is taken from. */
  readonly source: string;
  /** One character per byte. */
  readonly bytes: string;
  /** The statuses answered, in order; after the last the connection closes unless `staysOpen`. */
  readonly answers: readonly number[];
  /** The request targets that an upstream sees, in order; `!` at the end: seen, but broken off. */
  readonly forwarded: readonly string[];
  readonly staysOpen: boolean;
  /** The client sends nothing more, so that the case stays unfinished. */
  readonly isTruncated: boolean;
}

/** Six and nine bytes, as the names that a run puts in their place: lengths must not change. */
export const FIRST = "/first";
export const SECOND = "/smuggled";
export const SMUGGLED = `GET ${SECOND} HTTP/1.1\r\nHost: x\r\n\r\n`;

type Row = readonly [name: string, bytes: string];

function each(
  source: string,
  rows: readonly Row[],
  rest: Omit<HttpCase, "name" | "source" | "bytes">,
): readonly HttpCase[] {
  return rows.map(([name, bytes]) => ({ name, source, bytes: bytes + SMUGGLED, ...rest }));
}

/** Heads that are refused with `status` before anybody upstream hears of them. */
export function refused(source: string, status: number, rows: readonly Row[]): readonly HttpCase[] {
  return each(source, rows, {
    answers: [status],
    forwarded: [],
    staysOpen: false,
    isTruncated: false,
  });
}

/** Well-formed and refused for what it says: the request behind it is served. */
export function refusedInStep(
  source: string,
  status: number,
  rows: readonly Row[],
): readonly HttpCase[] {
  return each(source, rows, {
    answers: [status, 200],
    forwarded: [SECOND],
    staysOpen: true,
    isTruncated: false,
  });
}

/** Bodies that break after their head has gone upstream: 400, and upstream the request never ends. */
export function brokenBody(source: string, rows: readonly Row[]): readonly HttpCase[] {
  return each(source, rows, {
    answers: [400],
    forwarded: [`${FIRST}!`],
    staysOpen: false,
    isTruncated: false,
  });
}

/** One honest request and then one that is refused. */
export function refusedSecond(source: string, rows: readonly Row[]): readonly HttpCase[] {
  return each(source, rows, {
    answers: [200, 400],
    forwarded: [FIRST],
    staysOpen: false,
    isTruncated: false,
  });
}

/** Odd but unambiguous: one request goes upstream, then the honest second one. */
export function accepted(source: string, rows: readonly Row[]): readonly HttpCase[] {
  return each(source, rows, {
    answers: [200, 200],
    forwarded: [FIRST, SECOND],
    staysOpen: true,
    isTruncated: false,
  });
}

/** What looks like a second request is the body of the first: exactly one goes upstream. */
export function swallowed(source: string, rows: readonly Row[]): readonly HttpCase[] {
  return rows.map(([name, bytes]) => ({
    name,
    source,
    bytes,
    answers: [200],
    forwarded: [FIRST],
    staysOpen: true,
    isTruncated: false,
  }));
}

/** The client leaves in the middle: no answer, and nothing whole goes upstream. */
export function truncated(
  source: string,
  forwarded: readonly string[],
  rows: readonly Row[],
): readonly HttpCase[] {
  return rows.map(([name, bytes]) => ({
    name,
    source,
    bytes,
    answers: [],
    forwarded,
    staysOpen: false,
    isTruncated: true,
  }));
}
