import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

/**
 * Two network namespaces joined by a cable: a pod with its sidecar, and the world. Nobody in them has
 * heard of a mesh: curl, Python's http.server, raw TCP in Python.
 */
const POD = `serin-pod-${process.pid}`;
const WORLD = `serin-world-${process.pid}`;
const POD_IP = "10.77.0.1";
const WORLD_IP = "10.77.0.2";
const WORLD_IPV6 = "fd77::2";
const PROXY_UID = "1337";
const APP_UID = "65534";

const TYPE = "type.googleapis.com/envoy";
const SERVER = `
import http.server, socket, socketserver, sys, threading
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("page for " + self.headers["Host"] + " from " + self.client_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Raw(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello, ")
        self.request.sendall(self.request.recv(100))
class Threads(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
page, *raw = map(int, sys.argv[1:])
for port in raw:
    threading.Thread(target=Threads(("::", port), Raw).serve_forever, daemon=True).start()
print("ready", flush=True)
Threads(("::", page), Page).serve_forever()
`;
const CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
try:
    s.sendall(b"client")
    answer = b""
    while len(answer) < 13:
        more = s.recv(100)
        if not more: break
        answer += more
except ConnectionResetError: pass
print(answer.decode())
`;

test("applications that know nothing of the mesh go through the sidecar", {
  skip: whyNot(),
}, async (t) => {
  layCable(t);
  const dir = mkdtempSync(join(tmpdir(), "serin-interception-"));
  chmodSync(dir, 0o755);
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "bootstrap.json"), JSON.stringify(bootstrap()));
  await start(t, WORLD, APP_UID, ["python3", "-c", SERVER, "8080", "9000", "9001"], /ready/);
  await start(t, POD, APP_UID, ["python3", "-c", SERVER, "7000", "7001"], /ready/);
  const init = (...flags: string[]) =>
    inside(POD, "0", [process.execPath, "bin/serin.mjs", "init", ...flags]);
  const page = async (from: string, uid: string, url: string): Promise<string> =>
    inside(from, uid, ["curl", "-sS", "-i", "--max-time", "5", url]);
  const raw = async (from: string, uid: string, address: string, port: number): Promise<string> =>
    (await inside(from, uid, ["/usr/bin/python3", "-c", CLIENT, address, String(port)])).trim();

  await init("--ipv6");
  await init("--ipv6");
  const proxy = [
    process.execPath,
    "bin/serin.mjs",
    "proxy",
    "--bootstrap",
    join(dir, "bootstrap.json"),
  ];
  await start(t, POD, PROXY_UID, proxy, undefined);
  await reachable(() => page(POD, PROXY_UID, "http://127.0.0.1:15000/ready"));
  const stat = async (name: string): Promise<number> => {
    const text = await page(POD, PROXY_UID, "http://127.0.0.1:15000/stats");
    return Number(new RegExp(`^${name}: (\\d+)\\r?$`, "m").exec(text)?.[1] ?? "0");
  };

  await t.test("outbound HTTP is routed by the listener of its port", async () => {
    const answer = await page(POD, APP_UID, `http://${WORLD_IP}:8080/`);
    assert.match(answer, /^x-mesh: outbound\r$/m);
    assert.match(answer, /page for 10\.77\.0\.2:8080 from ::ffff:10\.77\.0\.1$/);
  });
  await t.test("the proxy's own traffic is left alone", async () => {
    const answer = await page(POD, PROXY_UID, `http://${WORLD_IP}:8080/`);
    assert.doesNotMatch(answer, /x-mesh/);
    assert.match(answer, /page for/);
  });
  await t.test("raw TCP to an unknown destination passes through", async () => {
    const before = await stat("cluster.PassthroughCluster.upstream_cx_total");
    assert.equal(await raw(POD, APP_UID, WORLD_IP, 9000), "hello, client");
    assert.equal(await stat("cluster.PassthroughCluster.upstream_cx_total"), before + 1);
  });
  await t.test("a destination with a listener of its own may be a black hole", async () => {
    assert.equal(await raw(POD, APP_UID, WORLD_IP, 9001), "");
  });
  await t.test("inbound HTTP goes through the chain of its port", async () => {
    const answer = await page(WORLD, APP_UID, `http://${POD_IP}:7000/`);
    assert.match(answer, /^x-mesh: inbound\r$/m);
    assert.match(answer, /page for 10\.77\.0\.1:7000 from ::ffff:127\.0\.0\.1$/);
  });
  await t.test("other inbound TCP passes through to the application", async () => {
    const before = await stat("cluster.InboundPassthroughCluster.upstream_cx_total");
    assert.equal(await raw(WORLD, APP_UID, POD_IP, 7001), "hello, client");
    assert.equal(await stat("cluster.InboundPassthroughCluster.upstream_cx_total"), before + 1);
  });
  await t.test("the application reaches itself without the proxy", async () => {
    const answer = await page(POD, APP_UID, "http://127.0.0.1:7000/");
    assert.doesNotMatch(answer, /x-mesh/);
  });
  await t.test("IPv6 is captured likewise", async () => {
    const answer = await page(POD, APP_UID, `http://[${WORLD_IPV6}]:8080/`);
    assert.match(answer, /^x-mesh: outbound\r$/m);
    assert.match(answer, /page for \[fd77::2\]:8080 from fd77::1$/);
    assert.doesNotMatch(await page(POD, PROXY_UID, `http://[${WORLD_IPV6}]:8080/`), /x-mesh/);
  });
  await t.test("an excluded destination is left alone", async () => {
    await init("-x", `${WORLD_IP}/32`, "--istio-local-exclude-ports", "7000");
    assert.doesNotMatch(await page(POD, APP_UID, `http://${WORLD_IP}:8080/`), /x-mesh/);
    assert.doesNotMatch(await page(WORLD, APP_UID, `http://${POD_IP}:7000/`), /x-mesh/);
  });
  await t.test("--clean leaves nothing behind", async () => {
    await init("--clean", "--ipv6");
    await init("--clean", "--ipv6");
    assert.doesNotMatch(await inside(POD, "0", ["ip6tables", "-t", "nat", "-S"]), /ISTIO/);
    assert.doesNotMatch(await inside(POD, "0", ["iptables", "-t", "nat", "-S"]), /ISTIO/);
    assert.doesNotMatch(await page(POD, APP_UID, `http://${WORLD_IP}:8080/`), /x-mesh/);
    assert.doesNotMatch(await page(WORLD, APP_UID, `http://${POD_IP}:7000/`), /x-mesh/);
  });
});

