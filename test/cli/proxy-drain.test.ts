import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../conformance/support/envoy-process.ts";
import { address, httpBootstrap } from "../conformance/support/side-by-side.ts";
import { rawClient, startHttp, waitFor } from "../support/proxy-fixture.ts";

test("SIGTERM: what is in flight is answered with Connection: close, nothing new is taken, exit code 0", async (t) => {
  const held: ServerResponse[] = [];
  const app = await startHttp(t, (request, response) => {
    if (request.url === "/held") held.push(response);
    else response.end("ok");
  });
  const places = { listener: await freePort(), admin: await freePort() };
  const dir = mkdtempSync(join(tmpdir(), "serin-drain-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const cluster = {
    name: "app",
    type: "STATIC",
    load_assignment: {
      cluster_name: "app",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(app) } }] }],
    },
  };
  const routes = [{ match: { prefix: "/" }, route: { cluster: "app" } }];
  const file = join(dir, "bootstrap.json");
  writeFileSync(file, httpBootstrap(places, [cluster], routes));
  const child = spawn(
    process.execPath,
    ["bin/serin.mjs", "proxy", "--bootstrap", file, "--drain-time-s", "20"],
    { stdio: "ignore" },
  );
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const deadline = performance.now() + 30_000;
  while (!(await isReady(places.admin))) assert.ok(performance.now() < deadline, "not ready");
  const client = await rawClient(t, places.listener);
  client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
  await waitFor(() => held.length === 1);
  child.kill("SIGTERM");
  while (!(await isRefused(places.listener))) assert.ok(performance.now() < deadline, "it accepts");
  assert.equal(child.exitCode, null, "it waits for the request");
  held[0]?.end("late");
  const answer = await client.closed();
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /\r\nconnection: close\r\n/i);
  assert.match(answer, /late/);
  const [code] = await exited;
  assert.equal(code, 0);
});

/** After a pause, so that asking again and again leaves time to the process. */
async function isReady(admin: number): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return fetch(`http://127.0.0.1:${admin}/ready`).then(
    (response) => response.ok,
    () => false,
  );
}

function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", () => resolve(true));
  });
}
