import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type ImageMap, parseImageMap, startCluster } from "../../src/embedded/index.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { findTool, skipWithout } from "../support/tools.ts";
import { at, type Json } from "./api-server/test-server.ts";
import { temporaryDir } from "./node-agent/temporary-dir.ts";

const skip = skipWithout("kubectl");
const DEADLINE_MS = 60_000;
const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

test("a stopped cluster goes on with the same pods, addresses and higher restart counts", {
  skip,
  timeout: 60_000,
}, async (t) => {
  const dir = temporaryDir();
  const first = await cluster(t, dir);
  const kubectl = kubectlOf(dir);
  await kubectl("apply", "-f", podManifest(dir, "web"));
  await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
  const before = await getPod(kubectl, "web");
  const pid = await servedPid(before);
  await first.stop();
  assert.equal(isAlive(pid), false, "no process outlives a stopped cluster");

  await cluster(t, dir);
  await eventually("the pod serves again", async () => (await pidOrZero(before)) !== 0);
  await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
  const after = await getPod(kubectl, "web");
  assert.equal(at(after, "metadata", "uid"), at(before, "metadata", "uid"));
  assert.equal(at(after, "status", "podIP"), at(before, "status", "podIP"));
  assert.equal(at(after, "status", "containerStatuses", 0, "restartCount"), 1);
  assert.match(await kubectl("logs", "web"), /serves/);
  assert.match(await kubectl("logs", "web", "--previous"), /serves/);
});

