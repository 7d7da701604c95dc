import { compileJsonFormat, compileTextFormat } from "../../src/proxy/core/access-log-format.ts";
import { compileRegex, compileSearchRegex } from "../../src/proxy/core/compile/regex.ts";
import { createScope, type Findings } from "../../src/proxy/core/compile/scope.ts";
import { normalizeRequestTarget } from "../../src/proxy/core/path-normalization.ts";
import { inspectFirstBytes } from "../../src/proxy/net/client-hello.ts";
import { record } from "../../test/proxy/telemetry/record.ts";
import { cut, mutate } from "./mutate.ts";
import { type FuzzTarget, promise } from "./target.ts";

const asBytes = (texts: readonly string[]): readonly Buffer[] =>
  texts.map((text) => Buffer.from(text, "latin1"));

const PATHS = asBytes([
  "/a/../b/./c//d?x=/../y",
  "/%2e%2E/%2f/a%5c..%5cb",
  "/a\\..\\b",
  "/..",
  "/.",
  "//",
  "/a/%41%7e?%00",
  "/a%00b",
  "/a;x=1/..;y/b;/.;z",
  '/[]{}|^`"<>',
]);

const path: FuzzTarget = {
  name: "path normalization",
  run(random) {
    const input = mutate(random.pick(PATHS), PATHS, random).toString("latin1");
    // The codec gives targets of visible ASCII that begin with a slash.
    const target = `/${input.replace(/[^\x21-\x7e]|#/g, "")}`;
    const mergesSlashes = random.chance(0.5);
    const escapedSlashes = random.chance(0.5) ? "keep" : "decode";
    const options = { isNormalized: true, mergesSlashes, escapedSlashes } as const;
    const result = normalizeRequestTarget(target, options);
    if (result.kind === "rejected") {
      promise(/%00/.test(target), "refused without an encoded NUL", target);
      return;
    }
    const once = result.target;
    promise(once.startsWith("/"), `no longer a path: ${once}`, target);
    const [pathPart = ""] = once.split("?");
    promise(!/(^|\/)\.\.?(;[^/]*)?(\/|$)/.test(pathPart), `dot segments are left: ${once}`, target);
    promise(!pathPart.includes("\\"), `a backslash is left: ${once}`, target);
    if (mergesSlashes) promise(!/.\/\//.test(pathPart), `double slashes are left: ${once}`, target);
    // `%4%41` becomes `%4A`, in Envoy too: only what was no escape may become one.
    if (/%(?![0-9a-f]{2})/i.test(target)) return;
    const twice = normalizeRequestTarget(once, options);
    promise(twice.kind === "accepted" && twice.target === once, `not idempotent: ${once}`, target);
  },
};

const FORMATS = asBytes([
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%"\n',
  "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f%z)% %RESP(A?B):10% %TRAILER(T)% %%",
  "%UPSTREAM_HOST% %DURATION% %RESPONSE_FLAGS% %REQUESTED_SERVER_NAME%",
  "%DYNAMIC_METADATA(a:b:c)% %FILTER_STATE(x)% %ENVIRONMENT(X)%",
]);

const accessLog: FuzzTarget = {
  name: "access log formats",
  run(random) {
    const format = mutate(random.pick(FORMATS), FORMATS, random).toString("utf8");
    const problems: string[] = [];
    const fail = (message: string): void => void problems.push(message);
    const options = { timeOriginMs: 0, environment: () => undefined, omitEmpty: false };
    const render = compileTextFormat(format, options, fail);
    if (problems.length === 0) {
      const line = render(record({ path: format }));
      promise(typeof line === "string" && !line.includes("[object"), `renders ${line}`, format);
    }
    const json = compileJsonFormat(
      { [format]: format, nested: { a: [format, 1] }, plain: "%PROTOCOL%" },
      { ...options, omitEmpty: random.chance(0.5) },
      fail,
    );
    if (problems.length === 0) JSON.parse(json(record()));
  },
};

const PATTERNS = asBytes([
  "/api/v[0-9]+/(?P<id>[a-z]+)(/.*)?",
  "^[[:alpha:]]+\\d{1,3}$|\\Qa.b\\E",
  "(a+)+$",
  "(?i)abc(?:d|e)*?",
  "\\p{Greek}\\x{1F600}[^\\W_]",
  "[a-z&&[^b]]\\bfoo\\B",
  "(?:a(?i)b{2,3}|c{0,2}?)(?-i:d{3,})e{2}",
  "[^[:^alpha:]\\d\\-z]{1,20}(?s:.)",
]);

const regex: FuzzTarget = {
  name: "regular expressions",
  run(random) {
    const pattern = mutate(random.pick(PATTERNS), PATTERNS, random).toString("utf8");
    for (const compile of [compileRegex, compileSearchRegex]) {
      const findings: Findings = { issues: [], warnings: [] };
      const compiled = compile({ regex: pattern }, createScope(findings, ["regex"]));
      promise(
        (compiled === undefined) === findings.issues.length > 0,
        "neither a pattern nor a reason",
        pattern,
      );
      if (compiled === undefined) continue;
      promise(isLinear(compiled), `not for the linear engine: ${compiled}`, pattern);
      compiled.test(`/api/v1/${"a".repeat(40)}!`);
    }
  },
};

/** Whether the engine that takes over from excessive backtracking (regexp-engine.ts) can run it. */
function isLinear({ source, flags }: RegExp): boolean {
  try {
    return new RegExp(source, `${flags}l`) instanceof RegExp;
  } catch {
    return false;
  }
}

const HELLO = Buffer.from(
  // A ClientHello for "example.org" that offers h2 and http/1.1.
  `160301005a0100005603030000000000000000000000000000000000000000000000000000000000000000` +
    "00000213010100002b00000010000e00000b6578616d706c652e6f72670010000e000c02683208687474702f312e31" +
    "002b0003020304",
  "hex",
);
const HELLOS = [HELLO, ...asBytes(["GET / HTTP/1.1\r\n", "\x16\x03\x01\xff\xff", "\x16"])];

const clientHello: FuzzTarget = {
  name: "ClientHello",
  run(random) {
    const input = mutate(random.pick(HELLOS), HELLOS, random);
    const whole = inspectFirstBytes(input);
    let sofar = Buffer.alloc(0);
    for (const piece of cut(input, random)) {
      sofar = Buffer.concat([sofar, piece]);
      const part = inspectFirstBytes(sofar);
      if (part.kind === "incomplete") continue;
      promise(part.kind === whole.kind, `reads decide: ${part.kind}, ${whole.kind}`, input);
      return;
    }
    promise(whole.kind === "incomplete", `reads decide: incomplete, ${whole.kind}`, input);
  },
};

/** Texts and first bytes. */
export const TEXT_TARGETS: readonly FuzzTarget[] = [path, accessLog, regex, clientHello];
