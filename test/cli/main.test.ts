import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const serin = (...args: string[]) =>
  spawnSync(process.execPath, ["bin/serin.mjs", ...args], { encoding: "utf8", timeout: 60_000 });

test("serin --help lists every command and exits 0", () => {
  const { status, stdout } = serin("--help");
  assert.equal(status, 0);
  for (const name of ["up", "demo", "get", "proxy", "proxy-config", "version"]) {
    assert.match(stdout, new RegExp(`^ {2}${name} `, "m"));
  }
});

for (const name of ["up", "demo", "get", "proxy", "proxy-config", "version"]) {
  test(`serin ${name} --help explains itself and exits 0`, () => {
    const { status, stdout, stderr } = serin(name, "--help");
    assert.equal(status, 0, stderr);
    assert.match(stdout, new RegExp(`serin ${name}`));
  });
}

test("no command at all prints the help", () => {
  assert.match(serin().stdout, /Usage: serin COMMAND/);
});

for (const [args, message] of [
  [["nonsense"], /unknown command "nonsense"/],
  [["up", "--nonsense"], /--nonsense/],
  [["up", "--api-port", "70000"], /--api-port must be a port 0\.\.65535/],
  [["up", "--network", "bridge"], /--network must be auto, netns or loopback/],
  [["proxy"], /--bootstrap FILE/],
  [["proxy", "--bootstrap", "/does/not/exist"], /cannot read the bootstrap file/],
] as const) {
  test(`wrong usage exits 2 with one clear sentence: serin ${args.join(" ")}`, () => {
    const { status, stdout, stderr } = serin(...args);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /, "no stack trace");
  });
}
