import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingHttpHeaders } from "node:http";
import { createServer } from "node:https";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { RESOURCES } from "../../src/api/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import {
  createAuthority,
  type TestAuthority,
  type TestCertificate,
} from "../support/certificates.ts";

const KEY = { namespace: "shop", name: "a" };

interface World {
  readonly dir: string;
  readonly authority: TestAuthority;
  readonly client: TestCertificate;
  readonly port: number;
  /** Of every request that came. */
  readonly seen: { headers: IncomingHttpHeaders; clientName: string | undefined }[];
  /** How the server answers. */
  answer: { status: number };
  store(cluster: object, user: object): KubeStore;
}

/** An API server that tells who asked. */
async function world(t: TestContext): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "serin-credentials-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const authority = await createAuthority();
  const [own, client] = await Promise.all([
    authority.issue("spiffe://test/server", { names: "DNS:api.test" }),
    authority.issue("spiffe://test/client", { subject: "/CN=somebody" }),
  ]);
  const seen: World["seen"] = [];
  const answer = { status: 200 };
  const server = createServer(
    {
      cert: own.certificatePem,
      key: own.keyPem,
      ca: authority.certificatePem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const peer = (request.socket as TLSSocket).getPeerCertificate();
      const clientName = (peer as { subject?: { CN?: string } } | undefined)?.subject?.CN;
      seen.push({ headers: request.headers, clientName });
      response.writeHead(answer.status, { "content-type": "application/json" });
      response.end(JSON.stringify({ metadata: KEY }));
      if (answer.status === 401) answer.status = 200;
    },
  );
  const port = await listen(t, server);
  const store = (cluster: object, user: object): KubeStore => {
    const path = join(dir, "config");
    writeFileSync(
      path,
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        clusters: [{ name: "c", cluster: { server: `https://127.0.0.1:${port}`, ...cluster } }],
        users: [{ name: "u", user }],
      }),
    );
    return createClientStore({ kubeconfigPath: path });
  };
  return { dir, authority, client, port, seen, answer, store };
}

