import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { tarGz } from "../../src/cli/bug-report/archive.ts";
import { redacted } from "../../src/cli/bug-report/redact.ts";
import { runCommand } from "./run-command.ts";

const dir = mkdtempSync(join(tmpdir(), "serin-bug-"));
after(() => rmSync(dir, { recursive: true, force: true }));

test("real tar reads the archive, long paths and empty files included", () => {
  const files = [
    { path: "a/empty.txt", text: "" },
    { path: "a/ä.txt", text: "ä".repeat(600) },
    { path: `${"folder/".repeat(15)}${"x".repeat(90)}.txt`, text: "deep\n" },
  ];
  const path = join(dir, "x.tar.gz");
  writeFileSync(path, tarGz(files, 1_700_000_000));
  execFileSync("tar", ["-xzf", path, "-C", dir]);
  for (const file of files) assert.equal(readFileSync(join(dir, file.path), "utf8"), file.text);
});

const JWT = `eyJ${"a".repeat(10)}.${"b".repeat(12)}.${"c".repeat(10)}`;
for (const [what, text, kept] of [
  [
    "a private key",
    "a\n-----BEGIN EC PRIVATE KEY-----\nhidden\n-----END EC PRIVATE KEY-----\nb\n",
    "a\n[redacted]\nb\n",
  ],
  ["a token anywhere", `x ${JWT}hidden y`, "x [redacted] y"],
  [
    "an authorization header",
    "authorization: Bearer hidden-123",
    "authorization: Bearer [redacted]",
  ],
  ["a password in a URL", "postgres://me:hidden@db/x", "postgres://me:[redacted]@db/x"],
  ["a field", "  password: hidden\n  user: me\n", '  password: "[redacted]"\n  user: me\n'],
  ["a field of JSON", '  "apiKey": "hidden",\n', '  "apiKey": "[redacted]",\n'],
  [
    "a field in a line",
    '{"user":"me","password":"hidden"}',
    '{"user":"me","password":"[redacted]"}',
  ],
  [
    "a field in a text in a line",
    String.raw`x: "{\"password\":\"hidden\"}"`,
    String.raw`x: "{\"password\":\"[redacted]\"}"`,
  ],
  [
    "a variable",
    "- name: DB_PASSWORD\n  value: hidden\n- name: X\n  value: y\n",
    "- name: DB_PASSWORD\n  value: [redacted]\n- name: X\n  value: y\n",
  ],
  [
    "a variable in a line",
    '{"name":"DB_PASSWORD","value":"hidden"}',
    '{"name":"DB_PASSWORD","value":"[redacted]"}',
  ],
] as const) {
  test(`redacted: ${what}`, () => {
    assert.equal(redacted(text), kept);
    assert.equal(redacted(kept), kept, "once is enough");
  });
}

test("what gives no access stays", () => {
  const text =
    "kind: Pod\nserviceAccountToken:\n  audience: istio-ca\nsecretName: cert\nport: 80\n";
  assert.equal(redacted(text), text);
});

test("wrong usage exits 2, no cluster too", async () => {
  assert.equal((await runCommand(["bug-report", "--log-lines", "many"])).code, 2);
  assert.equal((await runCommand(["bug-report", "--kubeconfig", "/does/not/exist"])).code, 2);
});