/** Why this machine cannot run the test, or false. */
function whyNot(): string | false {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
  for (const [tool, flag] of [
    ["ip", "-V"],
    ["iptables", "--version"],
    ["curl", "--version"],
    ["setpriv", "--version"],
  ] as const) {
    if (spawnSync(tool, [flag]).error !== undefined) return `needs ${tool}`;
  }
  const canUnshare = spawnSync("unshare", ["-n", "iptables", "-t", "nat", "-S"]).status === 0;
  return canUnshare ? false : "needs network namespaces with iptables";
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  assert.equal(status, 0, `ip ${args.join(" ")}: ${stderr}`);
}

function layCable(t: TestContext): void {
  for (const name of [POD, WORLD]) {
    ip("netns", "add", name);
    t.after(() => ip("netns", "del", name));
    ip("-n", name, "link", "set", "lo", "up");
  }
  ip("-n", POD, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", WORLD);
  for (const [name, address, ipv6] of [
    [POD, POD_IP, "fd77::1"],
    [WORLD, WORLD_IP, WORLD_IPV6],
  ] as const) {
    ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0");
    ip("-n", name, "addr", "add", `${ipv6}/64`, "dev", "eth0", "nodad");
    ip("-n", name, "link", "set", "eth0", "up");
  }
}

function within(namespace: string, uid: string, command: readonly string[]): string[] {
  const identity = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  return ["netns", "exec", namespace, "setpriv", ...identity, ...command];
}

/** What a command in a namespace prints. */
async function inside(namespace: string, uid: string, command: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("ip", within(namespace, uid, command), {
    timeout: 20_000,
  });
  return stdout;
}

/** Starts a program in a namespace and waits for its first words. */
async function start(
  t: TestContext,
  namespace: string,
  uid: string,
  command: readonly string[],
  firstWords: RegExp | undefined,
): Promise<ChildProcess> {
  const [program = "", ...rest] = command;
  const path = program === "python3" ? "/usr/bin/python3" : program;
  const child = spawn("ip", within(namespace, uid, [path, ...rest]));
  t.after(async () => {
    if (child.exitCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  });
  let output = "";
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const read = (text: Buffer): void => {
    output += text.toString();
    if (firstWords?.test(output)) resolve();
  };
  if (firstWords === undefined) resolve();
  child.stdout?.on("data", read);
  child.stderr?.on("data", read);
  child.once("exit", () => reject(new Error(`${path} ended: ${output}`)));
  await promise;
  return child;
}

async function reachable(ask: () => Promise<string>): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      if (/^HTTP\/1\.1 200 /.test(await ask())) return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}

/** What Istio sends a sidecar, in small. */
function bootstrap() {
  const address = (ip: string, port: number) => ({
    socket_address: { address: ip, port_value: port },
  });
  const tcp = (cluster: string) => [
    {
      name: "tcp",
      typed_config: {
        "@type": `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
        stat_prefix: cluster,
        cluster,
      },
    },
  ];
  const http = (cluster: string, direction: string) => [
    {
      name: "http",
      typed_config: {
        "@type": `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
        stat_prefix: direction,
        http_filters: [
          {
            name: "router",
            typed_config: { "@type": `${TYPE}.extensions.filters.http.router.v3.Router` },
          },
        ],
        route_config: {
          response_headers_to_add: [{ header: { key: "x-mesh", value: direction } }],
          virtual_hosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [{ match: { prefix: "/" }, route: { cluster } }],
            },
          ],
        },
      },
    },
  ];
  const virtual = (name: string, ip: string, port: number, filters: object[]) => ({
    name,
    address: address(ip, port),
    bind_to_port: false,
    filter_chains: [{ filters }],
  });
  return {
    node: { id: "pod" },
    admin: { address: address("127.0.0.1", 15000) },
    static_resources: {
      listeners: [
        {
          name: "virtualOutbound",
          address: address("0.0.0.0", 15001),
          use_original_dst: true,
          traffic_direction: "OUTBOUND",
          filter_chains: [
            { filter_chain_match: { destination_port: 15001 }, filters: tcp("BlackHoleCluster") },
            { filters: tcp("PassthroughCluster") },
          ],
        },
        {
          name: "virtualOutbound6",
          address: address("::", 15001),
          use_original_dst: true,
          traffic_direction: "OUTBOUND",
          filter_chains: [{ filters: tcp("PassthroughCluster") }],
        },
        virtual("::_8080", "::", 8080, http("PassthroughCluster", "outbound")),
        virtual("0.0.0.0_8080", "0.0.0.0", 8080, http("PassthroughCluster", "outbound")),
        virtual(`${WORLD_IP}_9001`, WORLD_IP, 9001, tcp("BlackHoleCluster")),
        virtual("0.0.0.0_9001", "0.0.0.0", 9001, tcp("PassthroughCluster")),
        {
          name: "virtualInbound",
          address: address("0.0.0.0", 15006),
          traffic_direction: "INBOUND",
          listener_filters: [
            {
              name: "original_dst",
              typed_config: {
                "@type": `${TYPE}.extensions.filters.listener.original_dst.v3.OriginalDst`,
              },
            },
          ],
          filter_chains: [
            {
              filter_chain_match: { destination_port: 7000 },
              filters: http("inbound|7000||", "inbound"),
            },
            {
              filter_chain_match: { prefix_ranges: [{ address_prefix: "0.0.0.0", prefix_len: 0 }] },
              filters: tcp("InboundPassthroughCluster"),
            },
          ],
        },
      ],
      clusters: [
        { name: "PassthroughCluster", type: "ORIGINAL_DST", lb_policy: "CLUSTER_PROVIDED" },
        {
          name: "InboundPassthroughCluster",
          type: "ORIGINAL_DST",
          lb_policy: "CLUSTER_PROVIDED",
          upstream_bind_config: { source_address: { address: "127.0.0.6", port_value: 0 } },
        },
        { name: "BlackHoleCluster", type: "STATIC" },
        {
          name: "inbound|7000||",
          type: "STATIC",
          load_assignment: {
            cluster_name: "inbound|7000||",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address("127.0.0.1", 7000) } }] }],
          },
        },
      ],
    },
  };
}
