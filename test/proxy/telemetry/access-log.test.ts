import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  compileJsonFormat,
  compileTextFormat,
  DEFAULT_FORMAT,
} from "../../../src/proxy/core/access-log-format.ts";
import { createAccessLogWriter } from "../../../src/proxy/telemetry/access-log-writer.ts";
import { createLogger } from "../../../src/runtime/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { record } from "./record.ts";

const options = { timeOriginMs: 0, environment: () => undefined, omitEmpty: false };
const none = (message: string): never => assert.fail(message);

test("Envoy's default format, with dashes for what is empty", () => {
  const format = compileTextFormat(
    DEFAULT_FORMAT,
    { ...options, timeOriginMs: 1_700_000_000_000 },
    none,
  );
  assert.equal(
    format(record()),
    '[2023-11-14T22:13:21.500Z] "GET /reviews/1 HTTP/1.1" 200 - 12 345 7 6 "-" "curl/8" "id-1" "reviews:9080" "-"\n',
  );
});

test("JSON keeps numbers, writes null for nothing and sorts its keys", () => {
  const format = compileJsonFormat(
    {
      response_code: "%RESPONSE_CODE%",
      response_flags: "%RESPONSE_FLAGS%",
      upstream_host: "%UPSTREAM_HOST%",
      duration: "%DURATION%",
      path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
      mixed: "%RESPONSE_CODE%/%PROTOCOL%",
      nested: { agent: "%REQ(USER-AGENT):4%" },
      plain: 7,
    },
    { ...options, omitEmpty: false },
    none,
  );
  assert.equal(
    format(record({ originalPath: "/was" })),
    '{"duration":7,"mixed":"200/HTTP/1.1","nested":{"agent":"curl"},"path":"/was","plain":7,"response_code":200,"response_flags":"-","upstream_host":null}\n',
  );
});

test("unknown and unfinished operators are told", () => {
  for (const format of [
    "%NO_SUCH%",
    "100% sure",
    "%START_TIME(%Q)%",
    "%START_TIME:3%",
    "%PROTOCOL(x)%",
    "%REQ()%",
  ]) {
    const told: string[] = [];
    compileTextFormat(format, options, (message) => void told.push(message));
    assert.ok(told.length > 0, format);
  }
});

test("a percent sign is written by doubling it", () => {
  assert.equal(compileTextFormat("100%% %METHOD%", options, none)(record()), "100% GET");
});

test("lines before a reopen go to the old file, later ones to the new", async () => {
  const dir = mkdtempSync(join(tmpdir(), "serin-log-"));
  try {
    const path = join(dir, "access.log");
    const writer = createAccessLogWriter({
      clock: new ManualClock(),
      logger: createLogger("test", "silent"),
    });
    writer.write(path, "one\n");
    renameSync(path, `${path}.1`);
    writer.reopen();
    writer.write(path, "two\n");
    await writer.close();
    assert.equal(readFileSync(`${path}.1`, "utf8") + readFileSync(path, "utf8"), "one\ntwo\n");
    assert.ok(readFileSync(`${path}.1`, "utf8").startsWith("one"));
    assert.ok(readFileSync(path, "utf8").endsWith("two\n"));
    assert.equal(writer.droppedLines, 0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a file that cannot be opened drops lines and says so, without throwing", async () => {
  const writer = createAccessLogWriter({
    clock: new ManualClock(),
    logger: createLogger("test", "silent"),
  });
  writer.write("/no/such/dir/access.log", "one\n");
  assert.equal(writer.droppedLines, 1);
  await writer.close();
});
