import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { b3Headers, extractB3 } from "../../../src/proxy/core/tracing/b3.ts";
import {
  sampleOf,
  type TraceReason,
  traceReasonOf,
  withTraceReason,
} from "../../../src/proxy/core/tracing/request-id.ts";
import { decideTrace, type Sampling } from "../../../src/proxy/core/tracing/sampling.ts";
import type { SpanContext } from "../../../src/proxy/core/tracing/span-context.ts";
import { extractTraceParent, traceParent } from "../../../src/proxy/core/tracing/trace-parent.ts";

const TRACE = "463ac35c9f6413ad";
const LONG_TRACE = "70f198ee56343ba864fe8b2a57d3eff7";
const SPAN = "a2fb4a1d1a96d312";
const PARENT = "0020000000000001";
const NOTHING = "0000000000000000";

type Headers = Readonly<Record<string, string>>;

const reader =
  (headers: Headers) =>
  (name: string): string | undefined =>
    headers[name];

const context = (
  traceId: string,
  parentId: string,
  isSampled: boolean | undefined,
  traceState = "",
) => ({ kind: "context", traceId, spanId: SPAN, parentId, isSampled, traceState });
const none = (isSampled?: boolean) => ({ kind: "none", isSampled });
const MALFORMED = { kind: "malformed" };

const multi = (trace: string, more: Headers = {}): Headers => ({
  "x-b3-traceid": trace,
  "x-b3-spanid": SPAN,
  ...more,
});

const B3: readonly (readonly [name: string, headers: Headers, found: object])[] = [
  ["nothing", {}, none()],
  ["only a decision", { "x-b3-sampled": "0" }, none(false)],
  ["several fields", multi(TRACE, { "x-b3-sampled": "1" }), context(TRACE, "", true)],
  ["a long trace id", multi(LONG_TRACE), context(LONG_TRACE, "", undefined)],
  ["a parent", multi(TRACE, { "x-b3-parentspanid": PARENT }), context(TRACE, PARENT, undefined)],
  [
    "a parent of zeros",
    multi(TRACE, { "x-b3-parentspanid": NOTHING }),
    context(TRACE, "", undefined),
  ],
  ["an empty parent", multi(TRACE, { "x-b3-parentspanid": "" }), context(TRACE, "", undefined)],
  ["a parent that is no number", multi(TRACE, { "x-b3-parentspanid": "x" }), MALFORMED],
  ["a decision in words", multi(TRACE, { "x-b3-sampled": "true" }), context(TRACE, "", true)],
  ["a decision in other words", multi(TRACE, { "x-b3-sampled": "yes" }), context(TRACE, "", false)],
  ["a short trace id", multi("1a"), context("000000000000001a", "", undefined)],
  ["zeros in front", multi(`0000${TRACE}`), context(TRACE, "", undefined)],
  ["a trace id that is too big", multi(`1${TRACE}`), MALFORMED],
  ["an empty trace id", multi(""), MALFORMED],
  ["a trace id with a sign", multi("-1"), MALFORMED],
  ["upper case", multi(TRACE.toUpperCase()), context(TRACE, "", undefined)],
  ["no span id", { "x-b3-traceid": TRACE }, none()],
  ["one field", { b3: `${TRACE}-${SPAN}-1` }, context(TRACE, "", true)],
  ["one field, debugging", { b3: `${TRACE}-${SPAN}-d` }, context(TRACE, "", true)],
  [
    "one field, all of it",
    { b3: `${LONG_TRACE}-${SPAN}-0-${PARENT}` },
    context(LONG_TRACE, PARENT, false),
  ],
  ["one field without a decision", { b3: `${TRACE}-${SPAN}` }, context(TRACE, "", undefined)],
  ["one field before several", { ...multi(TRACE), b3: "0" }, none(false)],
  ["one field of one letter", { b3: "d" }, none(true)],
  ["one field of another letter", { b3: "2" }, MALFORMED],
  ["one field, empty", { b3: "" }, MALFORMED],
  ["one field, cut", { b3: `${TRACE}-${SPAN}-` }, MALFORMED],
  ["one field, too long", { b3: `${LONG_TRACE}-${SPAN}-1-${PARENT}0` }, MALFORMED],
  ["one field, a bad flag", { b3: `${TRACE}-${SPAN}-2` }, MALFORMED],
];

