import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { messageOf, SerinError } from "../../base/index.ts";
import { runProxy, sidecarBootstrap } from "../../proxy/index.ts";
import { createLogger, systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { serinVersion } from "../serin-version.ts";
import { settleMemory } from "../settle-memory.ts";
import { parseFlags, parseLogLevel } from "../usage.ts";

const help = `Runs the data plane: a proxy configured by xDS alone.

Usage:
  serin proxy --bootstrap FILE     any xDS server; FILE is an Envoy v3 bootstrap (JSON or YAML)
  serin proxy sidecar              inside an injected pod: the bootstrap comes from the environment
  serin proxy router               a gateway pod, likewise

Flags:
  --bootstrap FILE     node, admin, dynamic_resources (ADS), static_resources, stats_sinks
  --engine NAME        serin | envoy (default serin), for sidecar and router: with envoy, real Envoy
                       (ENVOY_BIN, or envoy on the PATH) runs with the same bootstrap
  --log-level LEVEL    debug | info | warn | error (default info)
  --concurrency N      threads that serve together; 0 = one per core (default 1)
  --drain-time-s N     how long requests in flight may take after SIGTERM (default 5)
  -h, --help           this text

SIGTERM drains: no new connections, requests in flight finish, then the process ends.
Exit codes: 0 after a drain; 2 when the bootstrap cannot be used or a port is taken.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args,
    {
      bootstrap: { type: "string" },
      engine: { type: "string", default: "serin" },
      "log-level": { type: "string", default: io.env["SERIN_LOG_LEVEL"] ?? "info" },
      "drain-time-s": { type: "string", default: "5" },
      concurrency: { type: "string", default: "1" },
    },
    { maxPositionals: 1 },
  );
  const role = positionals[0];
  if (role !== undefined && role !== "sidecar" && role !== "router") {
    throw usage(`unknown proxy role ${JSON.stringify(role)} (sidecar or router)`);
  }
  if ((role === undefined) === (values.bootstrap === undefined)) {
    throw usage("give either --bootstrap FILE or one of the roles sidecar, router");
  }
  const { engine } = values;
  if (engine !== "serin" && engine !== "envoy") {
    throw usage(`--engine must be serin or envoy (found ${engine})`);
  }
  if (engine === "envoy" && role === undefined) {
    throw usage(
      "--engine envoy goes with a role, sidecar or router; with a bootstrap run envoy -c",
    );
  }
  const logLevel = parseLogLevel(values["log-level"]);
  const logger = createLogger("proxy", logLevel);
  const drainMs = parseSeconds("drain-time-s", values["drain-time-s"]) * 1000;
  const concurrency = parseConcurrency(values.concurrency);
  const env = { ISTIO_META_SERIN_VERSION: serinVersion(), ...io.env, SERIN_PROXY_ROLE: role };
  if (role !== undefined) await answerProbes(io);
  if (engine === "envoy") {
    // What our own proxy does without is loaded only now.
    const { runEnvoy } = await import("../envoy-engine/run-envoy.ts");
    const { signal } = io;
    const ports = sidecarPorts(io.env);
    const clock = systemClock;
    return runEnvoy({ env, ports, concurrency, logLevel, drainMs, logger, clock, signal });
  }
  const proxy = await runProxy({
    ...(values.bootstrap === undefined
      ? {
          bootstrap: sidecarBootstrap(env),
          sidecar: sidecarPorts(io.env),
        }
      : { bootstrapText: readText(values.bootstrap) }),
    logger,
    clock: systemClock,
    concurrency,
  });
  settleMemory(systemClock);
  await Promise.race([aborted(io.signal), proxy.quit]);
  await proxy.stop(drainMs);
  return 0;
}

const PROBE_PORT = 15_020;
/** Of Istio: what comes from this address is not redirected to the sidecar. */
const PASSTHROUGH_ADDRESS = "127.0.0.6";

/** Answers the application's probes, where injection has led them here; until the process ends. */
async function answerProbes({ env }: CommandIo): Promise<void> {
  const probers = env["ISTIO_KUBE_APP_PROBERS"];
  if (!probers) return;
  const { startProbeServer } = await import("../app-probes/probe-server.ts");
  // Where the kubelet looks for the application: on the loopback network that is not the pod's address.
  const address = env["ISTIO_META_APPLICATION_ADDRESS"] ?? env["POD_IP"] ?? "127.0.0.1";
  const isRedirected = env["ISTIO_META_INTERCEPTION_MODE"] === "REDIRECT" && !address.includes(":");
  const application = {
    host: address,
    localAddress: isRedirected ? PASSTHROUGH_ADDRESS : undefined,
  };
  await startProbeServer(probers, application, { address, port: PROBE_PORT });
}

function sidecarPorts(env: NodeJS.ProcessEnv) {
  return { readyAddress: env["POD_IP"] ?? "127.0.0.1", readyPort: 15021, statsPort: 15090 };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new SerinError(
      "SERIN_UNREADABLE_INPUT",
      `cannot read the bootstrap file: ${messageOf(error)}`,
      { source: "caller", cause: error },
    );
  }
}

function parseSeconds(flag: string, text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw usage(`--${flag} must be seconds (found ${text})`);
  return Number(text);
}

function parseConcurrency(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw usage(`--concurrency must be a number (found ${text})`);
  return Number(text) === 0 ? availableParallelism() : Number(text);
}

function usage(message: string): SerinError {
  return new SerinError("SERIN_USAGE", message, { source: "caller" });
}

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

export const command: CommandSpec = {
  name: "proxy",
  summary: "run the data plane (sidecar or gateway), configured by xDS",
  help,
  run,
};
