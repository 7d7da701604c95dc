import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../../../src/proxy/core/cidr.ts";
import { type ConnectionFacts, matchFilterChain } from "../../../src/proxy/net/filter-chain.ts";
import {
  chain,
  cluster,
  forwardTo,
  httpConfig,
  listener,
  manager,
  rawClient,
  route,
  runtimeConfig,
  startHttp,
  startProxy,
  tcpTo,
} from "../../support/proxy-fixture.ts";

const named = (name: string, match: Partial<ReturnType<typeof chain>["match"]>) =>
  chain(manager([]), { name, match: { ...chain(manager([])).match, ...match } });
const range = (address: string, bits: number) => {
  const found = parseCidr(address, bits);
  assert.ok(found !== undefined);
  return [found];
};

const CHAINS = listener(
  [
    named("port", { destinationPort: 81 }),
    named("narrow", { destinationPrefixes: range("10.1.0.0", 16) }),
    named("wide", { destinationPrefixes: range("10.0.0.0", 8), sourceType: "any" }),
    named("from local", { sourceType: "local" }),
    named("from port", { sourceType: "external", sourcePorts: [7] }),
    named("from range", { sourceType: "external", sourcePrefixes: range("192.168.0.0", 16) }),
    named("external", { sourceType: "external" }),
  ],
  { defaultChain: named("default", {}) },
);
const FACTS: ConnectionFacts = {
  destinationPort: 80,
  destinationAddress: "9.9.9.9",
  sourceAddress: "8.8.8.8",
  sourcePort: 1,
  transportProtocol: "raw_buffer",
  serverName: "",
  applicationProtocols: [],
};
const CASES: readonly (readonly [name: string, facts: Partial<ConnectionFacts>])[] = [
  ["external", {}],
  ["narrow", { destinationAddress: "10.1.2.3" }],
  ["wide", { destinationAddress: "10.2.2.3" }],
  ["port", { destinationAddress: "10.1.2.3", destinationPort: 81 }],
  ["from local", { sourceAddress: "127.0.0.1" }],
  ["from local", { sourceAddress: "::ffff:127.0.0.1" }],
  ["from local", { sourceAddress: "9.9.9.9" }],
  ["from range", { sourceAddress: "192.168.1.1" }],
  // The range of the source is looked at before its port.
  ["from range", { sourceAddress: "192.168.1.1", sourcePort: 7 }],
  ["from port", { sourcePort: 7 }],
];
for (const [name, facts] of CASES) {
  test(`chain ${name} takes ${JSON.stringify(facts)}`, () => {
    assert.equal(matchFilterChain(CHAINS, { ...FACTS, ...facts })?.name, name);
  });
}

const ORIGINAL_DST = cluster("a", [], {
  originalDst: { header: "x-envoy-original-dst-host", port: undefined },
});

test("the header names the host, where the cluster believes it", async (t) => {
  const port = await startHttp(t, (_, response) => response.end("found"));
  const proxy = await startProxy(t, httpConfig([ORIGINAL_DST], [route(forwardTo("a"))]));
  const ask = (value: string) =>
    fetch(`http://127.0.0.1:${proxy.port}/`, { headers: { "x-envoy-original-dst-host": value } });
  assert.equal(await (await ask(`127.0.0.1:${port}`)).text(), "found");
  assert.equal(proxy.records[0]?.host, `127.0.0.1:${port}`);
  // Nothing to go by: the connection was not redirected.
  assert.equal((await ask("somewhere")).status, 503);
  assert.equal(proxy.records[1]?.flags, "UH");

  const unbelieving = cluster("a", [], { originalDst: { header: undefined, port: undefined } });
  await proxy.apply(httpConfig([unbelieving], [route(forwardTo("a"))]));
  assert.equal((await ask(`127.0.0.1:${port}`)).status, 503);
});

test("a connection that was not redirected stays with its listener, and goes nowhere by itself", async (t) => {
  const tcp = tcpTo("a");
  const config = runtimeConfig(
    [cluster("a", [], { originalDst: { header: undefined, port: undefined } })],
    [listener([chain(tcp)], { originalDst: "handOff" })],
  );
  const proxy = await startProxy(t, config);
  const client = await rawClient(t, proxy.port);
  assert.equal(await client.closed(), "");
});
