import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { type KubeObject, RESOURCES } from "../../../src/api/index.ts";
import { closedPort, startTcp, waitFor } from "../../support/proxy-fixture.ts";
import { at } from "../api-server/test-server.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const namespace = "default";

/** Answers with its name, and with what it got once the client has said all. */
function backend(t: TestContext, name: string): Promise<number> {
  return startTcp(t, (socket) => {
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString();
    });
    socket.on("end", () => socket.end(`${name} got ${text}`));
  });
}

/** Says hello and half-closes; "" when the connection is refused or broken. */
async function ask(address: string, port: number): Promise<string> {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  let text = "";
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => {});
  socket.on("connect", () => socket.end("hello"));
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

const service = (spec: object): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace },
  spec,
});

function slice(name: string, port: number, ready = true): KubeObject {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, namespace, labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "http", port, protocol: "TCP" }],
    endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready } }],
  };
}

async function ingressOf(node: TestNode): Promise<string | undefined> {
  const found = await node.api.get(RESOURCES.service, { namespace, name: "web" });
  const [ingress] = (at(found, "status", "loadBalancer", "ingress") ?? []) as { ip?: string }[];
  return ingress?.ip;
}

async function eventuallyAsk(address: string, port: number, expected: string): Promise<void> {
  let last = "";
  let isRight = false;
  const run = async (): Promise<void> => {
    while (!isRight) {
      last = await ask(address, port);
      isRight = last === expected;
      if (!isRight) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  void run();
  await waitFor(
    () => isRight,
    () => `${address}:${port} says ${JSON.stringify(last)}`,
  ).finally(() => {
    isRight = true;
  });
}

test("a LoadBalancer service has an address whose ports lead to the ready endpoints in turn", async (t) => {
  const node = await startTestNode(t);
  const [one, two, three] = [
    await backend(t, "one"),
    await backend(t, "two"),
    await backend(t, "three"),
  ];
  const [port, nodePort] = [await closedPort(), 31_987];
  await node.api.create(RESOURCES.endpointSlice, slice("a", one));
  await node.api.create(RESOURCES.endpointSlice, slice("b", two));
  await node.api.create(RESOURCES.endpointSlice, slice("c", three, false));
  await node.api.create(
    RESOURCES.service,
    service({
      type: "LoadBalancer",
      ports: [{ name: "http", port, targetPort: 8080, nodePort }],
    }),
  );
  let address: string | undefined;
  const poll = setInterval(async () => {
    address ??= await ingressOf(node);
  }, 20);
  await waitFor(() => address !== undefined).finally(() => clearInterval(poll));
  assert.match(address ?? "", /^127\./);
  const said = new Set<string>();
  for (let i = 0; i < 4; i += 1) said.add(await ask(address ?? "", port));
  assert.deepEqual([...said].sort(), ["one got hello", "two got hello"]);
  assert.match(await ask("127.0.0.1", nodePort), /^(one|two) got hello$/, "the node port too");

  await t.test(
    "an endpoint that goes gets nothing more, one that refuses is passed over",
    async () => {
      await node.api.delete(RESOURCES.endpointSlice, { namespace, name: "b" });
      await node.api.create(RESOURCES.endpointSlice, slice("d", await closedPort()));
      for (let i = 0; i < 5; i += 1) await eventuallyAsk(address ?? "", port, "one got hello");
    },
  );

  await t.test("as a ClusterIP service it is reachable no more", async () => {
    await node.api.patch(
      RESOURCES.service,
      { namespace, name: "web" },
      { spec: { type: "ClusterIP" } },
      { kind: "merge" },
    );
    await eventuallyAsk(address ?? "", port, "");
    await eventuallyAsk("127.0.0.1", nodePort, "");
  });
});

test("a port that is taken is said in an event, and served once it is free", async (t) => {
  const node = await startTestNode(t);
  const nodePort = 31_988;
  const taken = createServer(() => {}).listen(nodePort, "127.0.0.1");
  await once(taken, "listening");
  await node.api.create(RESOURCES.endpointSlice, slice("a", await backend(t, "one")));
  await node.api.create(
    RESOURCES.service,
    service({ type: "NodePort", ports: [{ name: "http", port: 80, nodePort }] }),
  );
  let messages: readonly unknown[] = [];
  const poll = setInterval(async () => {
    messages = (await node.api.list(RESOURCES.event)).map((each) => each["message"]);
  }, 20);
  await waitFor(
    () => messages.includes(`cannot listen on 127.0.0.1:${nodePort}: EADDRINUSE`),
    () => JSON.stringify(messages),
  ).finally(() => clearInterval(poll));
  taken.close();
  await eventuallyAsk("127.0.0.1", nodePort, "one got hello");
});
