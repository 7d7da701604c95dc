import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { configMap } from "./manifests.ts";
import { at, startTestServer, temporaryDir } from "./test-server.ts";

const CONFIG_MAPS = "/api/v1/namespaces/default/configmaps";
const options = { port: 0, logger: createLogger("test", "silent"), clock: systemClock };

test("a restart resumes with the same objects, versions and kubeconfig", async (t) => {
  const first = await startTestServer(t);
  const one = await first.ok("POST", CONFIG_MAPS, { body: configMap("one", { a: "1" }) });
  await first.ok("POST", CONFIG_MAPS, { body: configMap("gone") });
  await first.ok("DELETE", `${CONFIG_MAPS}/gone`);
  await first.ok("POST", CONFIG_MAPS, { body: configMap("last") });
  const before = await first.ok("GET", CONFIG_MAPS);
  await first.api.stop();

  const server = await startTestServer(t, { dataDir: first.dataDir });
  assert.equal(server.token, first.token);
  assert.equal(server.caPem, first.caPem);
  assert.deepEqual(await server.ok("GET", `${CONFIG_MAPS}/one`), one);
  assert.deepEqual(await server.ok("GET", CONFIG_MAPS), before);
  const next = await server.ok("POST", CONFIG_MAPS, { body: configMap("two") });
  assert.ok(
    Number(at(next, "metadata", "resourceVersion")) >
      Number(at(before, "metadata", "resourceVersion")),
    "versions go on, deletions counted",
  );
});

test("kill -9 in the middle of writing loses no acknowledged write", async (t) => {
  const dataDir = temporaryDir(t);
  const child = spawn(process.execPath, [join(import.meta.dirname, "run-server.ts"), dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const config = parse(readFileSync(join(dataDir, "kubeconfig"), "utf8"));
  const ca = Buffer.from(
    String(at(config, "clusters", 0, "cluster", "certificate-authority-data")),
    "base64",
  );
  const url = `${String(at(config, "clusters", 0, "cluster", "server"))}${CONFIG_MAPS}`;
  const authorization = `Bearer ${String(at(config, "users", 0, "user", "token"))}`;
  const acknowledged: string[] = [];
  const post = (name: string): Promise<boolean> =>
    new Promise((resolve) => {
      const outgoing = request(url, {
        method: "POST",
        ca,
        headers: { authorization, "content-type": "application/json" },
      });
      outgoing.on("response", (incoming) => {
        incoming.resume();
        incoming.on("end", () => resolve(incoming.statusCode === 201));
        incoming.on("error", () => resolve(false));
      });
      outgoing.on("error", () => resolve(false));
      outgoing.end(JSON.stringify(configMap(name, { name })));
    });
  // Several writers, so that the kill falls between others' writes and their answers.
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let i = 0; ; i++) {
      const name = `w${writer}-${i}`;
      if (!(await post(name))) return;
      acknowledged.push(name);
      if (acknowledged.length === 60) child.kill("SIGKILL");
    }
  });
  await Promise.all(writers);
  await once(child, "exit").catch(() => undefined);

  const server = await startTestServer(t, { dataDir });
  const list = await server.ok("GET", CONFIG_MAPS);
  const names = new Set(
    (at(list, "items") as unknown[]).map((item) => at(item, "metadata", "name")),
  );
  assert.ok(acknowledged.length >= 60);
  assert.deepEqual(
    acknowledged.filter((name) => !names.has(name)),
    [],
  );
});

test("a data directory in use, unreadable or broken is one clear error", async (t) => {
  const server = await startTestServer(t);
  await assert.rejects(startApiServer({ ...options, dataDir: server.dataDir }), {
    code: "SERIN_DATA_DIR",
    message: /is in use by another serin process/,
  });
  const broken = temporaryDir(t);
  writeFileSync(
    join(broken, "cluster.db"),
    "this is not a database, and long enough to be read".repeat(50),
  );
  await assert.rejects(startApiServer({ ...options, dataDir: broken }), {
    code: "SERIN_DATA_DIR",
    message: /cluster\.db is not a readable cluster database/,
  });
  const file = join(temporaryDir(t), "file");
  writeFileSync(file, "");
  await assert.rejects(startApiServer({ ...options, dataDir: file }), { code: "SERIN_DATA_DIR" });
  if (process.getuid?.() !== 0) {
    const locked = temporaryDir(t);
    chmodSync(locked, 0o500);
    await assert.rejects(startApiServer({ ...options, dataDir: locked }), {
      code: "SERIN_DATA_DIR",
    });
  }
});

test("a port in use is one clear error, and the data directory is free again", async (t) => {
  const server = await startTestServer(t);
  const dataDir = temporaryDir(t);
  await assert.rejects(startApiServer({ ...options, dataDir, port: server.api.port }), {
    code: "SERIN_PORT_IN_USE",
    message: new RegExp(`port ${server.api.port} on 127.0.0.1 is in use`),
  });
  await startTestServer(t, { dataDir });
});

test("secrets on disk are for their owner only", async (t) => {
  const server = await startTestServer(t);
  for (const file of ["kubeconfig", "pki/ca.key", "pki/admin.token", "pki/service-account.key"]) {
    assert.equal(statSync(join(server.dataDir, file)).mode & 0o777, 0o600, file);
  }
  assert.equal(statSync(join(server.dataDir, "pki")).mode & 0o777, 0o700);
});

test("only loopback addresses are listened on", async (t) => {
  await assert.rejects(startApiServer({ ...options, dataDir: temporaryDir(t), host: "0.0.0.0" }), {
    code: "SERIN_USAGE",
  });
});
