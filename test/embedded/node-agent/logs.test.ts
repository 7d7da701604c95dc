import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LogStore } from "../../../src/embedded/node-agent/log-store.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { temporaryDir } from "./temporary-dir.ts";

const OWNER = { namespace: "default", name: "web", uid: "u1" };
const PLAIN = { follow: false, previous: false, timestamps: false };

function read(store: LogStore, options: object = {}): Promise<string> {
  return collect(
    store.read(OWNER, "app", { ...PLAIN, signal: new AbortController().signal, ...options }),
  );
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

test("lines are joined across chunks, bytes pass unchanged, tails and limits hold", async () => {
  const clock = new ManualClock();
  const store = new LogStore(temporaryDir(), clock);
  const log = store.create(OWNER, "app", 0);
  const text = Buffer.from("grün 🎈\nsecond\n");
  log.write("stdout", text.subarray(0, 3)); // in the middle of ü
  log.write("stdout", text.subarray(3));
  log.write("stderr", Buffer.from("no line feed"));
  assert.equal(await read(store), "grün 🎈\nsecond\n");
  store.end(log);
  assert.equal(await read(store), "grün 🎈\nsecond\nno line feed");
  assert.equal(await read(store, { tailLines: 2 }), "second\nno line feed");
  assert.equal(await read(store, { tailLines: 0 }), "");
  assert.equal(await read(store, { limitBytes: 4 }), "grü".slice(0, 3));
  const stamped = await read(store, { timestamps: true, tailLines: 1 });
  assert.equal(stamped, `${new Date(clock.nowMs()).toISOString()} no line feed`);
});

test("sinceSeconds leaves out what is older", async () => {
  const clock = new ManualClock();
  const store = new LogStore(temporaryDir(), clock);
  const log = store.create(OWNER, "app", 0);
  log.write("stdout", Buffer.from("old\n"));
  clock.advance(60_000);
  log.write("stdout", Buffer.from("new\n"));
  assert.equal(await read(store, { sinceSeconds: 30 }), "new\n");
  store.end(log);
});

test("a follower gets every line once, across rotations, until the run ends", async () => {
  const dir = temporaryDir();
  const store = new LogStore(dir, new ManualClock());
  const log = store.create(OWNER, "app", 0);
  log.write("stdout", Buffer.from("line 0\n"));
  const followed = read(store, { follow: true });
  const padding = "x".repeat(10_000);
  const lines = 2500; // 25 MB: two rotations
  for (let n = 1; n <= lines; n++) {
    log.write("stdout", Buffer.from(`line ${n} ${padding}\n`));
  }
  store.end(log);
  const seen = [...(await followed).matchAll(/^line (\d+)/gm)].map((match) => Number(match[1]));
  assert.deepEqual(
    seen,
    Array.from({ length: lines + 1 }, (_, n) => n),
  );
  const current = join(dir, "default_web_u1/app/0.log");
  assert.ok(statSync(current).size <= 10 * 1024 * 1024);
  assert.ok(existsSync(`${current}.2`));
  const whole = [...(await read(store)).matchAll(/^line (\d+)/gm)].length;
  assert.equal(whole, lines + 1);
});

test("only the last run and the one before are kept", async () => {
  const store = new LogStore(temporaryDir(), new ManualClock());
  for (const restart of [0, 1, 2]) {
    const log = store.create(OWNER, "app", restart);
    log.write("stdout", Buffer.from(`run ${restart}\n`));
    store.end(log);
  }
  assert.equal(await read(store), "run 2\n");
  assert.equal(await read(store, { previous: true }), "run 1\n");
  store.remove(OWNER);
  await assert.rejects(read(store), { code: "SERIN_NOT_FOUND" });
});

test("a follower leaves when it is told to", async () => {
  const store = new LogStore(temporaryDir(), new ManualClock());
  const log = store.create(OWNER, "app", 0);
  const leaving = new AbortController();
  log.write("stdout", Buffer.from("one\n"));
  const followed = read(store, { follow: true, signal: leaving.signal });
  leaving.abort();
  assert.match(await followed, /^(one\n)?$/);
  store.end(log);
});
