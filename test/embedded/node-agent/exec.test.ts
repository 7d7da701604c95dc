import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { findTool, skipWithout } from "../../support/tools.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const SLEEPER = "setInterval(() => {}, 1000);";
const isRunning = (pod: object): boolean => JSON.stringify(pod).includes('"running"');

interface Outcome {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Real kubectl with this input. */
async function kubectl(
  { server }: TestNode,
  args: readonly string[],
  input: Buffer | string = "",
): Promise<Outcome> {
  const child = spawn(findTool("kubectl") ?? "kubectl", args, {
    env: { PATH: process.env["PATH"] ?? "", KUBECONFIG: server.kubeconfigPath },
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const [code] = await once(child, "close");
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

const alive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 300 && alive(pid); i += 1) await sleep(50);
  assert.ok(!alive(pid), `process ${pid} is left`);
}

test("kubectl exec", { skip: skipWithout("kubectl"), timeout: 120_000 }, async (t) => {
  const node = await startTestNode(t);
  const command = node.program("sleeper", SLEEPER);
  await node.pod("web", {
    annotations: { "kubectl.kubernetes.io/default-container": "app" },
    containers: [
      { name: "app", command, env: [{ name: "WHO", value: "app" }] },
      { name: "other", command, env: [{ name: "WHO", value: "other" }] },
    ],
  });
  await node.until("web", "both run", (pod) => {
    const { containerStatuses = [] } = (pod["status"] ?? {}) as { containerStatuses?: object[] };
    return containerStatuses.length === 2 && containerStatuses.every(isRunning);
  });
  const sh = (script: string, ...flags: string[]): Promise<Outcome> =>
    kubectl(node, ["exec", ...flags, "web", "--", "sh", "-c", script]);

  await t.test("has the container's environment; the streams are apart", async () => {
    const { code, stdout, stderr } = await sh("echo out $WHO; echo err >&2");
    assert.deepEqual([code, stdout.toString(), stderr], [0, "out app\n", "err\n"]);
    assert.equal((await sh("echo $WHO", "-c", "other")).stdout.toString(), "other\n");
  });

  await t.test("passes the exit code on", async () => {
    const { code, stderr } = await sh("exit 37");
    assert.equal(code, 37);
    assert.match(stderr, /command terminated with exit code 37/);
    assert.equal((await sh("kill -9 $$")).code, 137);
  });

  await t.test("input and output of 40 MB arrive whole", async () => {
    const bytes = randomBytes(40 * 1024 * 1024);
    const { code, stdout } = await kubectl(node, ["exec", "-i", "web", "--", "cat"], bytes);
    assert.equal(code, 0);
    const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
    assert.equal(digest(stdout), digest(bytes));
  });

  await t.test("without -i there is no input", async () => {
    const { stdout } = await kubectl(node, ["exec", "web", "--", "wc", "-c"], "never sent");
    assert.equal(stdout.toString().trim(), "0");
  });

  await t.test("many at once", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
    assert.deepEqual(
      all.map(({ code, stdout }) => [code, stdout.toString()]),
      all.map((_, i) => [i, `${i}\n`]),
    );
  });

  await t.test("what somebody leaves behind keeps nobody waiting", async () => {
    const { code, stdout } = await sh("setsid sleep 300 & echo $!; exit 3");
    assert.equal(code, 3);
    process.kill(Number(stdout.toString()), "SIGKILL");
  });

  await t.test("kubectl cp, there and back", async () => {
    const bytes = randomBytes(300_000);
    const [from, to] = [join(node.dir, "from"), join(node.dir, "to")];
    writeFileSync(from, bytes);
    const there = await kubectl(node, ["cp", from, "web:copied"]);
    assert.equal(there.code, 0, there.stderr);
    const back = await kubectl(node, ["cp", "web:copied", to]);
    assert.equal(back.code, 0, back.stderr);
    assert.deepEqual(readFileSync(to), bytes);
  });

  await t.test(
    "a terminal: both ends are one, and input is a line",
    {
      skip: process.platform === "linux" ? false : "needs Linux",
    },
    async () => {
      // kubectl gives no terminal without having one: script(1) is where it has it.
      const child = spawn("script", ["-qec", `kubectl exec -it web -- sh`, "/dev/null"], {
        env: { ...process.env, KUBECONFIG: node.server.kubeconfigPath, PS1: "$ " },
      });
      let seen = "";
      child.stdout.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
      });
      child.stdin.write("test -t 0 && test -t 1 && echo is-$((40+2))-tty; tty\n");
      while (!/is-42-tty\r?\n\/dev\/pts\/\d+/.test(seen)) await sleep(50);
      child.stdin.write("exit 5\n");
      const [code] = await once(child, "exit");
      assert.equal(code, 5, seen);
    },
  );

  await t.test("errors name what and where", async () => {
    const cases: readonly [readonly string[], RegExp, number][] = [
      [["exec", "nobody", "--", "true"], /pods "nobody" not found/, 1],
      [
        ["exec", "web", "-c", "nothing", "--", "true"],
        /container nothing is not valid for pod web/,
        1,
      ],
      [["exec", "web", "--", "no-such-program"], /"no-such-program": executable file not found/, 1],
    ];
    for (const [args, message, exitCode] of cases) {
      const { code, stderr } = await kubectl(node, args);
      assert.match(stderr, message);
      assert.equal(code, exitCode);
    }
    await node.pod("never", { containers: [{ name: "app", command: ["/no/such/program"] }] });
    const { stderr } = await kubectl(node, ["exec", "never", "--", "true"]);
    assert.match(stderr, /container not found \("app"\)/);
  });

  await t.test("older clients are told", async () => {
    const child = spawn(findTool("kubectl") ?? "kubectl", ["exec", "web", "--", "true"], {
      env: {
        PATH: process.env["PATH"] ?? "",
        KUBECONFIG: node.server.kubeconfigPath,
        KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false",
      },
    });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const [code] = await once(child, "close");
    assert.equal(code, 1);
    assert.match(text, /SPDY.*this server speaks WebSocket/);
  });

  await t.test("a client that goes takes the command with it", async () => {
    const child = spawn(
      findTool("kubectl") ?? "kubectl",
      ["exec", "web", "--", "sh", "-c", "echo $$; sleep 300"],
      { env: { PATH: process.env["PATH"] ?? "", KUBECONFIG: node.server.kubeconfigPath } },
    );
    const [first] = await once(child.stdout, "data");
    const pid = Number(String(first));
    assert.ok(alive(pid));
    child.kill("SIGKILL");
    await gone(pid);
  });

  await t.test("the container's end is the command's", async () => {
    const args = ["exec", "web", "--", "sh", "-c", "echo $$; sleep 300"];
    const child = spawn(findTool("kubectl") ?? "kubectl", args, {
      env: { PATH: process.env["PATH"] ?? "", KUBECONFIG: node.server.kubeconfigPath },
    });
    const [pid] = await once(child.stdout, "data");
    const closed = once(child, "close");
    await kubectl(node, ["delete", "pod", "web", "--grace-period=1"]);
    assert.equal((await closed)[0], 137);
    await gone(Number(pid));
  });
});
