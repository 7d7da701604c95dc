import assert from "node:assert/strict";
import { test } from "node:test";
import { startSerin } from "../support/serin-process.ts";

async function run(t: Parameters<typeof startSerin>[0], ...flags: string[]) {
  const serin = startSerin(t, ["init", ...flags]);
  const code = await serin.exited;
  return { code, stdout: serin.stdout(), output: serin.output() };
}

test("init --dry-run prints istio-init's rules and changes nothing", async (t) => {
  const { code, stdout } = await run(t, "--dry-run");
  assert.equal(code, 0);
  assert.deepEqual(stdout.trim().split("\n"), [
    "# ipv4",
    "*nat",
    ":ISTIO_INBOUND - [0:0]",
    ":ISTIO_REDIRECT - [0:0]",
    ":ISTIO_IN_REDIRECT - [0:0]",
    ":ISTIO_OUTPUT - [0:0]",
    "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
    "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
    "-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN",
    "-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN",
    "-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN",
    "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN",
    "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
    "-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT",
    "-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN",
    "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
    "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    "-A PREROUTING -p tcp -j ISTIO_INBOUND",
    "-A OUTPUT -j ISTIO_OUTPUT",
    "COMMIT",
  ]);
});

test("every flag of init has its rule, each family its own addresses", async (t) => {
  const { stdout } = await run(
    t,
    ...["--dry-run", "--ipv6", "-p", "1", "-z", "2", "-u", "3", "-g", "4", "-b", "80,81"],
    ...["-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.0.0/16,fd01::/16", "-q", "5", "-o", "6"],
    ...["-k", "tap0", "-c", "eth9"],
  );
  const [ipv4 = "", ipv6 = ""] = stdout.split("# ipv6");
  const own = (text: string, chain: string): string[] =>
    text.split("\n").filter((line) => line.startsWith(`-A ${chain} `));
  assert.deepEqual(own(ipv4, "ISTIO_INBOUND"), [
    "-A ISTIO_INBOUND -i eth9 -j RETURN",
    "-A ISTIO_INBOUND -i tap0 -d 10.1.0.0/16 -j RETURN",
    "-A ISTIO_INBOUND -i tap0 -d 10.0.0.0/8 -j ISTIO_REDIRECT",
    "-A ISTIO_INBOUND -i tap0 -j RETURN",
    "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
    "-A ISTIO_INBOUND -p tcp --dport 80 -j ISTIO_IN_REDIRECT",
    "-A ISTIO_INBOUND -p tcp --dport 81 -j ISTIO_IN_REDIRECT",
  ]);
  assert.deepEqual(own(ipv6, "ISTIO_OUTPUT").slice(-4), [
    "-A ISTIO_OUTPUT -d ::1/128 -j RETURN",
    "-A ISTIO_OUTPUT -d fd01::/16 -j RETURN",
    "-A ISTIO_OUTPUT -p tcp --dport 5 -j ISTIO_REDIRECT",
    "-A ISTIO_OUTPUT -d fd00::/8 -j ISTIO_REDIRECT",
  ]);
  assert.deepEqual(own(ipv4, "ISTIO_OUTPUT").slice(0, 3), [
    "-A ISTIO_OUTPUT -o eth9 -j RETURN",
    "-A ISTIO_OUTPUT -p tcp --dport 6 -j RETURN",
    "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN",
  ]);
  assert.match(ipv4, /--uid-owner 3 .*[\s\S]*--gid-owner 4 /);
  assert.match(ipv4, /ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 1\n/);
  assert.match(ipv4, /ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 2\n/);
});

const WRONG = [
  [["-m", "TPROXY"], /must be REDIRECT/],
  [["-p", "x"], /--envoy-port must be a port/],
  [["-b", "80,x"], /--istio-inbound-ports must be a port/],
  [["-i", "10.0.0.0/8 -j ACCEPT"], /--istio-service-cidr: .* is not allowed/],
  [["-c", "eth0\n-A OUTPUT"], /--istio-exclude-interfaces: .* is not allowed/],
  [["-u", "root"], /--proxy-uid: "root" is not allowed/],
] as const;
for (const [flags, message] of WRONG) {
  test(`init refuses ${JSON.stringify(flags)}`, async (t) => {
    const { code, output } = await run(t, "--dry-run", ...flags);
    assert.equal(code, 2);
    assert.match(output, message);
  });
}
