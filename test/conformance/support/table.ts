import { RESILIENCE_ROWS } from "./table-resilience.ts";
import { ROUTING_ROWS } from "./table-routing.ts";
import { SECURITY_ROWS } from "./table-security.ts";

/** The table of requests that our proxy and Envoy must answer alike. */
export interface Row {
  readonly name: string;
  readonly request: string;
  readonly isHead?: boolean;
  /** What Envoy answers; a guard against a table in which both are wrong in the same way. */
  readonly status: number | readonly number[];
  /** Which upstream Envoy chooses; `either`: whichever, but both the same. */
  readonly upstream?: string;
  /** Only refused or not matters: the words of the refusal are each proxy's own. */
  readonly refusal?: true;
  /** A known difference that is still to be removed. */
  readonly todo?: string;
}

const get = (path: string, headers = "", host = "table.test"): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
const post = (path: string, headers: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: table.test\r\n${headers}\r\n${body}`;

const preflight = (path: string, origin: string): string =>
  `OPTIONS ${path} HTTP/1.1\r\nHost: table.test\r\norigin: ${origin}\r\n` +
  "access-control-request-method: GET\r\n\r\n";

/** Placed by a hash: both must choose the same host for the same request. */
const HASHED: readonly Row[] = ["/ring", "/maglev"].flatMap((path) =>
  [1, 2, 3, 4, 5, 6, 7, 8].flatMap((user) => [
    {
      name: `${path} by header, user ${user}`,
      request: get(path, `x-user: jason-${user}\r\n`),
      status: 200,
      upstream: "either",
    },
    {
      name: `${path} by query and header, user ${user}`,
      request: get(`${path}/query?id=${user}`, `x-user: jason-${9 - user}\r\n`),
      status: 200,
      upstream: "either",
    },
    {
      name: `${path} by cookie, user ${user}`,
      request: get(`${path}/cookie`, `cookie: a=b; session="${user}"; c=d\r\n`),
      status: 200,
      upstream: "either",
    },
  ]),
);

// Envoy unfolds an obs-fold; RFC 9112 §5.2 lets a proxy choose, and ours refuses.
export const ROWS: readonly Row[] = [
  ...HASHED,
  ...SECURITY_ROWS,
  ...RESILIENCE_ROWS,
  ...ROUTING_ROWS,
  { name: "prefix", request: get("/api/v2/x"), status: 200, upstream: "b" },
  { name: "prefix is a plain string prefix", request: get("/api/v2x"), status: 200, upstream: "b" },
  { name: "longer than the exact path", request: get("/exact/"), status: 200, upstream: "a" },
  { name: "exact", request: get("/exact"), status: 200, upstream: "b" },
  { name: "exact ignores the query", request: get("/exact?x=1"), status: 200, upstream: "b" },
  { name: "exact minds case", request: get("/EXACT"), status: 200, upstream: "a" },
  { name: "exact without case", request: get("/CaseLess"), status: 200, upstream: "b" },
  { name: "path separated prefix", request: get("/sep/x"), status: 200, upstream: "b" },
  { name: "path separated prefix, itself", request: get("/sep?x"), status: 200, upstream: "b" },
  {
    name: "path separated prefix, longer word",
    request: get("/separate"),
    status: 200,
    upstream: "a",
  },
  { name: "regex matches in full", request: get("/rx/abc?z=1"), status: 200, upstream: "b" },
  { name: "regex does not match a part", request: get("/rx/abc1"), status: 200, upstream: "a" },
  { name: "header exact", request: get("/h", "x-user: jason\r\n"), status: 200, upstream: "b" },
  {
    name: "header exact, other value",
    request: get("/h", "x-user: Jason\r\n"),
    status: 200,
    upstream: "a",
  },
  ...["/htwo", "/hnottwo", "/hjoined"].flatMap((path): Row[] => [
    {
      name: `header of two fields, ${path}`,
      request: get(path, "x-two: a\r\nx-two: b\r\n"),
      status: 200,
      upstream: "either",
    },
    {
      name: `header with a comma, ${path}`,
      request: get(path, "x-two: a,b\r\n"),
      status: 200,
      upstream: "either",
    },
  ]),
  { name: "header missing", request: get("/h"), status: 200, upstream: "a" },
  { name: "header prefix", request: get("/hp", "x-user: jason-1\r\n"), status: 200, upstream: "b" },
  { name: "header regex in full", request: get("/hr", "x-n: 12\r\n"), status: 200, upstream: "b" },
  { name: "header regex, partly", request: get("/hr", "x-n: 12a\r\n"), status: 200, upstream: "a" },
  { name: "header present", request: get("/hpresent", "x-any: \r\n"), status: 200, upstream: "b" },
  { name: "header absent", request: get("/habsent"), status: 200, upstream: "b" },
  {
    name: "header not absent",
    request: get("/habsent", "x-any: 1\r\n"),
    status: 200,
    upstream: "a",
  },
  { name: "inverted value on a missing header", request: get("/hnot"), status: 200, upstream: "a" },
  {
    name: "inverted value",
    request: get("/hnot", "x-user: other\r\n"),
    status: 200,
    upstream: "b",
  },
  { name: "query exact", request: get("/q?user=jason&x=1"), status: 200, upstream: "b" },
  { name: "query, other value", request: get("/q?user=Jason"), status: 200, upstream: "a" },
  { name: "query, first value", request: get("/q?user=a&user=jason"), status: 200, upstream: "a" },
  { name: "query missing", request: get("/q"), status: 200, upstream: "a" },
  { name: "query encoded", request: get("/q?user=jas%6Fn"), status: 200, upstream: "a" },
  { name: "query present", request: get("/qp?user"), status: 200, upstream: "b" },
  { name: "query present, empty", request: get("/qp?user="), status: 200, upstream: "b" },
  { name: "query present, longer name", request: get("/qp?users=1"), status: 200, upstream: "a" },
  { name: "query regex in full", request: get("/qr?n=12"), status: 200, upstream: "b" },
  { name: "query regex, partly", request: get("/qr?n=12a"), status: 200, upstream: "a" },
  { name: "query named only", request: get("/qany?n=1"), status: 200, upstream: "b" },
  { name: "query named only, missing", request: get("/qany?m=1"), status: 200, upstream: "a" },
  {
    name: "prefix rewrite of a regex match",
    request: get("/rxold/x?q=1"),
    status: 200,
    upstream: "a",
  },
  {
    name: "regex rewrite, swapped",
    request: get("/rx1/one/two?q=/rx1/"),
    status: 200,
    upstream: "a",
  },
  { name: "regex rewrite, no match", request: get("/rx1/one"), status: 200, upstream: "a" },
  { name: "regex rewrite, every place", request: get("/rx2/banana"), status: 200, upstream: "a" },
  { name: "regex rewrite, flags", request: get("/rx3/abcABC"), status: 200, upstream: "a" },
  {
    name: "host rewrite of a weighted cluster, where the route has one too",
    request: get("/rehost-one"),
    status: 200,
    upstream: "a",
  },
  { name: "cors: no origin", request: get("/cors"), status: 200, upstream: "a" },
  {
    name: "cors: an allowed origin",
    request: get("/cors", "origin: https://a.test\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "cors: an origin allowed by pattern",
    request: get("/cors", "origin: https://x.b.test\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "cors: another origin",
    request: get("/cors", "origin: https://c.test\r\n"),
    status: 200,
    upstream: "a",
  },
  { name: "cors: preflight", request: preflight("/cors", "https://a.test"), status: 200 },
  {
    name: "cors: preflight of another origin",
    request: preflight("/cors", "https://c.test"),
    status: 200,
    upstream: "a",
  },
  {
    name: "cors: preflight of another origin, not forwarded",
    request: preflight("/cors-strict", "http://c.test"),
    status: 200,
  },
  {
    name: "cors: preflight, little said",
    request: preflight("/cors-strict", "https://c.test"),
    status: 200,
  },
  {
    name: "cors: OPTIONS without a requested method",
    request: "OPTIONS /cors HTTP/1.1\r\nHost: table.test\r\norigin: https://a.test\r\n\r\n",
    status: 200,
    upstream: "a",
  },
  {
    name: "cors: switched off",
    request: preflight("/cors-off", "https://a.test"),
    status: 200,
    upstream: "a",
  },
  { name: "fault: abort", request: get("/fault/abort"), status: 418 },
  { name: "fault: abort by gRPC status", request: get("/fault/grpc"), status: 200 },
  { name: "fault: none of them", request: get("/fault/never"), status: 200, upstream: "a" },
  { name: "fault: delay", request: get("/fault/delay"), status: 200, upstream: "a" },
  {
    name: "fault: delay, the body waits too",
    request: post("/fault/delay", "Content-Length: 5\r\n", "hello"),
    status: 200,
    upstream: "a",
  },
  { name: "fault: delay, then abort", request: get("/fault/both"), status: 503 },
  {
    name: "fault: for one user",
    request: get("/fault/user", "x-user: jason\r\n"),
    status: 418,
  },
  { name: "fault: not for others", request: get("/fault/user"), status: 200, upstream: "a" },
  {
    name: "fault: of another cluster",
    request: get("/fault/elsewhere"),
    status: 200,
    upstream: "a",
  },
  { name: "fault: of the filter", request: get("/h", "x-fault-all: 1\r\n"), status: 451 },
  {
    name: "fault: the route's in place of the filter's",
    request: get("/fault/empty", "x-fault-all: 1\r\n"),
    status: 200,
    upstream: "a",
  },
  { name: "fault: an empty one", request: get("/fault/empty"), status: 200, upstream: "a" },
  {
    name: "a POST without a body",
    request: "POST /h HTTP/1.1\r\nHost: table.test\r\n\r\n",
    status: 200,
    upstream: "a",
  },
  {
    name: "a DELETE without a body",
    request: "DELETE /h HTTP/1.1\r\nHost: table.test\r\n\r\n",
    status: 200,
    upstream: "a",
  },
  {
    name: "method by pseudo header",
    request: "PUT /method HTTP/1.1\r\nHost: table.test\r\nContent-Length: 0\r\n\r\n",
    status: 200,
    upstream: "b",
  },
  { name: "exact host", request: get("/", "", "b.test"), status: 200, upstream: "b" },
  { name: "host without case", request: get("/", "", "B.TEST"), status: 200, upstream: "b" },
  { name: "host with a port", request: get("/", "", "b.test:81"), status: 404 },
  { name: "suffix wildcard", request: get("/", "", "x.wild.test"), status: 200, upstream: "b" },
  { name: "suffix wildcard, nothing before", request: get("/", "", "wild.test"), status: 404 },
  {
    name: "longer suffix wildcard",
    request: get("/", "", "y.x.wild.test"),
    status: 200,
    upstream: "a",
  },
  { name: "prefix wildcard", request: get("/", "", "pre.anything"), status: 200, upstream: "b" },
  { name: "unknown host", request: get("/", "", "nobody.test"), status: 404 },
  { name: "no route in the host", request: get("/nowhere", "", "b.test"), status: 404 },
  { name: "direct response", request: get("/direct"), status: 418 },
  {
    name: "direct response to HEAD",
    request: "HEAD /direct HTTP/1.1\r\nHost: table.test\r\n\r\n",
    isHead: true,
    status: 418,
  },
  { name: "redirect of the host", request: get("/redir/host?q=1"), status: 301 },
  { name: "redirect of the path", request: get("/redir/path?q=1"), status: 302 },
  { name: "redirect of the prefix", request: get("/redir/prefix/x?q=1"), status: 307 },
  { name: "redirect to https", request: get("/redir/https", "", "table.test:80"), status: 301 },
  { name: "missing cluster", request: get("/missing"), status: 503 },
  { name: "missing cluster as 404", request: get("/missing404"), status: 404 },
  { name: "no endpoints", request: get("/empty"), status: 503 },
  { name: "dead endpoint", request: get("/dead"), status: 503 },
  {
    name: "dead endpoint with retries",
    request: get("/dead-retry"),
    status: 503,
  },
  { name: "timeout", request: get("/slow"), status: 504 },
  { name: "per try timeout", request: get("/slow-retry"), status: 504 },
  {
    name: "retry on 5xx until it works",
    request: get("/flaky?fail=2&key=KEY1"),
    status: 200,
    upstream: "a",
  },
  { name: "retries exhausted", request: get("/flaky?fail=9&key=KEY2"), status: 503, upstream: "a" },
  {
    name: "no retry of what is not listed",
    request: get("/flaky-connect?fail=1&key=KEY3"),
    status: 503,
    upstream: "a",
  },
  {
    name: "retriable status codes",
    request: get("/flaky-429?fail=1&status=429&key=KEY4"),
    status: 200,
    upstream: "a",
  },
  {
    name: "a POST is retried with its body",
    request: post("/flaky?fail=1&key=KEY5", "Content-Length: 5\r\n", "hello"),
    status: 200,
    upstream: "a",
  },
  { name: "prefix rewrite", request: get("/old/x?q=1"), status: 200, upstream: "a" },
  { name: "host rewrite", request: get("/rehost"), status: 200, upstream: "a" },
  {
    name: "request headers added and removed",
    request: get("/mutate", "x-gone: 1\r\nx-set: old\r\nx-add: one\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "response headers added and removed",
    request: get("/mutate-response"),
    status: 200,
    upstream: "a",
  },
  {
    name: "body by length",
    request: post("/", "Content-Length: 5\r\n", "hello"),
    status: 200,
    upstream: "a",
  },
  {
    name: "chunked body",
    request: post("/", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n3;x=y\r\n...\r\n0\r\n\r\n"),
    status: 200,
    upstream: "a",
  },
  {
    name: "100-continue",
    request: post("/", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
    status: 200,
    upstream: "a",
  },
  {
    name: "HEAD",
    request: "HEAD / HTTP/1.1\r\nHost: table.test\r\n\r\n",
    isHead: true,
    status: 200,
  },
  { name: "204 of the upstream", request: get("/?status=204"), status: 204 },
  { name: "404 of the upstream", request: get("/?status=404"), status: 404, upstream: "a" },
  {
    name: "absolute form",
    request: "GET http://b.test/x HTTP/1.1\r\nHost: other\r\n\r\n",
    status: 200,
    upstream: "b",
  },
  {
    name: "pseudo path stays as sent",
    request: get("/a/../b/%2e%2e//c"),
    status: 200,
    upstream: "a",
  },
  { name: "no host", request: "GET / HTTP/1.1\r\n\r\n", status: 400, refusal: true },
  {
    name: "HTTP/1.0 is asked to upgrade",
    request: "GET / HTTP/1.0\r\nHost: table.test\r\n\r\n",
    status: 426,
  },
  {
    name: "length and chunked",
    request: post("/", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    status: 400,
    refusal: true,
  },
  {
    name: "two different lengths",
    request: post("/", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
    status: 400,
    refusal: true,
  },
  {
    name: "a length that is no number",
    request: post("/", "Content-Length: 5x\r\n", "hello"),
    status: 400,
    refusal: true,
  },
  {
    name: "a negative length",
    request: post("/", "Content-Length: -5\r\n", "hello"),
    status: 400,
    refusal: true,
  },
  {
    name: "chunked not last",
    request: post("/", "Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
    status: [400, 501],
    refusal: true,
  },
  {
    name: "unknown transfer coding",
    request: post("/", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    status: [400, 501],
    refusal: true,
  },
  { name: "space before the colon", request: get("/", "x-a : 1\r\n"), status: 400, refusal: true },
  { name: "a NUL in a value", request: get("/", "x-a: a\u0000b\r\n"), status: 400, refusal: true },
  {
    name: "a folded header",
    request: get("/", "x-a: 1\r\n  2\r\n"),
    status: [200, 400],
    refusal: true,
  },
  {
    name: "a method that is none",
    request: "G@T / HTTP/1.1\r\nHost: table.test\r\n\r\n",
    status: 400,
    refusal: true,
  },
  {
    name: "a version that is none",
    request: "GET / HTTP/9.9\r\nHost: table.test\r\n\r\n",
    status: [400, 426, 505],
    refusal: true,
  },
  {
    name: "too large a head",
    request: get("/", `x-big: ${"a".repeat(70_000)}\r\n`),
    status: 431,
    refusal: true,
  },
  {
    name: "too many headers",
    request: get("/", "x-many: 1\r\n".repeat(150)),
    status: 431,
    refusal: true,
  },
];
