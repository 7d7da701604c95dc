import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { RESOURCES } from "../../src/api/index.ts";
import { withControlPlane } from "../../src/cli/control-plane.ts";
import { forwardPort } from "../../src/cli/port-forward.ts";
import { askProxyAdmin } from "../../src/cli/proxy-admin.ts";
import { MemoryStore } from "../support/memory-store.ts";

/** What stands for kubectl: relays connections to `port` as its port-forward does, and notes its end. */
function relay(
  t: TestContext,
  port: number,
  fails?: string,
): { readonly env: NodeJS.ProcessEnv; notes(): string } {
  const dir = mkdtempSync(join(tmpdir(), "serin-forward-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const notes = join(dir, "notes");
  const program = `#!${process.execPath}
import { appendFileSync } from "node:fs";
import { connect, createServer } from "node:net";
const note = (text) => appendFileSync(${JSON.stringify(notes)}, text + "\\n");
note(process.argv.slice(2).join(" "));
const fails = ${JSON.stringify(fails ?? "")};
if (fails !== "") { console.error(fails); process.exit(1); }
const server = createServer((socket) => {
  const other = connect(${port}, "127.0.0.1");
  for (const [a, b] of [[socket, other], [other, socket]]) a.pipe(b).on("error", () => {});
});
server.listen(0, "127.0.0.1", () => {
  console.log("Forwarding from 127.0.0.1:" + server.address().port + " -> 15000");
});
process.on("SIGTERM", () => { note("ended"); process.exit(0); });
`;
  const file = join(dir, "kubectl");
  writeFileSync(file, program);
  writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
  chmodSync(file, 0o755);
  return { env: { PATH: dir }, notes: () => readFileSync(notes, "utf8") };
}

async function serve(t: TestContext): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === "/missing") response.statusCode = 404;
    response.end(`${request.method} ${request.url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

const POD = { name: "reviews-v1", namespace: "shop", ip: "10.1.2.3" };

test("a proxy of another machine is asked through kubectl port-forward, which ends with the question", async (t) => {
  const { env, notes } = relay(t, await serve(t));
  const access = { kubeconfig: "/some/config", env };
  assert.equal(await askProxyAdmin(POD, "/config_dump", access), "GET /config_dump");
  assert.equal(await askProxyAdmin(POD, "/logging", access, "POST"), "POST /logging");
  await assert.rejects(askProxyAdmin(POD, "/missing", access), {
    code: "SERIN_API",
    message: "the proxy of pod shop/reviews-v1 answered 404: GET /missing",
  });
  const command =
    "port-forward --kubeconfig /some/config --address 127.0.0.1 -n shop pod/reviews-v1 :15000";
  assert.deepEqual(notes().trim().split("\n"), [
    ...[command, "ended", command, "ended", command, "ended"],
  ]);
});

test("what kubectl says when it cannot is passed on, and so is that there is none", async (t) => {
  const { env } = relay(t, 1, "error: pods reviews-v1 not found");
  const options = { namespace: "shop", pod: "reviews-v1", port: 15_014, kubeconfig: undefined };
  await assert.rejects(forwardPort({ ...options, env }), {
    code: "SERIN_UNAVAILABLE",
    message:
      "port 15014 of pod shop/reviews-v1 is not reached: kubectl port-forward: error: pods reviews-v1 not found",
  });
  await assert.rejects(forwardPort({ ...options, env: { PATH: "/nowhere" } }), /kubectl ENOENT/);
});

test("the control plane is where one says, where the cluster says, or in a pod", async (t) => {
  const { env, notes } = relay(t, await serve(t));
  const access = { kubeconfig: undefined, env };
  const store = new MemoryStore();
  const where = (given?: string) =>
    withControlPlane(store, given, access, (address) => Promise.resolve(address));
  assert.equal(await where("host:1"), "host:1");
  await assert.rejects(where(), /there is no control plane: .*give --control-plane HOST:PORT/);
  const metadata = { name: "istiod-1", namespace: "istio-system", labels: { app: "istiod" } };
  const pod = await store.create(RESOURCES.pod, { apiVersion: "v1", kind: "Pod", metadata });
  await assert.rejects(where(), /there is no control plane/, "it does not run");
  const status = { phase: "Running" };
  await store.update(RESOURCES.pod, { ...pod, status }, { subresource: "status" });
  assert.match(await where(), /^127\.0\.0\.1:\d+$/);
  assert.match(
    notes(),
    /^port-forward --address 127\.0\.0\.1 -n istio-system pod\/istiod-1 :15014$/m,
  );
});