async function listen(t: TestContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const ask = (store: KubeStore) => store.get(RESOURCES.configMap, KEY);

/** As the cluster's certificate wants it. */
const trusting = ({ authority }: World) => ({
  "certificate-authority-data": base64(authority.certificatePem),
  "tls-server-name": "api.test",
});

test("trusts the authority it is told, by data or by file, for the name it is told", async (t) => {
  const here = await world(t);
  const { dir, authority, store } = here;
  await ask(store(trusting(here), {}));
  writeFileSync(join(dir, "ca.pem"), authority.certificatePem);
  await ask(store({ "certificate-authority": "ca.pem", "tls-server-name": "api.test" }, {}));
  await ask(store({ "insecure-skip-tls-verify": true }, {}));
  const wrongName = store({ ...trusting(here), "tls-server-name": "other.test" }, {});
  await assert.rejects(ask(wrongName), { code: "SERIN_UNAVAILABLE", message: /other\.test/ });
  await assert.rejects(ask(store({ "tls-server-name": "api.test" }, {})), {
    code: "SERIN_UNAVAILABLE",
  });
  await assert.rejects(ask(store({ "certificate-authority": "gone.pem" }, {})), {
    code: "SERIN_UNREADABLE_INPUT",
    message: /gone\.pem/,
  });
  assert.equal(here.seen.length, 3);
});

test("shows a client certificate, by data or by file, and a new one once the file changed", async (t) => {
  const here = await world(t);
  const { dir, authority, client, seen, store } = here;
  const data = {
    "client-certificate-data": base64(client.certificatePem),
    "client-key-data": base64(client.keyPem),
  };
  await ask(store(trusting(here), data));
  writeFileSync(join(dir, "me.pem"), client.certificatePem);
  writeFileSync(join(dir, "key.pem"), client.keyPem);
  const kept = store(trusting(here), { "client-certificate": "me.pem", "client-key": "key.pem" });
  await ask(kept);
  const rotated = await authority.issue("spiffe://test/client", { subject: "/CN=renewed" });
  writeFileSync(join(dir, "me.pem"), rotated.certificatePem);
  writeFileSync(join(dir, "key.pem"), rotated.keyPem);
  await ask(kept);
  assert.deepEqual(
    seen.map(({ clientName }) => clientName),
    ["somebody", "somebody", "renewed"],
  );
  const broken = store(trusting(here), { "client-certificate-data": "bm9uZQ==" });
  await assert.rejects(ask(broken), /client-certificate-data must be base64 of PEM/);
});

test("sends a token, the file's newest before the text, or a password, and who to act as", async (t) => {
  const here = await world(t);
  const { dir, seen, store } = here;
  const sent = () => seen.at(-1)?.headers;
  await ask(store(trusting(here), { token: "text" }));
  assert.equal(sent()?.authorization, "Bearer text");
  writeFileSync(join(dir, "token"), "first\n");
  const kept = store(trusting(here), { token: "text", tokenFile: "token" });
  await ask(kept);
  assert.equal(sent()?.authorization, "Bearer first");
  writeFileSync(join(dir, "token"), "second\n");
  await ask(kept);
  assert.equal(sent()?.authorization, "Bearer second");
  await ask(store(trusting(here), { username: "me", password: "s:cret" }));
  assert.equal(sent()?.authorization, `Basic ${base64("me:s:cret")}`);
  await ask(store(trusting(here), { token: "t", as: "jane", "as-groups": ["a", "b"] }));
  assert.equal(sent()?.["impersonate-user"], "jane");
  assert.equal(sent()?.["impersonate-group"], "a, b");
});

/** A credential plugin that writes down what it was asked, and answers with `answer`. */
function plugin(dir: string, answer: object | string, exitCode = 0): string {
  const path = join(dir, "plugin");
  const text = typeof answer === "string" ? answer : JSON.stringify(answer);
  writeFileSync(
    path,
    [
      "#!/bin/sh",
      `printf '%s\\n' "$KUBERNETES_EXEC_INFO $MORE $*" >> '${dir}/asked'`,
      `cat <<'END'\n${text}\nEND`,
      exitCode === 0 ? "" : "echo you are not signed in >&2",
      `exit ${exitCode}`,
    ].join("\n"),
  );
  chmodSync(path, 0o755);
  return path;
}

const API_VERSION = "client.authentication.k8s.io/v1";
const asked = (dir: string): string[] =>
  readFileSync(join(dir, "asked"), "utf8").trim().split("\n");
const credential = (status: object) => ({
  apiVersion: API_VERSION,
  kind: "ExecCredential",
  status,
});

test("asks a credential plugin once for as long as its answer holds, and again after a 401", async (t) => {
  const here = await world(t);
  const { dir, seen, answer } = here;
  plugin(dir, credential({ token: "of the plugin" }));
  const exec = {
    apiVersion: API_VERSION,
    command: "./plugin",
    args: ["get", "token"],
    env: [{ name: "MORE", value: "more" }],
    provideClusterInfo: true,
  };
  const store = here.store(trusting(here), { exec });
  await Promise.all([ask(store), ask(store)]);
  await ask(store);
  assert.equal(seen[2]?.headers.authorization, "Bearer of the plugin");
  assert.equal(asked(dir).length, 1);
  const [info = "", more] = asked(dir)[0]?.split(/ (?=more)/) ?? [];
  assert.equal(more, "more get token");
  assert.deepEqual(JSON.parse(info), {
    apiVersion: API_VERSION,
    kind: "ExecCredential",
    spec: {
      interactive: false,
      cluster: { server: `https://127.0.0.1:${here.port}`, ...trusting(here) },
    },
  });
  answer.status = 401;
  await ask(store);
  assert.equal(asked(dir).length, 2, "the call that was refused was sent again");
  assert.equal(seen.length, 5);
});

test("asks a credential plugin again once its answer has ended; its certificate counts too", async (t) => {
  const here = await world(t);
  const { dir, client, seen } = here;
  const status = {
    clientCertificateData: client.certificatePem,
    clientKeyData: client.keyPem,
    expirationTimestamp: "2020-01-01T00:00:00Z",
  };
  plugin(dir, credential(status));
  const exec = { apiVersion: API_VERSION, command: "./plugin" };
  const store = here.store(trusting(here), { exec });
  await ask(store);
  await ask(store);
  assert.equal(asked(dir).length, 2);
  assert.deepEqual(
    seen.map(({ clientName }) => clientName),
    ["somebody", "somebody"],
  );
});

const EXEC = { apiVersion: API_VERSION, command: "./plugin" };
const PLUGIN_FAULTS: readonly (readonly [
  what: string,
  answer: object | string,
  exitCode: number,
  exec: object,
  message: RegExp,
])[] = [
  ["that fails", "", 1, EXEC, /exec\.command .*plugin: you are not signed in/],
  ["that answers no JSON", "sorry", 0, EXEC, /its answer is not JSON/],
  ["without a credential", credential({}), 0, EXEC, /status: must have a token, or/],
  [
    "of another version",
    { ...credential({ token: "t" }), apiVersion: "client.authentication.k8s.io/v1beta1" },
    0,
    EXEC,
    /answers as client\.authentication\.k8s\.io\/v1beta1/,
  ],
  [
    "of a version nobody knows",
    "",
    0,
    { ...EXEC, apiVersion: "v7" },
    /exec\.apiVersion must be one of .*\(found "v7"\)/,
  ],
  [
    "that is not there",
    "",
    0,
    { ...EXEC, command: "serin-no-such-plugin", installHint: "install it from example.test" },
    /serin-no-such-plugin: not found; install it from example\.test/,
  ],
  ["that must talk to somebody", "", 0, { ...EXEC, interactiveMode: "Always" }, /Always/],
];
for (const [what, answer, exitCode, exec, message] of PLUGIN_FAULTS) {
  test(`says what is wrong with a plugin ${what}`, async (t) => {
    const here = await world(t);
    plugin(here.dir, answer, exitCode);
    const store = here.store(trusting(here), { exec });
    await assert.rejects(ask(store), { code: "SERIN_UNREADABLE_INPUT", message });
    assert.equal(here.seen.length, 0);
  });
}

test("an auth-provider is refused, with what to use in its place", async (t) => {
  const here = await world(t);
  assert.throws(() => here.store(trusting(here), { "auth-provider": { name: "gcp" } }), {
    code: "SERIN_UNREADABLE_INPUT",
    message: /auth-provider "gcp" is not supported; use a credential plugin/,
  });
});

test("reaches the API through the proxy of the cluster", async (t) => {
  const here = await world(t);
  const tunnels: string[] = [];
  const proxy = createHttpServer();
  proxy.on("connect", (request, socket: Socket) => {
    tunnels.push(request.url ?? "");
    const upstream = connect(here.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
  });
  const port = await listen(t, proxy);
  const server = "https://api.test:6443";
  const ca = base64(here.authority.certificatePem);
  const cluster = { server, "certificate-authority-data": ca };
  const store = here.store({ ...cluster, "proxy-url": `http://127.0.0.1:${port}` }, { token: "t" });
  await ask(store);
  assert.deepEqual(tunnels, ["api.test:6443"]);
  assert.equal(here.seen[0]?.headers.authorization, "Bearer t");
  assert.throws(() => here.store({ ...cluster, "proxy-url": "socks5://127.0.0.1:1" }, {}), {
    code: "SERIN_UNREADABLE_INPUT",
    message: /proxy-url must be an http or https URL/,
  });
});