describe("B3", () => {
  for (const [name, headers, found] of B3) {
    test(name, () => assert.deepEqual(extractB3(reader(headers)), found));
  }

  test("what is written is read again", () => {
    fc.assert(
      fc.property(contexts(fc.constantFrom(16, 32)), fc.boolean(), (given, isSingle) => {
        const written = Object.fromEntries(b3Headers(given, isSingle));
        const { traceId, spanId, parentId, isSampled } = given;
        const expected = { kind: "context", traceId, spanId, parentId, isSampled, traceState: "" };
        assert.deepEqual(extractB3(reader(written)), expected);
      }),
    );
  });

  test("any bytes are a context or none", () => {
    const text = fc.string({ unit: fc.constantFrom(..."0123456789abcdefgA-+ x") });
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        const kinds = ["none", "context", "malformed"];
        for (const headers of [
          { b3: a },
          { "x-b3-traceid": a, "x-b3-spanid": b, "x-b3-parentspanid": c },
        ]) {
          const found = extractB3(reader(headers));
          assert.ok(kinds.includes(found.kind));
          if (found.kind === "context") assertContext(found);
        }
      }),
    );
  });
});

const W3C: readonly (readonly [name: string, headers: Headers, found: object])[] = [
  ["nothing", {}, none()],
  ["only state", { tracestate: "a=1" }, none()],
  ["sampled", { traceparent: `00-${LONG_TRACE}-${SPAN}-01` }, context(LONG_TRACE, "", true)],
  ["not sampled", { traceparent: `00-${LONG_TRACE}-${SPAN}-00` }, context(LONG_TRACE, "", false)],
  ["other flags", { traceparent: `00-${LONG_TRACE}-${SPAN}-fe` }, context(LONG_TRACE, "", false)],
  [
    "a later version",
    { traceparent: `0a-${LONG_TRACE}-${SPAN}-01` },
    context(LONG_TRACE, "", true),
  ],
  [
    "state",
    { traceparent: `00-${LONG_TRACE}-${SPAN}-01`, tracestate: "a=1" },
    context(LONG_TRACE, "", true, "a=1"),
  ],
  ["a trace id of zeros", { traceparent: `00-${NOTHING}${NOTHING}-${SPAN}-01` }, MALFORMED],
  ["a span id of zeros", { traceparent: `00-${LONG_TRACE}-${NOTHING}-01` }, MALFORMED],
  ["too long", { traceparent: `00-${LONG_TRACE}-${SPAN}-01-00` }, MALFORMED],
  ["too short", { traceparent: `00-${LONG_TRACE}-${SPAN}-1` }, MALFORMED],
  ["other letters", { traceparent: `00-${LONG_TRACE.replace("a", "g")}-${SPAN}-01` }, MALFORMED],
  ["empty", { traceparent: "" }, MALFORMED],
];

describe("W3C", () => {
  for (const [name, headers, found] of W3C) {
    test(name, () => assert.deepEqual(extractTraceParent(reader(headers), reader(headers)), found));
  }

  test("what is written is read again", () => {
    fc.assert(
      fc.property(contexts(fc.constant(32)), (given) => {
        const read = reader({ traceparent: traceParent(given), tracestate: given.traceState });
        const { traceId, spanId, isSampled, traceState } = given;
        const expected = { kind: "context", traceId, spanId, parentId: "", isSampled, traceState };
        assert.deepEqual(extractTraceParent(read, read), expected);
      }),
    );
  });

  test("a short trace id is filled up", () => {
    const short = {
      traceId: TRACE,
      spanId: SPAN,
      parentId: "",
      isParentRemote: false,
      isSampled: true,
      traceState: "",
    };
    assert.equal(traceParent(short), `00-${NOTHING}${TRACE}-${SPAN}-01`);
  });
});

const UUID = "00001387-1111-4111-8111-111111111111";
const REASONS: readonly TraceReason[] = [
  "not_traceable",
  "random_sampling",
  "service_forced",
  "client_enabled",
];

describe("request ids", () => {
  test("a reason is read where it was written, and nothing else changes", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.constantFrom(...REASONS), (id, reason) => {
        const marked = withTraceReason(id, reason);
        assert.equal(traceReasonOf(marked), reason);
        assert.equal(marked.slice(0, 14) + marked.slice(15), id.slice(0, 14) + id.slice(15));
        assert.equal(sampleOf(marked), sampleOf(id));
      }),
    );
  });

  test("ids of other kinds carry none", () => {
    for (const id of [undefined, "", "abc", `${UUID}0`]) {
      assert.equal(traceReasonOf(id), "not_traceable");
    }
    assert.equal(withTraceReason("abc", "service_forced"), "abc");
  });

  test("samples are the first eight digits", () => {
    assert.equal(sampleOf(UUID), 4999);
    assert.equal(sampleOf("00002710"), 0);
    assert.equal(sampleOf("ffffffffzz"), 0xffffffff % 10_000);
    for (const id of [undefined, "0000138", "zzzzzzzz", "0x001387"]) {
      assert.equal(sampleOf(id), undefined);
    }
  });
});