test("after kill -9 the next cluster ends the stray processes and runs the pods again", {
  skip,
  timeout: 60_000,
}, async (t) => {
  const dir = temporaryDir();
  const script = fileURLToPath(new URL("./node-agent/run-cluster.ts", import.meta.url));
  const child = spawn(process.execPath, [script, join(dir, "data")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const kubectl = kubectlOf(dir);
  await kubectl("apply", "-f", podManifest(dir, "web"));
  await kubectl("apply", "-f", podManifest(dir, "leaving", { grace: 3600, stubborn: true }));
  await kubectl("wait", "--for=condition=Ready", "pod/web", "pod/leaving", "--timeout=30s");
  const before = await getPod(kubectl, "web");
  const stray = await servedPid(before);
  const leaving = await servedPid(await getPod(kubectl, "leaving"));
  await kubectl("delete", "pod", "leaving", "--wait=false");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(isAlive(stray), true, "the pod's process outlives its cluster");

  await cluster(t, dir);
  assert.equal(isAlive(stray), false);
  assert.equal(isAlive(leaving), false);
  await eventually(
    "the pod serves again",
    async () => ![0, stray].includes(await pidOrZero(before)),
  );
  const after = await getPod(kubectl, "web");
  assert.equal(at(after, "metadata", "uid"), at(before, "metadata", "uid"));
  await eventually("the deleted pod is gone", async () => {
    const names = await kubectl("get", "pods", "-o", "name");
    return names.trim() === "pod/web";
  });
});

test("two clusters at once never share an address", { skip, timeout: 60_000 }, async (t) => {
  const dirs = [temporaryDir(), temporaryDir()];
  const addresses = await Promise.all(
    dirs.map(async (dir) => {
      await cluster(t, dir);
      const kubectl = kubectlOf(dir);
      await kubectl("apply", "-f", podManifest(dir, "web"));
      await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
      return String(at(await getPod(kubectl, "web"), "status", "podIP"));
    }),
  );
  assert.notEqual(addresses[0], addresses[1]);
  const blocks = dirs.map((dir) => readFileSync(join(dir, "data/address-block.json"), "utf8"));
  assert.notEqual(blocks[0], blocks[1]);
});

test("kubectl follows a log and describes what happened", { skip, timeout: 60_000 }, async (t) => {
  const dir = temporaryDir();
  await cluster(t, dir);
  const kubectl = kubectlOf(dir);
  await kubectl("apply", "-f", podManifest(dir, "web"));
  await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s");
  const child = spawn(findTool("kubectl") ?? "kubectl", ["logs", "-f", "web", "--timestamps"], {
    env: environmentOf(dir),
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let log = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  await pidOrZero(await getPod(kubectl, "web"));
  await eventually("kubectl has shown the request", async () => log.includes("asked"));
  assert.match(log, /^\d{4}-\d\d-\d\dT[\d:.]+Z serves\n/);
  await kubectl("delete", "pod", "web");
  const [code] = await exited;
  assert.equal(code, 0, "the log ends with the container");
  const described = await kubectl("get", "events", "-o", "jsonpath={.items[*].reason}");
  for (const reason of ["Scheduled", "Started", "Killing"])
    assert.match(described, new RegExp(reason));
});

test("bookinfo's services answer on their pod IPs", { skip, timeout: 60_000 }, async (t) => {
  const dir = temporaryDir();
  await cluster(t, dir, exampleImages());
  const kubectl = kubectlOf(dir);
  const images = ["details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "productpage-v1"];
  for (const name of images) {
    const image = `docker.io/istio/examples-bookinfo-${name}:1.17.0`;
    await kubectl("run", name, `--image=${image}`, "--port=9080");
  }
  await kubectl("wait", "--for=condition=Ready", ...images.map((n) => `pod/${n}`), "--timeout=30s");
  for (const name of images) {
    const podIp = at(await getPod(kubectl, name), "status", "podIP");
    const health = await tryFetch(`http://${podIp}:9080/health`);
    assert.match(health ?? "", new RegExp(`${name.split("-")[0]}.* is healthy`));
  }
  const details = at(await getPod(kubectl, "details-v1"), "status", "podIP");
  const answer = await tryFetch(`http://${details}:9080/details/0`);
  assert.match(answer ?? "", /William Shakespeare/);
});

test("an image map's error names the file and every wrong field", () => {
  const text = "- image: a\n- {image: b, command: [], envs: {}}\n";
  assert.throws(() => parseImageMap(text, "images.yaml"), {
    code: "SERIN_UNREADABLE_INPUT",
    message: /image map images\.yaml: .*\[0\]\.command: .*\[1\]\.command: .*\[1\]\.envs/,
  });
  assert.throws(() => parseImageMap("{", "images.yaml"), { code: "SERIN_UNREADABLE_INPUT" });
  const json = '[{"image": "a*", "command": ["node", "a.mjs"], "env": {"A": "b"}}]';
  assert.deepEqual(parseImageMap(json, "x"), JSON.parse(json));
});

async function cluster(
  t: TestContext,
  dir: string,
  imageMap: ImageMap = [],
): Promise<{ stop(): Promise<void> }> {
  const running = await startCluster({
    dataDir: join(dir, "data"),
    apiPort: 0,
    imageMap,
    network: "loopback",
    logger: createLogger("test", "error"),
    clock: systemClock,
  });
  t.after(() => running.stop());
  return running;
}

/** A pod that answers with its process id. */
function podManifest(
  dir: string,
  name: string,
  { grace = 30, stubborn = false }: { readonly grace?: number; readonly stubborn?: boolean } = {},
): string {
  const program = join(dir, `${name}.mjs`);
  writeFileSync(
    program,
    `import { createServer } from "node:http";
createServer((request, response) => { console.log("asked"); response.end(String(process.pid)); })
  .listen(8080, process.env.HOST, () => console.log("serves"));
// Output may end before we do.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
process.on("SIGTERM", () => { if (!${stubborn}) process.exit(0); });
`,
  );
  const path = join(dir, `${name}.json`);
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: grace,
      containers: [
        {
          name: "app",
          image: "test/app:1",
          command: [process.execPath, program],
          ports: [{ containerPort: 8080 }],
          readinessProbe: { tcpSocket: { port: 8080 } },
        },
      ],
    },
  };
  writeFileSync(path, JSON.stringify(pod));
  return path;
}

type Kubectl = (...args: readonly string[]) => Promise<string>;

function environmentOf(dir: string): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: dir, KUBECONFIG: join(dir, "data/kubeconfig") };
}

function kubectlOf(dir: string): Kubectl {
  return async (...args) => {
    const options = { env: environmentOf(dir), timeout: DEADLINE_MS };
    return (await promisify(execFile)(findTool("kubectl") ?? "kubectl", args, options)).stdout;
  };
}

async function getPod(kubectl: Kubectl, name: string): Promise<Json> {
  return JSON.parse(await kubectl("get", "pod", name, "-o", "json")) as Json;
}

async function servedPid(pod: Json): Promise<number> {
  const text = await tryFetch(`http://${at(pod, "status", "podIP")}:8080/`);
  assert.ok(text !== undefined, "the pod answers on its address");
  return Number(text);
}

async function pidOrZero(pod: Json): Promise<number> {
  return Number((await tryFetch(`http://${at(pod, "status", "podIP")}:8080/`)) ?? 0);
}

async function tryFetch(url: string): Promise<string | undefined> {
  try {
    return await (await fetch(url, { headers: { connection: "close" } })).text();
  } catch {
    return undefined;
  }
}

/** Alive, and not merely waiting for its parent to ask how it ended. */
function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
}

function exampleImages(): ImageMap {
  const path = join(EXAMPLES, "images.yaml");
  return parseImageMap(readFileSync(path, "utf8"), path).map((row) => ({
    ...row,
    command: row.command.map((word) => (word.startsWith("./") ? resolve(EXAMPLES, word) : word)),
  }));
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`gave up waiting until ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
