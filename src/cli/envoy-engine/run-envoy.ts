import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { SerinError } from "../../base/index.ts";
import { sidecarBootstrap } from "../../proxy/index.ts";
import type { Clock, Logger } from "../../runtime/index.ts";
import { toJson } from "../../xds/index.ts";
import { type AdminAddress, askAdmin, startHealthPorts } from "./health-ports.ts";
import { openOutputPipe } from "./output-pipe.ts";
import { startXdsRelay } from "./xds-relay.ts";

export interface EnvoyOptions {
  /** Of the injected pod: what our own proxy takes its bootstrap from. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where readiness and metrics are answered. */
  readonly ports: {
    readonly readyAddress: string;
    readonly readyPort: number;
    readonly statsPort: number;
  };
  readonly concurrency: number;
  readonly logLevel: string;
  /** How long requests in flight may take at the end. */
  readonly drainMs: number;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const LEVELS: Readonly<Record<string, string>> = { warn: "warning", silent: "off" };
const DEFAULT_XDS_ADDRESS = "127.0.0.1:15010";
/** After the drain; then Envoy is killed. */
const END_MS = 3000;
const DRAIN_POLL_MS = 100;
/** What a path of a Unix socket may have. */
const MAX_SOCKET_PATH = 100;

/**
 * Runs Envoy as a pod's sidecar, with the bootstrap that our own proxy would have, until it ends or the
 * signal aborts; answers the exit code. Throws SERIN_UNREADABLE_INPUT when there is no Envoy,
 * SERIN_PORT_IN_USE, SERIN_INVALID_BOOTSTRAP.
 */
export async function runEnvoy(options: EnvoyOptions): Promise<number> {
  const { env, logger, ports } = options;
  const program = envoyProgram(env);
  const dir = privateDir(env);
  const stops: (() => Promise<void> | void)[] = [() => rmSync(dir, { recursive: true })];
  try {
    const socketPath = join(dir, "xds.sock");
    const bootstrap = envoyBootstrap(env, socketPath);
    const caPath = env["SERIN_XDS_CA_PATH"] || undefined;
    const relay = await startXdsRelay({
      socketPath,
      url: `${caPath === undefined ? "http" : "https"}://${env["SERIN_XDS_ADDRESS"] || DEFAULT_XDS_ADDRESS}`,
      caPath,
      tokenPath: env["SERIN_TOKEN_PATH"] || undefined,
      logger,
    });
    stops.push(() => relay.stop());
    const output = openOutputPipe(dir);
    stops.push(() => output.close());
    const health = await startHealthPorts(bootstrap.admin, ports.readyAddress, [
      ports.readyPort,
      ports.statsPort,
    ]);
    stops.push(() => health.stop());
    const child = spawn(
      program,
      [
        ...["--config-yaml", JSON.stringify(bootstrap.json), "--disable-hot-restart"],
        ...["--concurrency", String(options.concurrency)],
        ...["--log-level", LEVELS[options.logLevel] ?? options.logLevel],
        // As Istio: not a warning per deprecated field of every listener.
        ...["--component-log-level", "misc:error"],
        ...["--drain-time-s", String(Math.ceil(options.drainMs / 1000))],
      ],
      { stdio: ["ignore", output.stdout, "inherit"] },
    );
    logger.info({ program, pid: child.pid }, "Envoy is this pod's sidecar");
    return await ended(child, bootstrap.admin, options);
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

/**
 * Our own proxy's bootstrap as JSON for Envoy, which reaches the control plane through a Unix socket.
 */
export function envoyBootstrap(
  env: EnvoyOptions["env"],
  socketPath: string,
): { readonly json: unknown; readonly admin: AdminAddress } {
  // Whoever listens on the socket adds the token, and speaks TLS.
  const own = sidecarBootstrap({
    ...env,
    SERIN_TOKEN_PATH: undefined,
    SERIN_XDS_CA_PATH: undefined,
  });
  const address = own.admin?.address?.socket_address;
  const clusters = (own.static_resources?.clusters ?? []).map((cluster) => ({
    ...cluster,
    type: 0 as const,
    load_assignment: {
      cluster_name: cluster.name ?? "",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socketPath } } } }] }],
    },
  }));
  const bootstrap = { ...own, static_resources: { ...own.static_resources, clusters } };
  return {
    json: toJson("envoy.config.bootstrap.v3.Bootstrap", bootstrap),
    admin: { host: address?.address ?? "", port: address?.port_value ?? 0 },
  };
}

async function ended(
  child: ChildProcess,
  admin: AdminAddress,
  { signal, drainMs, clock, logger }: EnvoyOptions,
): Promise<number> {
  const exit = once(child, "exit");
  const onAbort = (): void => {
    drain(admin, drainMs, clock, () => child.exitCode !== null || child.signalCode !== null)
      .catch((error: unknown) => logger.warn({ reason: String(error) }, "Envoy did not drain"))
      .finally(() => {
        child.kill("SIGTERM");
        clock.schedule(END_MS, () => child.kill("SIGKILL"));
      });
  };
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const [code] = await exit;
  signal.removeEventListener("abort", onAbort);
  if (signal.aborted) return 0;
  logger.error({ code }, "Envoy ended");
  return typeof code === "number" && code !== 0 ? code : 1;
}

/** As Istio's agent: no new connections, and time for those that are there. */
async function drain(
  admin: AdminAddress,
  drainMs: number,
  clock: Clock,
  isOver: () => boolean,
): Promise<void> {
  await askAdmin(admin, "/drain_listeners?graceful&skip_exit", "POST");
  const untilMs = clock.nowMs() + drainMs;
  while (!isOver() && clock.nowMs() < untilMs) {
    const { body } = await askAdmin(
      admin,
      "/stats?filter=downstream_rq_active|downstream_cx_active",
    );
    // The admin interface counts its own question.
    const rest = body.split("\n").filter((line) => !/^http\.admin\.|^listener\.admin\./.test(line));
    if (!rest.some((line) => /_active: [1-9]/.test(line))) return;
    await new Promise<void>((resolve) => clock.schedule(DRAIN_POLL_MS, resolve));
  }
}

function envoyProgram(env: EnvoyOptions["env"]): string {
  const named = env["ENVOY_BIN"];
  const dirs = (env["PATH"] ?? "").split(delimiter);
  for (const path of named ? [named] : dirs.map((dir) => join(dir, "envoy"))) {
    // Not access(2): that does not count the rights to files that the process has beside its user.
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() && (stat.mode & 0o111) !== 0) return path;
  }
  throw new SerinError(
    "SERIN_UNREADABLE_INPUT",
    named
      ? `ENVOY_BIN names ${named}, which is no program`
      : "there is no Envoy: put envoy on the PATH, or name it with ENVOY_BIN",
    { source: "caller" },
  );
}

/** A directory that nobody else may enter, where sockets can be. */
function privateDir(env: EnvoyOptions["env"]): string {
  const [wanted, fallback] = [env["SERIN_RUN_DIR"], tmpdir()];
  for (const parent of wanted ? [wanted, fallback] : [fallback]) {
    if (parent.length > MAX_SOCKET_PATH - "/serin-XXXXXX/xds.sock".length) continue;
    try {
      return mkdtempSync(join(parent, "serin-"));
    } catch {
      // not to be written: the next
    }
  }
  throw new SerinError(
    "SERIN_PERMISSION",
    `no directory for Envoy's socket can be made in ${wanted ?? fallback}; name one with SERIN_RUN_DIR`,
    { source: "caller" },
  );
}