const share = (percent: number) => ({ numerator: percent * 100, denominator: 10_000 });
const sampling = (client: number, random: number, overall: number): Sampling => ({
  client: share(client),
  random: share(random),
  overall: share(overall),
});
const ask = (requestId: string | undefined, more: object = {}) => ({
  requestId,
  hasClientTraceId: false,
  isForced: false,
  random: () => 0.5,
  ...more,
});
const CLIENT = { hasClientTraceId: true };
const FORCED = { isForced: true };

describe("the decision", () => {
  const rows: readonly (readonly [string, Sampling, ReturnType<typeof ask>, TraceReason])[] = [
    ["all", sampling(100, 100, 100), ask(UUID), "random_sampling"],
    ["none", sampling(100, 0, 100), ask(UUID), "not_traceable"],
    ["just within", sampling(100, 50, 100), ask(UUID), "random_sampling"],
    ["just outside", sampling(100, 49.99, 100), ask(UUID), "not_traceable"],
    ["the client asks", sampling(100, 0, 100), ask(UUID, CLIENT), "client_enabled"],
    ["the client asks in vain", sampling(50, 0, 100), ask(UUID, CLIENT), "not_traceable"],
    [
      "the client comes before force",
      sampling(100, 0, 100),
      ask(UUID, { ...CLIENT, ...FORCED }),
      "client_enabled",
    ],
    ["force", sampling(100, 0, 100), ask(UUID, FORCED), "service_forced"],
    ["force comes before chance", sampling(100, 100, 100), ask(UUID, FORCED), "service_forced"],
    [
      "an earlier decision stands",
      sampling(0, 0, 100),
      ask(withTraceReason(UUID, "client_enabled"), FORCED),
      "client_enabled",
    ],
    ["overall is above all", sampling(100, 100, 49.99), ask(UUID, FORCED), "not_traceable"],
    [
      "overall is above earlier decisions",
      sampling(0, 0, 0),
      ask(withTraceReason(UUID, "random_sampling")),
      "not_traceable",
    ],
    ["no id", sampling(100, 100, 100), ask(undefined, FORCED), "not_traceable"],
    ["no number", sampling(100, 100, 100), ask("zz", FORCED), "not_traceable"],
  ];
  for (const [name, config, request, reason] of rows) {
    test(name, () => assert.equal(decideTrace(config, request), reason));
  }

  test("takes the share that it is told, and more ids when told more", () => {
    // Spread evenly: multiples of the golden ratio.
    const ids = Array.from({ length: 10_000 }, (_, i) => {
      const first = ((i * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, "0");
      return first + UUID.slice(8);
    });
    let before = new Set<string>();
    for (const percent of [1, 10, 50, 100]) {
      const taken = ids.filter(
        (id) => decideTrace(sampling(0, percent, 100), ask(id)) !== "not_traceable",
      );
      const expected = (ids.length * percent) / 100;
      assert.ok(
        Math.abs(taken.length - expected) <= 4 * Math.sqrt(expected),
        `${taken.length} of ${expected}`,
      );
      const now = new Set(taken);
      for (const id of before) assert.ok(now.has(id));
      before = now;
    }
  });
});

function hex(length: number): fc.Arbitrary<string> {
  return fc
    .string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length })
    .filter((text) => !/^0+$/.test(text));
}

function contexts(traceLength: fc.Arbitrary<number>): fc.Arbitrary<SpanContext> {
  return fc.record({
    traceId: traceLength.chain(hex),
    spanId: hex(16),
    parentId: fc.oneof(fc.constant(""), hex(16)),
    isParentRemote: fc.boolean(),
    isSampled: fc.boolean(),
    traceState: fc.constantFrom("", "a=1", "a=1,b=2"),
  });
}

function assertContext({
  traceId,
  spanId,
  parentId,
}: Pick<SpanContext, "traceId" | "spanId" | "parentId">): void {
  assert.match(traceId, /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/);
  assert.match(spanId, /^[0-9a-f]{16}$/);
  assert.match(parentId, /^(?:[0-9a-f]{16})?$/);
}
