import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  type Client,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from "@grpc/grpc-js";
import {
  cluster,
  endpoint,
  forwardTo,
  httpConfig,
  retryPolicy,
  route,
  startProxy,
  waitFor,
} from "../../support/proxy-fixture.ts";

const identity = (bytes: Buffer): Buffer => bytes;
const method = (path: string, isStream: boolean) => ({
  path,
  requestStream: isStream,
  responseStream: isStream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
});
const SERVICE = {
  Echo: method("/test.Echo/Echo", false),
  Fail: method("/test.Echo/Fail", false),
  Flaky: method("/test.Echo/Flaky", false),
  Chat: method("/test.Echo/Chat", true),
};

async function startGrpc(t: TestContext): Promise<number> {
  const server = new Server();
  let flaky = 0;
  server.addService(SERVICE, {
    Echo: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
      const trailers = new Metadata();
      trailers.set("x-trailer", String(call.metadata.get("x-in")[0] ?? ""));
      reply(null, call.request, trailers);
    },
    Fail: (_: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) =>
      reply({ code: 9, details: "not now – später" } as ServiceError),
    Flaky: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
      flaky += 1;
      if (flaky % 2 === 1) reply({ code: 14, details: "try again" } as ServiceError);
      else reply(null, call.request);
    },
    Chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (message: Buffer) => call.write(Buffer.from(`re:${message.toString()}`)));
      call.on("end", () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return port;
}

function grpcClient(t: TestContext, port: number): Client {
  const Constructor = makeGenericClientConstructor(SERVICE, "Echo");
  const client = new Constructor(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => client.close());
  return client;
}

function unary(
  client: Client,
  name: string,
  message: string,
  metadata = new Metadata(),
): Promise<{
  error: ServiceError | null;
  value: string | undefined;
  trailers: Metadata | undefined;
}> {
  return new Promise((resolve) => {
    let trailers: Metadata | undefined;
    const call = client.makeUnaryRequest(
      `/test.Echo/${name}`,
      identity,
      identity,
      Buffer.from(message),
      metadata,
      (error, value) => {
        setImmediate(() => resolve({ error, value: value?.toString(), trailers }));
      },
    );
    call.on("status", (status) => {
      trailers = status.metadata;
    });
  });
}

async function setUp(t: TestContext, options: Parameters<typeof forwardTo>[1] = {}) {
  const port = await startGrpc(t);
  const proxy = await startProxy(
    t,
    httpConfig(
      [cluster("a", [endpoint(port)], { protocol: "http2" })],
      [route(forwardTo("a", options))],
    ),
  );
  return { proxy, client: grpcClient(t, proxy.port) };
}

test("gRPC: unary calls, metadata, trailers and errors pass as they are", async (t) => {
  const { client } = await setUp(t);
  const metadata = new Metadata();
  metadata.set("x-in", "hello");
  const echoed = await unary(client, "Echo", "message", metadata);
  assert.equal(echoed.error, null);
  assert.equal(echoed.value, "message");
  assert.deepEqual(echoed.trailers?.get("x-trailer"), ["hello"]);
  const failed = await unary(client, "Fail", "message");
  assert.deepEqual([failed.error?.code, failed.error?.details], [9, "not now – später"]);
  const unknown = await unary(client, "Nothing", "message");
  assert.equal(unknown.error?.code, 12);
});

test("gRPC: messages larger than every window", async (t) => {
  const { client } = await setUp(t);
  const large = "x".repeat(3_000_000);
  assert.equal((await unary(client, "Echo", large)).value?.length, large.length);
});

test("gRPC: a stream both ways, message by message", async (t) => {
  const { client, proxy } = await setUp(t);
  const call = client.makeBidiStreamRequest("/test.Echo/Chat", identity, identity, new Metadata());
  const answers: string[] = [];
  const ended = new Promise<void>((resolve) => {
    call.on("data", (message: Buffer) => {
      answers.push(message.toString());
      if (answers.length < 5) call.write(Buffer.from(`m${answers.length}`));
      else call.end();
    });
    call.on("end", resolve);
  });
  call.write(Buffer.from("m0"));
  await ended;
  assert.deepEqual(answers, ["re:m0", "re:m1", "re:m2", "re:m3", "re:m4"]);
  await waitFor(() => proxy.records.length > 0);
  assert.deepEqual(proxy.records[0]?.messages, [answers.length, answers.length]);
});

test("gRPC: UNAVAILABLE in trailers only is retried where the route says so", async (t) => {
  const { client, proxy } = await setUp(t, { retry: retryPolicy("unavailable") });
  const answer = await unary(client, "Flaky", "message");
  assert.equal(answer.error, null);
  assert.equal(answer.value, "message");
  await waitFor(() => proxy.records.length === 1);
  assert.equal(proxy.records[0]?.attempts, 2);
});

test("gRPC: what the proxy answers itself is a gRPC status", async (t) => {
  const proxy = await startProxy(t, httpConfig([cluster("a", [])], [route(forwardTo("a"))]));
  const answer = await unary(grpcClient(t, proxy.port), "Echo", "message");
  assert.deepEqual([answer.error?.code, answer.error?.details], [14, "no healthy upstream"]);
  assert.equal(proxy.records[0]?.code, 200);
  assert.equal(proxy.records[0]?.flags, "UH");
});

test("gRPC: a cancelled call is reset upstream too", async (t) => {
  const { client, proxy } = await setUp(t);
  const call = client.makeBidiStreamRequest("/test.Echo/Chat", identity, identity, new Metadata());
  call.on("error", () => {});
  call.write(Buffer.from("m"));
  await new Promise((resolve) => call.once("data", resolve));
  call.cancel();
  await waitFor(() => proxy.records.length === 1);
  assert.equal(proxy.records[0]?.flags, "DR");
  assert.equal(proxy.counters.get("cluster.a.upstream_rq_active"), 0);
});
