import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connect } from "node:tls";
import { inspectFirstBytes } from "../../../src/proxy/net/client-hello.ts";
import { type ConnectionFacts, matchFilterChain } from "../../../src/proxy/net/filter-chain.ts";
import { Deadline, TimerWheel } from "../../../src/proxy/net/timer-wheel.ts";
import { systemClock } from "../../../src/runtime/index.ts";
import { chain, listener, manager, startTcp, waitFor } from "../../support/proxy-fixture.ts";

const named = (name: string, match: Partial<ReturnType<typeof chain>["match"]>) =>
  chain(manager([]), { name, match: { ...chain(manager([])).match, ...match } });

const LISTENER = listener(
  [
    named("port", { destinationPort: 9080 }),
    named("sni", { serverNames: ["a.example.com"], transportProtocol: "tls" }),
    named("wildcard", { serverNames: ["*.example.com"], transportProtocol: "tls" }),
    named("mtls", { transportProtocol: "tls", applicationProtocols: ["istio", "istio-http/1.1"] }),
    named("tls", { transportProtocol: "tls" }),
    named("http", { transportProtocol: "raw_buffer", applicationProtocols: ["http/1.1"] }),
    named("plain", { transportProtocol: "raw_buffer" }),
  ],
  { defaultChain: named("default", {}) },
);

const PLAIN: ConnectionFacts = {
  destinationPort: 80,
  transportProtocol: "raw_buffer",
  serverName: "",
  applicationProtocols: [],
};
const TLS = { ...PLAIN, transportProtocol: "tls" } as const;
const CHAINS: readonly (readonly [facts: ConnectionFacts, name: string])[] = [
  [PLAIN, "plain"],
  [{ ...PLAIN, applicationProtocols: ["http/1.1"] }, "http"],
  [{ ...PLAIN, destinationPort: 9080 }, "port"],
  [TLS, "tls"],
  [{ ...TLS, applicationProtocols: ["h2", "istio"] }, "mtls"],
  [{ ...TLS, serverName: "a.example.com" }, "sni"],
  [{ ...TLS, serverName: "b.c.example.com" }, "wildcard"],
  [{ ...TLS, serverName: "example.com" }, "tls"],
  // The server name decided first, and there is no way back.
  [{ ...PLAIN, serverName: "a.example.com" }, "default"],
];
for (const [facts, name] of CHAINS) {
  test(`${JSON.stringify(facts)} takes chain ${name}`, () =>
    assert.equal(matchFilterChain(LISTENER, facts)?.name, name));
}

test("no chain and no default: undefined", () => {
  assert.equal(matchFilterChain(listener([named("x", { destinationPort: 1 })]), PLAIN), undefined);
});

test("reads SNI and ALPN from a real ClientHello, and only when all of it has come", async (t) => {
  let hello: Buffer = Buffer.alloc(0);
  const port = await startTcp(t, (socket) => {
    socket.on("data", (bytes: Buffer) => {
      hello = Buffer.concat([hello, bytes]);
    });
  });
  const client = connect({
    port,
    servername: "Reviews.Example.com",
    ALPNProtocols: ["istio", "h2"],
  });
  client.on("error", () => {});
  t.after(() => client.destroy());
  await once(client, "connect");
  await waitFor(() => inspectFirstBytes(hello).kind === "tls");
  assert.deepEqual(inspectFirstBytes(hello), {
    kind: "tls",
    serverName: "reviews.example.com",
    applicationProtocols: ["istio", "h2"],
  });
  for (let length = 0; length < hello.length; length += 1) {
    const { kind } = inspectFirstBytes(hello.subarray(0, length));
    assert.equal(kind, "incomplete", `${length} of ${hello.length} bytes`);
  }
  // Damaged bytes never throw and are never taken for plain text once they began as TLS.
  for (let at = 5; at < hello.length; at += 1) {
    const damaged = Buffer.from(hello);
    damaged[at] = (damaged[at] ?? 0) ^ 0xff;
    assert.notEqual(inspectFirstBytes(damaged).kind, "plain");
  }
});

test("everything else is plain text at its first byte", () => {
  for (const text of ["GET / HTTP/1.1\r\n", "\0", "\x15\x03"]) {
    assert.equal(inspectFirstBytes(Buffer.from(text)).kind, "plain");
  }
});

test("deadlines fire once, in order of time, never early; disarmed ones never", async () => {
  const wheel = new TimerWheel(systemClock);
  const fired: { readonly name: number; readonly lateMs: number }[] = [];
  const started = performance.now();
  const arm = (delayMs: number): Deadline => {
    const deadline = new Deadline({
      onDeadline: () => {
        fired.push({ name: delayMs, lateMs: performance.now() - started - delayMs });
      },
    });
    wheel.arm(deadline, delayMs);
    return deadline;
  };
  const [, kept, gone] = [arm(60), arm(20), arm(40)];
  arm(30);
  if (gone !== undefined) wheel.disarm(gone);
  // Moved, not doubled.
  if (kept !== undefined) wheel.arm(kept, 20);
  await waitFor(() => fired.length === 3);
  assert.deepEqual(
    fired.map(({ name }) => name),
    [20, 30, 60],
  );
  assert.ok(fired.every(({ lateMs }) => lateMs >= 0));
  wheel.stop();
});
