import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  answerTo,
  type DnsQuestion,
  parseQuestion,
  RECORD,
} from "../../../../src/embedded/core/netns/dns-message.ts";
import { resolvConf, resolveName } from "../../../../src/embedded/core/netns/dns-records.ts";
import { endpointSlice, service } from "./services.ts";

const ZONE = {
  services: [
    service("reviews", { clusterIP: "10.96.0.3", ports: [{ name: "http", port: 9080 }] }),
    service("db", { clusterIP: "None", ports: [{ name: "sql", port: 5432 }] }),
    service("outside", { type: "ExternalName", externalName: "www.example.com" }),
  ],
  slices: [
    endpointSlice("reviews", [["http", 9080]], [{ ip: "10.240.0.2" }]),
    endpointSlice(
      "db",
      [["sql", 15_432]],
      [
        { ip: "10.240.0.7", hostname: "db-0" },
        { ip: "10.240.0.8", isReady: false },
        { ip: "10.240.0.9" },
      ],
    ),
  ],
};
const A = (name: string, ...addresses: readonly string[]) =>
  addresses.map((address) => ({ name, kind: "A", address }));
const DB = "db.default.svc.cluster.local";
const REVIEWS = "reviews.default.svc.cluster.local";

const NAMES: readonly (readonly [string, number, number | undefined, readonly object[]])[] = [
  [REVIEWS, RECORD.A, 0, A(REVIEWS, "10.96.0.3")],
  [REVIEWS, RECORD.AAAA, 0, []],
  [DB, RECORD.A, 0, A(DB, "10.240.0.7", "10.240.0.9")],
  [`db-0.${DB}`, RECORD.A, 0, A(`db-0.${DB}`, "10.240.0.7")],
  [`10-240-0-9.${DB}`, RECORD.A, 0, A(`10-240-0-9.${DB}`, "10.240.0.9")],
  [`db-0.${REVIEWS}`, RECORD.A, 3, []],
  [
    `_http._tcp.${REVIEWS}`,
    RECORD.SRV,
    0,
    [{ name: `_http._tcp.${REVIEWS}`, kind: "SRV", port: 9080, target: REVIEWS }],
  ],
  [
    `_sql._tcp.${DB}`,
    RECORD.SRV,
    0,
    [
      { name: `_sql._tcp.${DB}`, kind: "SRV", port: 15_432, target: `db-0.${DB}` },
      { name: `_sql._tcp.${DB}`, kind: "SRV", port: 15_432, target: `10-240-0-9.${DB}` },
    ],
  ],
  [`_other._tcp.${DB}`, RECORD.SRV, 3, []],
  [
    "outside.default.svc.cluster.local",
    RECORD.A,
    0,
    [{ name: "outside.default.svc.cluster.local", kind: "CNAME", target: "www.example.com" }],
  ],
  ["reviews.other.svc.cluster.local", RECORD.A, 3, []],
  ["www.example.com.default.svc.cluster.local", RECORD.A, 3, []],
  ["svc.cluster.local", RECORD.A, 3, []],
  ["www.example.com", RECORD.A, undefined, []],
  ["notcluster.local", RECORD.A, undefined, []],
];
for (const [name, type, code, records] of NAMES) {
  test(`type ${type} of ${name}`, () => {
    const answer = resolveName(name, type, ZONE);
    assert.equal(answer?.code, code);
    assert.deepEqual(answer?.records ?? [], records);
  });
}

/** A query as any resolver sends it. */
function query(name: string, type: number): Buffer {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1]);
}
function asked(name: string, type: number): DnsQuestion {
  const question = parseQuestion(query(name, type));
  assert.ok(question);
  return question;
}

test("an answer has the question, and each record after it", () => {
  const question = asked("Reviews.Default.svc.cluster.LOCAL", RECORD.A);
  assert.equal(question.name, REVIEWS);
  const { code, records } = resolveName(question.name, question.type, ZONE) ?? {
    code: 9,
    records: [],
  };
  const bytes = answerTo(question, code, records, true);
  assert.equal(bytes.readUInt16BE(0), 0x1234);
  assert.equal(bytes.readUInt16BE(2), 0x8580, "response, authoritative, recursion, no error");
  assert.equal(bytes.readUInt16BE(6), 1);
  assert.match(bytes.toString("latin1"), /Reviews/, "the question as it came");
  assert.deepEqual([...bytes.subarray(-6)], [0, 4, 10, 96, 0, 3]);
});

test("what is too long for a datagram is cut, and whole by TCP", () => {
  const question = asked(DB, RECORD.A);
  const records = Array.from({ length: 40 }, (_, i) => ({
    name: DB,
    kind: "A" as const,
    address: `10.0.0.${i}`,
  }));
  const cut = answerTo(question, 0, records, true);
  assert.equal(cut.readUInt16BE(2) & 0x0200, 0x0200);
  assert.ok(cut.length <= 512);
  const whole = answerTo(question, 0, records, false);
  assert.equal(whole.readUInt16BE(6), 40);
  assert.equal(whole.readUInt16BE(2) & 0x0200, 0);
});

test("what is no query is not answered, and nothing makes the reader throw", () => {
  const good = query(REVIEWS, RECORD.A);
  for (let length = 0; length < good.length; length++) {
    assert.equal(parseQuestion(good.subarray(0, length)), undefined, `${length} bytes`);
  }
  const response = Buffer.from(good);
  response[2] = 0x81;
  assert.equal(parseQuestion(response), undefined, "a response");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      parseQuestion(Buffer.from(bytes));
    }),
  );
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
      const damaged = Buffer.from(good);
      damaged[at] = value;
      parseQuestion(damaged);
    }),
  );
});

test("a pod looks for short names in its own namespace first", () => {
  assert.equal(
    resolvConf("shop", "10.240.0.1"),
    "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.240.0.1\noptions ndots:5\n",
  );
});
