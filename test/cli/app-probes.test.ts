import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { startProbeServer } from "../../src/cli/app-probes/probe-server.ts";
import { injectPod } from "../../src/mesh/core/injection-patch.ts";

const HOST = "127.0.0.1";

async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** What the sidecar answers for an application that is to be asked so. */
async function status(t: TestContext, prober: object, localAddress?: string): Promise<number> {
  const application = { host: HOST, localAddress };
  const probers = JSON.stringify({ "/app-health/web/livez": { timeoutSeconds: 5, ...prober } });
  const server = await startProbeServer(probers, application, { address: HOST, port: 0 });
  t.after(() => server.stop());
  const response = await fetch(`http://${HOST}:${server.port}/app-health/web/livez`);
  const other = await fetch(`http://${HOST}:${server.port}/app-health/web/readyz`);
  assert.equal(other.status, 404, "only what injection named");
  return response.status;
}

test("an HTTP probe gets the application's status, with its headers, from the passthrough address", async (t) => {
  const seen: unknown[] = [];
  const port = await listening(
    t,
    createServer((request, response) => {
      seen.push([request.url, request.headers["x-probe"], request.socket.remoteAddress]);
      response.writeHead(request.url === "/sick" ? 503 : 200).end("body");
    }),
  );
  const httpHeaders = [{ name: "X-Probe", value: "yes" }];
  assert.equal(
    await status(t, { httpGet: { path: "/fine", port, httpHeaders } }, "127.0.0.6"),
    200,
  );
  assert.equal(await status(t, { httpGet: { path: "/sick", port } }), 503);
  assert.deepEqual(seen, [
    ["/fine", "yes", "127.0.0.6"],
    ["/sick", undefined, HOST],
  ]);
});

test("a TCP probe asks whether somebody listens", async (t) => {
  const server = createTcpServer((socket) => socket.destroy());
  const port = await listening(t, server);
  assert.equal(await status(t, { tcpSocket: { port } }), 200);
  server.close();
  assert.equal(await status(t, { tcpSocket: { port } }), 502);
});

test("a gRPC probe asks the health service, by the service's name", async (t) => {
  const asked: string[] = [];
  const server = createHttp2Server();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("data", (message: Buffer) => {
      asked.push(`${headers[":path"]} ${message.subarray(7).toString()}`);
      const isServing = message.subarray(7).toString() === "shop";
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, isServing ? 1 : 2]));
    });
  });
  const port = await listening(t, server);
  assert.equal(await status(t, { grpc: { port, service: "shop" } }), 200);
  assert.equal(await status(t, { grpc: { port, service: "sick" } }), 503);
  assert.deepEqual(asked, [
    "/grpc.health.v1.Health/Check shop",
    "/grpc.health.v1.Health/Check sick",
  ]);
});

test("who does not answer in time fails", async (t) => {
  const port = await listening(
    t,
    createServer(() => {}),
  );
  assert.equal(await status(t, { httpGet: { port }, timeoutSeconds: 0.05 }), 502);
});

test("probers that are none are refused by name", async () => {
  for (const text of ["{", '{"/x":{"httpGet":{"port":0}}}']) {
    const started = startProbeServer(
      text,
      { host: HOST, localAddress: undefined },
      { address: HOST, port: 0 },
    );
    await assert.rejects(started, /ISTIO_KUBE_APP_PROBERS: /);
  }
});

const SETTINGS = {
  ...{ proxyImage: "proxy", xdsAddress: "x:1", clusterId: "k", audience: "a" },
  interceptionMode: "REDIRECT",
} as const;
const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: {
    containers: [
      {
        name: "web",
        image: "web",
        ports: [{ name: "http", containerPort: 8080 }],
        livenessProbe: {
          httpGet: { path: "/live", port: "http", scheme: "HTTPS" },
          periodSeconds: 3,
        },
        readinessProbe: { tcpSocket: { port: 8080 }, timeoutSeconds: 7 },
        startupProbe: { exec: { command: ["true"] } },
      },
      { name: "rpc", image: "rpc", livenessProbe: { grpc: { port: 9000 } } },
      { name: "far", image: "far", livenessProbe: { httpGet: { host: "10.0.0.1", port: 80 } } },
    ],
  },
};

test("injection leads probes to the sidecar, and tells it whom to ask", () => {
  const namespace = { name: "default", labels: { "istio-injection": "enabled" } };
  const containersBy = (settings: Parameters<typeof injectPod>[2]) => {
    const result = injectPod(POD, namespace, settings);
    assert.ok(result.kind === "inject");
    const value = result.patch.find(({ path }) => path === "/spec/containers")?.value;
    return value as readonly Record<string, unknown>[];
  };
  assert.deepEqual(containersBy(SETTINGS).slice(0, 3), POD.spec.containers, "not unless asked for");
  const [web, rpc, far, proxy] = containersBy({ ...SETTINGS, rewriteProbes: true });
  const to = (path: string) => ({ httpGet: { path, port: 15_020, scheme: "HTTP" } });
  assert.deepEqual(web?.["livenessProbe"], { periodSeconds: 3, ...to("/app-health/web/livez") });
  assert.deepEqual(web?.["readinessProbe"], { timeoutSeconds: 7, ...to("/app-health/web/readyz") });
  assert.deepEqual(web?.["startupProbe"], POD.spec.containers[0]?.startupProbe);
  assert.deepEqual(rpc?.["livenessProbe"], to("/app-health/rpc/livez"));
  assert.deepEqual(far, POD.spec.containers[2]);
  const env = proxy?.["env"] as readonly { name: string; value: string }[];
  const probers = env.find(({ name }) => name === "ISTIO_KUBE_APP_PROBERS")?.value ?? "";
  assert.deepEqual(JSON.parse(probers), {
    "/app-health/web/livez": {
      httpGet: { path: "/live", port: 8080, scheme: "HTTPS" },
      timeoutSeconds: 1,
    },
    "/app-health/web/readyz": { tcpSocket: { port: 8080 }, timeoutSeconds: 7 },
    "/app-health/rpc/livez": { grpc: { port: 9000 }, timeoutSeconds: 1 },
  });
});
