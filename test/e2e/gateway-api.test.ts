import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import {
  createServer as createHttp2Server,
  connect as http2Connect,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createHttpsServer, request as httpsRequest } from "node:https";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createAuthority } from "../support/certificates.ts";
import {
  type Answer,
  answerTo,
  askThrough,
  becomes,
  startOutsider,
} from "../support/mesh-client.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const CLOSED: Answer = { status: 0, body: "", headers: {} };
const CONDITION = (type: string) => `.conditions[?(@.type=="${type}")]`;
/** Standard deviations that chance exceeds less often than once in a million runs. */
const SIGMAS = 5;

/** Whether `count` of `total` fits a share, by the normal approximation of the binomial. */
function fits(count: number, total: number, share: number): boolean {
  return Math.abs(count - total * share) <= SIGMAS * Math.sqrt(total * share * (1 - share));
}

test("Gateway API: a gateway of its own, routes, TLS with grants, routes of Services, statuses", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const applyObject = async (object: object): Promise<void> => {
    const file = join(dataDir, "object.json");
    writeFileSync(file, JSON.stringify(object));
    await kubectl("apply", "-f", file);
  };
  const apply = (kind: string, name: string, spec: object, namespace = "default") => {
    const versions: Readonly<Record<string, string>> = {
      TCPRoute: "v1alpha2",
      TLSRoute: "v1alpha2",
      ReferenceGrant: "v1beta1",
    };
    return applyObject({
      apiVersion: `gateway.networking.k8s.io/${versions[kind] ?? "v1"}`,
      ...{ kind, metadata: { name, namespace }, spec },
    });
  };
  const read = (what: string, name: string, path: string): Promise<string> =>
    kubectl("get", what, name, "-o", `jsonpath={${path}}`);
  const says = (what: string, name: string, path: string, text: string): Promise<void> =>
    eventually(`${what}/${name} ${path} is ${text}`, async () => {
      return (await read(what, name, path)) === text;
    });

  const one = await startOutsider(t, "one");
  const two = await startOutsider(t, "two");
  const mirrored: string[] = [];
  const mirror = createServer((incoming, response) => {
    mirrored.push(`${incoming.headers.host} ${incoming.url}`);
    response.end();
  });
  await new Promise<void>((resolve) => mirror.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    mirror.close();
    mirror.closeAllConnections();
  });
  const external = (name: string, port: number, protocol = "HTTP") =>
    applyObject({
      apiVersion: "networking.istio.io/v1",
      kind: "ServiceEntry",
      metadata: { name },
      spec: {
        hosts: [`${name}.internal`],
        ports: [{ number: 80, name: protocol.toLowerCase(), protocol }],
        resolution: "STATIC",
        endpoints: [{ address: "127.0.0.1", ports: { [protocol.toLowerCase()]: port } }],
      },
    });
  const to = (name: string, weight?: number) => ({
    group: "networking.istio.io",
    kind: "Hostname",
    name: `${name}.internal`,
    port: 80,
    ...(weight === undefined ? {} : { weight }),
  });

  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  await kubectl(
    "apply",
    "-f",
    "examples/bookinfo/ratings.yaml",
    "-f",
    "examples/bookinfo/reviews.yaml",
  );
  await external("one", one);
  await external("two", two);
  await external("mirror", (mirror.address() as AddressInfo).port);

  await t.test("classes are there and accepted", async () => {
    for (const name of ["istio", "serin"]) {
      await says("gatewayclass", name, `.status${CONDITION("Accepted")}.status`, "True");
    }
  });

  const listener = (name: string, port: number, more: object = {}) => ({
    name,
    port,
    protocol: "HTTP",
    allowedRoutes: { namespaces: { from: "Same" } },
    ...more,
  });
  const secured = (name: string) =>
    listener(name, 443, {
      protocol: "HTTPS",
      hostname: `${name}.example.com`,
      tls: { certificateRefs: [{ name, namespace: "certs" }] },
    });
  const authority = await createAuthority("clients");
  await applyObject({ apiVersion: "v1", kind: "Namespace", metadata: { name: "certs" } });
  for (const name of ["granted", "refused"]) {
    const pair = await authority.issue(`spiffe://x,DNS:${name}.example.com`);
    await applyObject({
      ...{ apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls" },
      metadata: { name, namespace: "certs" },
      stringData: { "tls.crt": pair.certificatePem, "tls.key": pair.keyPem },
    });
  }
  await apply("Gateway", "web", {
    gatewayClassName: "serin",
    listeners: [
      listener("http", 80),
      listener("tcp", 9000, { protocol: "TCP" }),
      listener("tls", 9443, { protocol: "TLS", tls: { mode: "Passthrough" } }),
      secured("granted"),
      secured("refused"),
    ],
  });

  let address = "";
  await t.test(
    "a Gateway gets a Deployment and a Service of its own, and their address",
    async () => {
      await kubectl("wait", "--for=condition=Programmed", "gtw/web", "--timeout=90s");
      const owner = await read("deployment", "web-serin", ".metadata.ownerReferences[0].kind");
      assert.equal(owner, "Gateway");
      address = await read("gtw", "web", ".status.addresses[0].value");
      assert.match(address, /^[0-9.]+$/);
    },
  );

  const ask =
    (path: string, options: { readonly host?: string; readonly headers?: object } = {}) =>
    (): Promise<Answer> => {
      const headers = { host: options.host ?? "a.com", connection: "close", ...options.headers };
      return answerTo(request({ host: address, port: 80, path, headers }));
    };
  const secure =
    (name: string, port = 443) =>
    (): Promise<Answer> => {
      const host = `${name}.example.com`;
      return answerTo(
        httpsRequest({
          ...{ host: address, port, path: "/s", servername: host, agent: false as const },
          ...{ headers: { host }, ca: authority.certificatePem },
        }),
      );
    };
  const answers =
    (text: string) =>
    ({ body }: Answer): boolean =>
      body === text;
  const parentRefs = [{ name: "web" }];
  const prefix = (value: string) => [{ path: { type: "PathPrefix", value } }];

  await t.test("an HTTPRoute: matches, rewrites, redirects, mirrors, errors", async () => {
    const filtered = (
      path: string,
      filter: object,
      backendRefs: readonly object[] = [to("one")],
    ) => ({
      matches: prefix(path),
      filters: [filter],
      backendRefs,
    });
    await apply("HTTPRoute", "web", {
      parentRefs: [{ name: "web", sectionName: "http" }],
      hostnames: ["a.com"],
      rules: [
        { backendRefs: [to("one")] },
        { matches: [{ path: { value: "/two" } }], backendRefs: [to("two")] },
        { matches: [{ headers: [{ name: "User", value: "jason" }] }], backendRefs: [to("two")] },
        filtered("/old", {
          type: "URLRewrite",
          urlRewrite: {
            hostname: "new.com",
            path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" },
          },
        }),
        filtered(
          "/moved",
          {
            type: "RequestRedirect",
            requestRedirect: {
              scheme: "https",
              statusCode: 301,
              path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/here" },
            },
          },
          [],
        ),
        filtered("/copied", { type: "RequestMirror", requestMirror: { backendRef: to("mirror") } }),
        filtered("/marked", {
          type: "ResponseHeaderModifier",
          responseHeaderModifier: { set: [{ name: "x-share", value: "50%" }] },
        }),
        { matches: prefix("/nowhere"), backendRefs: [{ name: "gone", port: 80 }] },
      ],
    });
    await becomes("any path", ask("/"), answers("one a.com /"));
    await becomes("a prefix", ask("/two/x"), answers("two a.com /two/x"));
    await becomes("not a segment", ask("/twofold"), answers("one a.com /twofold"));
    await becomes("a header", ask("/", { headers: { user: "jason" } }), answers("two a.com /"));
    await becomes("rewritten", ask("/old/x?q=1"), answers("one new.com /x?q=1"));
    await becomes("rewritten to nothing", ask("/old"), answers("one new.com /"));
    const moved = await becomes("moved", ask("/moved/x"), ({ status }) => status === 301);
    assert.equal(moved.headers.location, "https://a.com/here/x");
    await becomes("copied", ask("/copied/x"), answers("one a.com /copied/x"));
    await eventually("the copy arrives", async () => mirrored.includes("a.com /copied/x"));
    const marked = await ask("/marked")();
    assert.equal(marked.headers["x-share"], "50%");
    await becomes("no backend", ask("/nowhere"), ({ status }) => status === 500);
    assert.equal((await ask("/", { host: "b.com" })()).status, 404);
    await says("httproute", "web", `.status.parents[0]${CONDITION("Accepted")}.status`, "True");
    const resolved = `.status.parents[0]${CONDITION("ResolvedRefs")}.reason`;
    await says("httproute", "web", resolved, "BackendNotFound");
    await says("gtw", "web", '.status.listeners[?(@.name=="http")].attachedRoutes', "1");
    const controller = await read("httproute", "web", ".status.parents[0].controllerName");
    assert.equal(controller, "serin.dev/gateway-controller");
  });

  await t.test("weights, and the share of a backend that is not there", async () => {
    await apply("HTTPRoute", "split", {
      parentRefs,
      hostnames: ["split.com"],
      rules: [{ backendRefs: [to("one", 6), to("two", 3), { name: "gone", port: 80, weight: 1 }] }],
    });
    const split = ask("/", { host: "split.com" });
    await becomes("it is routed", split, ({ status }) => status !== 404);
    const total = 400;
    const counts = { one: 0, two: 0, 500: 0 };
    for (let i = 0; i < total; i += 1) {
      const { status, body } = await split();
      counts[status === 500 ? 500 : body.startsWith("one") ? "one" : "two"] += 1;
    }
    assert.ok(fits(counts.one, total, 0.6), JSON.stringify(counts));
    assert.ok(fits(counts.two, total, 0.3), JSON.stringify(counts));
    assert.ok(fits(counts[500], total, 0.1), JSON.stringify(counts));
  });

  await t.test(
    "a Service of the mesh behind the gateway; what a listener does not allow",
    async () => {
      await kubectl("rollout", "status", "deployment/ratings-v1", "--timeout=90s");
      await apply("HTTPRoute", "ratings", {
        parentRefs,
        hostnames: ["ratings.com"],
        rules: [{ backendRefs: [{ name: "ratings", port: 9080 }] }],
      });
      const ratings = ask("/ratings/0", { host: "ratings.com" });
      await becomes(
        "ratings",
        ratings,
        ({ status, body }) => status === 200 && /Reviewer1/.test(body),
      );
      const spec = { parentRefs: [{ name: "web", namespace: "default" }], hostnames: ["x.com"] };
      await apply("HTTPRoute", "far", { ...spec, rules: [{ backendRefs: [to("one")] }] }, "certs");
      const path = `jsonpath={.status.parents[0]${CONDITION("Accepted")}.reason}`;
      await eventually("it is refused", async () => {
        const reason = await kubectl("get", "httproute", "far", "-n", "certs", "-o", path);
        return reason === "NotAllowedByListeners";
      });
      assert.equal((await ask("/", { host: "x.com" })()).status, 404);
    },
  );

  await t.test("TLS: a certificate of another namespace only with its ReferenceGrant", async () => {
    await apply("HTTPRoute", "secure", {
      parentRefs: [
        { name: "web", sectionName: "granted" },
        { name: "web", sectionName: "refused" },
      ],
      rules: [{ backendRefs: [to("one")] }],
    });
    const refs = (name: string) =>
      `.status.listeners[?(@.name=="${name}")]${CONDITION("ResolvedRefs")}.reason`;
    await says("gtw", "web", refs("granted"), "RefNotPermitted");
    assert.deepEqual(await secure("granted")(), CLOSED);
    const grant = (to: object) =>
      apply(
        "ReferenceGrant",
        "web",
        {
          from: [{ group: "gateway.networking.k8s.io", kind: "Gateway", namespace: "default" }],
          to: [{ group: "", kind: "Secret", ...to }],
        },
        "certs",
      );
    await grant({ name: "granted" });
    await becomes("granted", secure("granted"), answers("one granted.example.com /s"));
    await says("gtw", "web", refs("granted"), "ResolvedRefs");
    await says("gtw", "web", refs("refused"), "RefNotPermitted");
    assert.deepEqual(await secure("refused")(), CLOSED);
    await kubectl("delete", "referencegrant", "web", "-n", "certs");
    await becomes("revoked", secure("granted"), ({ status }) => status === 0);
  });

  await t.test("a TCPRoute", async () => {
    const echo = createTcpServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
    t.after(() => echo.close());
    await external("echo", (echo.address() as AddressInfo).port, "TCP");
    await apply("TCPRoute", "echo", {
      parentRefs: [{ name: "web", sectionName: "tcp" }],
      rules: [{ backendRefs: [to("echo")] }],
    });
    const hello = (): Promise<Answer> =>
      new Promise((resolve) => {
        const socket = connect(9000, address, () => socket.write("hello"));
        socket.on("error", () => resolve(CLOSED));
        socket.on("close", () => resolve(CLOSED));
        socket.once("data", (bytes) => {
          resolve({ status: 200, body: String(bytes), headers: {} });
          socket.destroy();
        });
      });
    await becomes("TCP", hello, answers("hello"));
  });

  await t.test("a TLSRoute: by server name to the backend's own certificate", async () => {
    const own = await authority.issue("spiffe://x,DNS:pass.example.com");
    const backend = createHttpsServer(
      { cert: own.certificatePem, key: own.keyPem },
      (_, response) => response.end("the backend itself"),
    );
    await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      backend.close();
      backend.closeAllConnections();
    });
    await external("pass", (backend.address() as AddressInfo).port, "TLS");
    await apply("TLSRoute", "pass", {
      parentRefs: [{ name: "web", sectionName: "tls" }],
      hostnames: ["pass.example.com"],
      rules: [{ backendRefs: [to("pass")] }],
    });
    await becomes("passed on", secure("pass", 9443), answers("the backend itself"));
    assert.deepEqual(await secure("other", 9443)(), CLOSED);
  });

  await t.test("a GRPCRoute: by method; without a backend UNAVAILABLE", async () => {
    const calls = createHttp2Server();
    calls.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(String(headers[":path"]));
    });
    await new Promise<void>((resolve) => calls.listen(0, "127.0.0.1", resolve));
    t.after(() => calls.close());
    await external("calls", (calls.address() as AddressInfo).port, "GRPC");
    await apply("GRPCRoute", "calls", {
      parentRefs: [{ name: "web", sectionName: "http" }],
      hostnames: ["grpc.com"],
      rules: [
        {
          matches: [{ method: { service: "a.Books", method: "Get" } }],
          backendRefs: [to("calls")],
        },
        { matches: [{ method: { service: "a.Books" } }], backendRefs: [{ name: "gone", port: 1 }] },
      ],
    });
    /** The body, as text, and the status of a call. */
    const call = (path: string) => (): Promise<Answer> =>
      new Promise((resolve) => {
        const session = http2Connect(`http://${address}:80`);
        const failed = (): void => {
          session.destroy();
          resolve(CLOSED);
        };
        session.on("error", failed);
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          ":authority": "grpc.com",
          "content-type": "application/grpc",
          te: "trailers",
        });
        let status = "";
        let body = "";
        const note = (headers: object): void => {
          status = String((headers as Record<string, unknown>)["grpc-status"] ?? status);
        };
        stream.on("response", note).on("trailers", note).on("error", failed);
        stream.setEncoding("utf8").on("data", (text: string) => {
          body += text;
        });
        stream.on("end", () => {
          session.close();
          resolve({ status: Number(status), body, headers: {} });
        });
        stream.end();
      });
    await becomes("a method", call("/a.Books/Get"), answers("/a.Books/Get"));
    await becomes("no backend", call("/a.Books/List"), ({ status }) => status === 14);
    await says("grpcroute", "calls", `.status.parents[0]${CONDITION("Accepted")}.status`, "True");
  });

  await t.test("a Gateway by address: served by the pods of that Service", async () => {
    await apply("Gateway", "manual", {
      gatewayClassName: "istio",
      addresses: [{ type: "Hostname", value: "web-serin.default.svc.cluster.local" }],
      listeners: [listener("http", 80, { hostname: "manual.com" })],
    });
    await apply("HTTPRoute", "manual", {
      parentRefs: [{ name: "manual" }],
      rules: [{ backendRefs: [to("two")] }],
    });
    await kubectl("wait", "--for=condition=Programmed", "gtw/manual", "--timeout=60s");
    await becomes("manual", ask("/", { host: "manual.com" }), answers("two manual.com /"));
    await becomes("beside the other", ask("/"), answers("one a.com /"));
    assert.doesNotMatch(await kubectl("get", "deployments", "-o", "name"), /manual-istio/);
    const controller = await read("httproute", "manual", ".status.parents[0].controllerName");
    assert.equal(controller, "istio.io/gateway-controller");
  });

  await t.test("a route of a Service splits requests from sidecar to sidecar", async () => {
    for (const version of ["v1", "v2"]) {
      await kubectl("rollout", "status", `deployment/reviews-${version}`, "--timeout=90s");
      await applyObject({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: `reviews-${version}` },
        spec: { selector: { app: "reviews", version }, ports: [{ name: "http", port: 9080 }] },
      });
    }
    const client = await podIp(kubectl, "ratings");
    const versionNow = async (): Promise<string> => {
      const { status, body } = await askThrough(client, "http://reviews:9080/reviews/0");
      if (status !== 200) return String(status);
      return (JSON.parse(body) as { readonly version: string }).version;
    };
    const spec = (...weights: readonly number[]) => ({
      parentRefs: [{ group: "", kind: "Service", name: "reviews", port: 9080 }],
      rules: [
        {
          backendRefs: weights.map((weight, i) => ({
            ...{ name: `reviews-v${i + 1}`, port: 9080, weight },
          })),
        },
      ],
    });
    await apply("HTTPRoute", "reviews", spec(100, 0));
    let inARow = 0;
    await eventually("all go to v1", async () => {
      inARow = (await versionNow()) === "v1" ? inARow + 1 : 0;
      return inARow >= 15;
    });
    await apply("HTTPRoute", "reviews", spec(90, 10));
    await says("httproute", "reviews", ".status.parents[0].conditions[0].observedGeneration", "2");
    await eventually("some go to v2", async () => (await versionNow()) === "v2");
    const total = 300;
    let canary = 0;
    for (let i = 0; i < total; i += 1) {
      const version = await versionNow();
      assert.ok(version === "v1" || version === "v2", version);
      canary += Number(version === "v2");
    }
    assert.ok(fits(canary, total, 0.1), `${canary} of ${total}`);
    await kubectl("delete", "httproute", "reviews");
    await eventually("v3 is back", async () => (await versionNow()) === "v3");
  });

  await t.test("others' parents stay; bad fields are refused by name", async () => {
    const foreign = {
      controllerName: "example.com/other",
      parentRef: { name: "elsewhere" },
      conditions: [],
    };
    const before = JSON.parse(await kubectl("get", "httproute", "web", "-o", "json")) as {
      readonly status: { readonly parents: readonly object[] };
    };
    const status = { status: { parents: [foreign, ...before.status.parents] } };
    const patch = ["--type=merge", "--subresource=status", "-p", JSON.stringify(status)];
    await kubectl("patch", "httproute", "web", ...patch);
    await kubectl(
      "patch",
      "httproute",
      "web",
      "--type=merge",
      "-p",
      '{"spec":{"hostnames":["c.com"]}}',
    );
    const generation = await read("httproute", "web", ".metadata.generation");
    const observed =
      '.status.parents[?(@.controllerName=="serin.dev/gateway-controller")].conditions[0].observedGeneration';
    await says("httproute", "web", observed, generation);
    assert.equal(
      await read("httproute", "web", ".status.parents[0].controllerName"),
      "example.com/other",
    );
    await assert.rejects(
      apply("HTTPRoute", "bad", {
        parentRefs,
        rules: [{ matches: prefix("no-slash"), backendRefs: [{ name: "one" }] }],
      }),
      (error: Error) =>
        /spec\.rules\[0\]\.matches\[0\]\.path\.value: must be an absolute path/.test(
          error.message,
        ) &&
        /spec\.rules\[0\]\.backendRefs\[0\]\.port: is required for a Service/.test(error.message),
    );
  });

  await t.test("what was deployed for a Gateway goes with it", async () => {
    await kubectl("delete", "gtw", "web");
    await eventually("the Deployment is gone", async () => {
      const names = await kubectl("get", "deployment,service,serviceaccount", "-o", "name");
      return !names.includes("web-serin");
    });
  });
});
