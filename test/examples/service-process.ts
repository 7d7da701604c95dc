import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** One of the bookinfo programs, running. */
export interface ServiceProcess {
  readonly port: number;
  readonly url: string;
  readonly child: ChildProcess;
}

/** Starts `examples/bookinfo/NAME.ts` on a free port and waits until it listens; the test ends it. */
export async function startService(
  t: TestContext,
  name: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ServiceProcess> {
  const child = spawnService(name, { HOST: "127.0.0.1", PORT: "0", ...env });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  for await (const line of createInterface({ input: child.stdout ?? process.stdin })) {
    const port = / listens on .*:(\d+)$/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stdout?.resume();
    return { port: Number(port), url: `http://127.0.0.1:${port}`, child };
  }
  throw new Error(`${name} ended before it listened`);
}

export function spawnService(name: string, env: Readonly<Record<string, string>>): ChildProcess {
  const program = fileURLToPath(new URL(`../../examples/bookinfo/${name}.ts`, import.meta.url));
  return spawn(process.execPath, [program], {
    env: { PATH: process.env["PATH"] ?? "", SHUTDOWN_DELAY_MS: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Environment that points a service to another one. */
export function upstream(name: string, port: number): Record<string, string> {
  return {
    [`${name.toUpperCase()}_HOSTNAME`]: "127.0.0.1",
    [`${name.toUpperCase()}_SERVICE_PORT_HTTP`]: String(port),
  };
}

/** An HTTP server of the test's own. */
export async function listen(t: TestContext, handler: RequestListener): Promise<number> {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
