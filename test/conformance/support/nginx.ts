import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { closedPort, waitFor } from "../../support/proxy-fixture.ts";
import { findTool } from "../../support/tools.ts";

/** A real nginx with keep-alive and an access log. */
export interface Nginx {
  readonly port: number;
  /** The request targets it has logged, as they stood in the request line, with the status it gave. */
  logged(): readonly { readonly target: string; readonly status: number }[];
  /** Ends it; afterwards the log is complete. */
  stop(): Promise<void>;
}

/**
 * Starts nginx; every request is answered 200 "ok" once its body has been read whole. It ends with the
 * test.
 */
export async function startNginx(t: TestContext): Promise<Nginx> {
  const dir = mkdtempSync(join(tmpdir(), "serin-nginx-"));
  const [port, inner] = [await closedPort(), await closedPort()];
  const log = join(dir, "access.log");
  writeFileSync(join(dir, "nginx.conf"), configuration(dir, port, inner));
  const child = spawn(
    findTool("nginx") ?? "nginx",
    ["-p", dir, "-c", join(dir, "nginx.conf"), "-e", join(dir, "error.log")],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let output = "";
  child.stderr?.on("data", (chunk) => {
    output += chunk;
  });
  const stop = async (): Promise<void> => ended(child);
  t.after(async () => {
    await stop();
    rmSync(dir, { recursive: true });
  });
  let isListening = false;
  await waitFor(
    () => {
      if (!isListening) tryConnect(port, () => (isListening = true));
      return isListening || child.exitCode !== null;
    },
    () => `nginx does not listen: ${output}`,
  );
  return {
    port,
    stop,
    logged: () =>
      readFileSync(log, "latin1")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => {
          const [status = "", ...request] = line.split(" ");
          return { status: Number(status), target: request[1] ?? "" };
        }),
  };
}

function configuration(dir: string, port: number, inner: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(dir, name)};`)
    .join("\n  ");
  // The outer server reads a body whole (proxy_request_buffering) before it passes the request on:
  // `return` alone would answer before the end.
  return `daemon off;
master_process off;
pid ${join(dir, "pid")};
worker_processes 1;
events { worker_connections 512; }
http {
  ${temporary}
  log_format targets '$status $request';
  access_log off;
  keepalive_requests 100000;
  server {
    listen 127.0.0.1:${port};
    access_log ${join(dir, "access.log")} targets;
    location / {
      proxy_pass http://127.0.0.1:${inner};
    }
  }
  server {
    listen 127.0.0.1:${inner};
    location / { return 200 "ok"; }
  }
}
`;
}

function tryConnect(port: number, onConnected: () => void): void {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  socket.on("connect", () => {
    onConnected();
    socket.destroy();
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    // QUIT: what nginx has read it answers and logs first.
    child.kill("SIGQUIT");
  });
}
