import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Explanation } from "../../src/mesh/index.ts";
import { runCommand } from "../cli/run-command.ts";
import { curl, inNamespace, skipWithoutNamespaces } from "../support/namespaces.ts";
import { eventually, type Kubectl, kubectlOf, temporary, up } from "../support/serin-cluster.ts";
import { findTool, skipWithout } from "../support/tools.ts";

const NAMESPACE = "{.metadata.annotations.embedded\\.serin\\.dev/network-namespace}";
const REVIEWS = "http://reviews:9080/reviews/0";

const DESTINATIONS = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews }
spec:
  host: reviews
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
`;
const ROUTES = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews }
spec:
  hosts: [reviews]
  http:
  - match: [{ headers: { user: { exact: jason } } }]
    route: [{ destination: { host: reviews, subset: v2 } }]
  - route: [{ destination: { host: reviews, subset: v1 } }]
`;
const STRICT = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default }
spec: { mtls: { mode: STRICT } }
`;

interface Pod {
  readonly namespace: string;
  readonly ip: string;
}

async function podOf(kubectl: Kubectl, app: string, kubeNamespace = "default"): Promise<Pod> {
  const path = `jsonpath={range .items[*]}${NAMESPACE} {.status.podIP}{"\\n"}{end}`;
  const text = await kubectl("get", "pods", "-n", kubeNamespace, "-l", `app=${app}`, "-o", path);
  const [namespace = "", ip = ""] = text.split("\n")[0]?.split(" ") ?? [];
  return { namespace, ip };
}

/** Processes of a pod, by their command. */
async function processes(namespace: string, pattern: RegExp): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)("ip", ["netns", "pids", namespace]);
  return stdout
    .trim()
    .split("\n")
    .map(Number)
    .filter((pid) => pattern.test(readFileSync(`/proc/${pid}/cmdline`, "latin1")));
}

/** What the server says that speaks first. */
async function greeting({ namespace }: Pod): Promise<string> {
  const program =
    "import socket; print(socket.create_connection(('greeter', 7000), 10).recv(100).decode())";
  return (await inNamespace(namespace, "/usr/bin/python3", "-c", program)).trim();
}

/** What clusters leave on the machine: all that is called as the pods' namespaces. */
function traces(names: readonly string[]): readonly string[] {
  const blocks = new Set(names.map((name) => name.split("-")[1]));
  const [block] = blocks;
  assert.equal(blocks.size, 1);
  const links = readdirSync("/sys/class/net");
  return [
    ...names.filter((name) => existsSync(`/run/netns/${name}`) || existsSync(`/etc/netns/${name}`)),
    ...links.filter((link) => link === `serin${block}` || link.startsWith(`sv${block}-`)),
  ];
}

test("plain applications in namespaces of their own are in the mesh, and leave nothing behind", {
  skip: skipWithoutNamespaces() || skipWithout("kubectl") || skipWithout("envoy"),
  timeout: 300_000,
}, async (t) => {
  process.env["ENVOY_BIN"] = findTool("envoy");
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  const serin = await up(t, dataDir, "netns");
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  for (const name of ["details", "ratings", "reviews", "productpage"]) {
    await kubectl("apply", "-f", `examples/bookinfo/${name}.yaml`);
  }
  // The Deployment's first pods are not there yet, or go at once.
  const engine = { "proxy.serin.dev/engine": "envoy" };
  const patch = { spec: { template: { metadata: { annotations: engine } } } };
  await kubectl("patch", "deployment", "reviews-v2", "-p", JSON.stringify(patch));
  await kubectl("apply", "-f", "test/e2e/netns.yaml");
  for (const name of [
    "details-v1",
    "ratings-v1",
    "reviews-v1",
    "reviews-v2",
    "reviews-v3",
    "ingress",
  ]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=120s");
  }
  await kubectl("rollout", "status", "deployment/productpage-v1", "--timeout=120s");
  await kubectl("wait", "--for=condition=Ready", "pod/echo", "--timeout=120s");
  await kubectl("wait", "-n", "plain", "--for=condition=Ready", "pods", "--all", "--timeout=60s");
  const page = await podOf(kubectl, "productpage");
  const echo = await podOf(kubectl, "echo");
  const plain = await podOf(kubectl, "web", "plain");
  const apply = async (manifest: string): Promise<void> => {
    const file = join(dataDir, "manifest.yaml");
    writeFileSync(file, manifest);
    await kubectl("apply", "-f", file);
  };
  const isUp = async (): Promise<boolean> => (await curl(page.namespace, REVIEWS)).status === 200;
  await eventually("productpage reaches reviews", isUp);

  const versions = async (count: number): Promise<ReadonlySet<string>> => {
    const answers = await Promise.all(
      Array.from({ length: count }, () => curl(page.namespace, REVIEWS)),
    );
    return new Set(answers.map(({ body }) => /"version":"(v\d)"/.exec(body)?.[1] ?? body));
  };

  await t.test("a pod has an address of its own, and the machine reaches it", async () => {
    assert.match(page.ip, /^10\.2[4-5]\d\.\d+\.\d+$/);
    const answer = await fetch(`http://${page.ip}:9080/api/v1/products/0/reviews`);
    assert.equal(answer.status, 200);
    assert.match(await answer.text(), /"version":"v\d"/);
  });

  await t.test("the application is told nothing, and the sidecar is user 1337", async () => {
    const { body } = await curl(page.namespace, "http://echo/");
    const { env } = JSON.parse(body) as { env: Record<string, string> };
    const told = Object.keys(env).filter((name) => /proxy|^HOST$|^PORT$/i.test(name));
    assert.deepEqual(told, []);
    const [pid] = await processes(page.namespace, /proxy\0sidecar/);
    assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), /^Uid:\t1337\t1337/m);
  });

  await t.test("names resolve as in any cluster", async () => {
    for (const name of ["reviews", "reviews.default", "reviews.default.svc.cluster.local"]) {
      assert.match(
        await inNamespace(page.namespace, "getent", "ahostsv4", name),
        /^10\.96\.\d+\.\d+ /,
        name,
      );
    }
    await assert.rejects(
      inNamespace(page.namespace, "getent", "hosts", "web"),
      "another namespace",
    );
    assert.match(await inNamespace(page.namespace, "getent", "hosts", "web.plain"), /^10\.96\./);
  });

  await t.test("requests go from sidecar to sidecar, with mutual TLS", async () => {
    const { body } = await curl(page.namespace, "http://echo/");
    const { from, headers } = JSON.parse(body) as { from: string; headers: Record<string, string> };
    assert.equal(from, "127.0.0.6", "the sidecar's inbound address");
    assert.match(
      JSON.stringify(headers),
      /URI=spiffe:\/\/cluster\.local\/ns\/default\/sa\/(default|bookinfo-productpage)/,
    );
  });

  await t.test("TCP, where the server speaks first, too", async () => {
    assert.equal(await greeting(page), "welcome, 127.0.0.6");
    const stats = await inNamespace(page.namespace, "curl", "-sS", "http://127.0.0.1:15000/stats");
    assert.match(stats, /^cluster\.outbound\|7000\|\|greeter\.default\S*\.upstream_cx_total: 1$/m);
  });

  await t.test("real Envoy is the sidecar where a pod asks for it", async () => {
    const [pid] = await processes(echo.namespace, /--disable-hot-restart/);
    assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), /^Uid:\t1337\t1337/m);
    const info = await inNamespace(
      echo.namespace,
      "curl",
      "-sS",
      "http://127.0.0.1:15000/server_info",
    );
    assert.match(info, /\/1\.40\.0\//);
    assert.equal((await fetch(`http://${echo.ip}:15021/healthz/ready`)).status, 200);
    const metrics = await (await fetch(`http://${echo.ip}:15090/stats/prometheus`)).text();
    const requests = metrics.split("\n").find((line) => /^istio_requests_total\{/.test(line)) ?? "";
    assert.match(requests, /reporter="destination".*destination_workload="echo"/);
    assert.match(requests, /source_principal="spiffe:\/\/cluster\.local\/ns\/default\/sa\//);
  });

  await t.test("VirtualServices route", async () => {
    assert.deepEqual([...(await versions(30))].sort(), ["v1", "v2", "v3"]);
    await apply(DESTINATIONS);
    await apply(ROUTES);
    await eventually("everybody gets v1", async () => [...(await versions(10))].join() === "v1");
    const jason = await curl(page.namespace, REVIEWS, "-H", "user: jason");
    assert.match(jason.body, /"version":"v2"/);
    assert.match(jason.body, /"stars":\d/, "from ratings, through Envoy");
  });

  await t.test("commands reach proxies that listen on the loopback of their pods", async () => {
    const env = { ...process.env, KUBECONFIG: `${dataDir}/kubeconfig` };
    const path = "jsonpath={.items[0].metadata.name}";
    const pod = (await kubectl("get", "pods", "-l", "app=productpage", "-o", path)).trim();
    await eventually("productpage's proxy has what it is meant to have", async () => {
      const { stdout } = await runCommand(["proxy-status", pod], env);
      return stdout === "Clusters Match\nListeners Match\nRoutes Match\nEndpoints Match\n";
    });
    const asked = ["--from", "productpage", "--to", "reviews:9080", "--header", "user=jason"];
    const { stdout, stderr } = await runCommand(["explain", ...asked, "-o", "json"], env);
    assert.equal(stderr, "", "the proxy was asked how healthy its endpoints are");
    const { outcomes } = JSON.parse(stdout) as Explanation;
    assert.deepEqual(
      outcomes.map(({ sharePercent, status, workload }) => [sharePercent, status, workload]),
      [[100, "application", "reviews-v2"]],
    );
  });

  await t.test(
    "a pod without sidecar reaches Services, each endpoint, and is refused by none",
    async () => {
      const pages = await Promise.all(
        Array.from({ length: 40 }, () => curl(plain.namespace, "http://web/")),
      );
      const texts = new Set(pages.map(({ body }) => body.trim()));
      assert.equal(texts.size, 2, [...texts].join());
      const outside = await curl(plain.namespace, "http://nobody.default/");
      assert.equal(outside.status, -7, "curl: connection refused");
      assert.equal((await curl(page.namespace, "http://web.plain/")).status, 200, "from the mesh");
    },
  );

  await t.test("a gateway's port, below 1024, is open to the machine", async () => {
    await kubectl("apply", "-f", "examples/bookinfo/gateway.yaml");
    const gateway = await podOf(kubectl, "ingress");
    await eventually("the gateway leads to productpage", () =>
      fetch(`http://${gateway.ip}/productpage`).then(
        async (answer) => answer.status === 200 && /book/i.test(await answer.text()),
        () => false,
      ),
    );
  });

  await t.test("node ports are open on the node", async () => {
    const path = "jsonpath={.spec.ports[0].nodePort}";
    const port = await kubectl("get", "service", "web", "-n", "plain", "-o", path);
    // On 127.0.0.1 too, where another cluster of the machine may have the same port.
    const node = "jsonpath={.items[0].status.addresses[0].address}";
    const host = await kubectl("get", "nodes", "-o", node);
    assert.match(await (await fetch(`http://${host}:${port}/`)).text(), /page of web/);
  });

  await t.test("STRICT refuses plain text, from pods and from the machine", async () => {
    const url = "http://reviews.default:9080/reviews/0";
    assert.equal((await curl(plain.namespace, url)).status, 200, "PERMISSIVE");
    await apply(STRICT);
    await eventually("plain text is refused", async () => {
      const { status } = await curl(plain.namespace, url);
      return status < 0;
    });
    await eventually("Envoy refuses it too", () =>
      fetch(`http://${echo.ip}:8080/`).then(
        () => false,
        () => true,
      ),
    );
    const told = await runCommand(
      ["explain", "--from", "web.plain", "--to", "reviews.default:9080", "-o", "json"],
      { ...process.env, KUBECONFIG: `${dataDir}/kubeconfig` },
    );
    const { outcomes } = JSON.parse(told.stdout) as Explanation;
    assert.ok(
      outcomes.every(({ status }) => status === undefined),
      "explain says so too",
    );
    assert.equal((await curl(page.namespace, REVIEWS)).status, 200);
    assert.equal(await greeting(page), "welcome, 127.0.0.6", "TCP inside of mutual TLS");
    const show = ["openssl", "s_client", "-showcerts", "-connect", "reviews:9080"];
    const shown = await kubectl(
      ...["exec", "deploy/productpage-v1", "-c", "istio-proxy", "--", ...show],
    ).catch((error: { readonly stdout: string }) => error.stdout);
    assert.match(shown, /BEGIN CERTIFICATE/);
    assert.match(
      new X509Certificate(shown).subjectAltName ?? "",
      /^URI:spiffe:\/\/cluster\.local\//,
    );
    // Its own probes come in nevertheless.
    await kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=30s");
  });

  await t.test("a sidecar that is killed comes back", async () => {
    const [pid = 0] = await processes(page.namespace, /proxy\0sidecar/);
    process.kill(pid, "SIGKILL");
    await eventually("another sidecar runs", async () => {
      const [next] = await processes(page.namespace, /proxy\0sidecar/);
      return next !== undefined && next !== pid && (await isUp());
    });
  });

  const path = `jsonpath={range .items[*]}${NAMESPACE}{" "}{end}`;
  const names = (await kubectl("get", "pods", "-A", "-o", path)).trim().split(" ");
  await t.test("a pod that goes takes its namespace with it", async () => {
    assert.ok(existsSync(`/run/netns/${echo.namespace}`));
    const bridge = `serin${echo.namespace.split("-")[1]}`;
    const mac = readFileSync(`/sys/class/net/${bridge}/address`, "utf8").trim();
    // One of its own: a cable's would go with its pod, and the others would not find the node.
    assert.match(mac, /^02:5e:51:/);
    await kubectl("delete", "pod", "echo", "--grace-period=1");
    await eventually("its namespace is gone", async () =>
      traces([echo.namespace]).every((each) => !each.endsWith(echo.namespace)),
    );
  });

  await t.test("what a killed cluster leaves, the next one removes", async () => {
    await serin.kill("SIGKILL");
    assert.ok(traces(names).length > names.length);
    const again = await up(t, dataDir, "netns");
    assert.equal((await kubectl("get", "pods", "-o", "name")).split("\n").length, 8);
    await again.kill("SIGTERM");
    assert.equal(await again.exited, 0);
    assert.deepEqual(traces(names), []);
  });
});
