import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { createTelemetryStore } from "../../analysis/index.ts";
import { backoffMs, messageOf, SerinError } from "../../base/index.ts";
import {
  type ControlPlane,
  type ControlPlaneOptions,
  startControlPlane,
  startRootCertificatePublisher,
} from "../../mesh/index.ts";
import { createLogger, type Logger, systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { publishControlPlane, ROOT_NAMESPACE, TRUST_DOMAIN } from "../control-plane.ts";
import { serverStore } from "../kubeconfig.ts";
import { startMetricsEndpoint } from "../metrics-endpoint.ts";
import { serinVersion } from "../serin-version.ts";
import { parseFlags, parseLogLevel, parsePort, usageError } from "../usage.ts";

const help = `Runs the mesh's control plane for a Kubernetes cluster: discovery, xDS, certificates, injection,
validation. Several of them serve the same; one of them, by a Lease, writes. \`serin up\` has its own.

Usage:
  serin control-plane [flags]

Flags:
  --kubeconfig FILE           the cluster (default: KUBECONFIG, ~/.kube/config, else this pod's account)
  --address IP                where pods and the API server reach it (default: POD_IP, else 127.0.0.1)
  --discovery-address H:P     what sidecars are told to connect to, over TLS
                              (default: istiod.istio-system.svc:15012)
  --webhook-service NAME      Service of the root namespace, port 443, through which the API server
                              reaches the webhooks; "" = by address (default: istiod in a pod, else "")
  --xds-port N                plaintext xDS, on loopback only (default 15010; 0 = any)
  --secure-port N             xDS and certificates over TLS (default 15012)
  --monitoring-port N         /metrics, /ready; on loopback /debug too (default 15014)
  --webhook-port N            injection and validation (default 15017)
  --root-namespace NAME       of the control plane and mesh-wide policies (default istio-system)
  --trust-domain NAME         of identities in the mesh (default cluster.local)
  --interception-mode MODE    REDIRECT: pods get the init container; NONE: applications are told of
                              their sidecar (default REDIRECT)
  --proxy-image IMAGE         of injected sidecars (default docker.io/serin/proxy of this version)
  --no-access-log             proxies write no access log unless a Telemetry asks for one
  --name NAME                 beside others (default: POD_NAME, else the machine's name)
  --log-level LEVEL           debug | info | warn | error (default info), JSON lines on stderr
  -h, --help                  this text

Prints "ready" once it has read the mesh and listens. While the API server cannot be reached it tries
again; once it serves it goes on with what it knows. SIGTERM gives the lease back and ends it.
Exit codes: 0 after a stop; 2 when a flag is wrong, a port is taken or the kubeconfig cannot be used.
`;

const LOOPBACK = "127.0.0.1";
const WEBHOOK_SERVICE_PORT = 443;
const TELEMETRY_RETENTION_MS = 60_000;
const START_BACKOFF = { baseMs: 500, maxMs: 30_000 };

async function run(args: string[], io: CommandIo): Promise<number> {
  const { env } = io;
  const inPod = env["KUBERNETES_SERVICE_HOST"] !== undefined && env["POD_NAME"] !== undefined;
  const { values } = parseFlags(args, {
    kubeconfig: { type: "string" },
    address: { type: "string", default: env["POD_IP"] ?? LOOPBACK },
    "discovery-address": { type: "string", default: "istiod.istio-system.svc:15012" },
    "webhook-service": { type: "string", default: inPod ? "istiod" : "" },
    "xds-port": { type: "string", default: "15010" },
    "secure-port": { type: "string", default: "15012" },
    "monitoring-port": { type: "string", default: "15014" },
    "webhook-port": { type: "string", default: "15017" },
    "root-namespace": { type: "string", default: env["POD_NAMESPACE"] ?? ROOT_NAMESPACE },
    "trust-domain": { type: "string", default: TRUST_DOMAIN },
    "interception-mode": { type: "string", default: "REDIRECT" },
    "proxy-image": { type: "string" },
    "no-access-log": { type: "boolean", default: false },
    name: { type: "string", default: env["POD_NAME"] ?? hostname() },
    "log-level": { type: "string", default: "info" },
  });
  const mode = values["interception-mode"];
  if (mode !== "REDIRECT" && mode !== "NONE") {
    throw usageError(`--interception-mode must be REDIRECT or NONE (found ${mode})`);
  }
  const discoveryAddress = values["discovery-address"];
  if (!/^.+:\d{1,5}$/.test(discoveryAddress)) {
    throw usageError(`--discovery-address must be HOST:PORT (found ${discoveryAddress})`);
  }
  const logger = createLogger("control-plane", parseLogLevel(values["log-level"]));
  const clock = systemClock;
  const store = serverStore(values.kubeconfig, env);
  const rootNamespace = values["root-namespace"];
  const webhookService = values["webhook-service"];
  const monitoringPort = parsePort("monitoring-port", values["monitoring-port"]);
  const options: ControlPlaneOptions = {
    ...{ store, logger, clock, rootNamespace, discoveryAddress },
    telemetry: createTelemetryStore({ retentionMs: TELEMETRY_RETENTION_MS, clock }),
    host: LOOPBACK,
    publicHost: values.address,
    ports: {
      xds: parsePort("xds-port", values["xds-port"]),
      secure: parsePort("secure-port", values["secure-port"]),
      debug: monitoringPort,
      webhook: parsePort("webhook-port", values["webhook-port"]),
    },
    trustDomain: values["trust-domain"],
    name: values.name,
    interceptionMode: mode,
    accessLog: !values["no-access-log"],
    version: serinVersion(),
    ...(values["proxy-image"] === undefined ? {} : { proxyImage: values["proxy-image"] }),
    ...(webhookService === ""
      ? {}
      : {
          webhookService: {
            namespace: rootNamespace,
            name: webhookService,
            port: WEBHOOK_SERVICE_PORT,
          },
        }),
  };
  const controlPlane = await started(options, logger, io.signal);
  if (controlPlane === undefined) return 0;
  const publisher = startRootCertificatePublisher({
    ...{ store, clock, rootNamespace, logger },
    random: Math.random,
  });
  const monitoring = await publicPages(values.address, controlPlane.ports.debug);
  const { xds, secure, debug, webhook } = controlPlane.ports;
  // On this machine there is no pod that commands could find it by.
  if (values.address === LOOPBACK) await publishControlPlane(store, LOOPBACK, controlPlane.ports);
  io.stderr.write(`xDS on ${LOOPBACK}:${xds}, over TLS on ${values.address}:${secure}\n`);
  io.stderr.write(`webhooks on ${values.address}:${webhook}, metrics on port ${debug}\n`);
  io.stdout.write("ready\n");
  await aborted(io.signal);
  await monitoring?.stop();
  publisher.stop();
  await controlPlane.stop();
  return 0;
}

/** Tries until the API server answers; undefined when it is told to end before that. */
async function started(
  options: ControlPlaneOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<ControlPlane | undefined> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      return await startControlPlane(options);
    } catch (error) {
      const mayRetry = error instanceof SerinError && error.retry === "yes";
      if (!mayRetry) throw error;
      const delayMs = backoffMs(attempt, START_BACKOFF, Math.random());
      logger.warn({ reason: messageOf(error), delayMs }, "not started, will try again");
      // Not the clock's timer: this wait is all that keeps the process.
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}

/**
 * Readiness and metrics for the cluster, at the address it reaches; the debug pages stay on loopback,
 * where they have the same port. Undefined where the two addresses are one.
 */
async function publicPages(address: string, debugPort: number) {
  if (address === LOOPBACK) return undefined;
  const page = (path: string) => async (): Promise<string> => {
    const response = await fetch(`http://${LOOPBACK}:${debugPort}${path}`);
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return await response.text();
  };
  return await startMetricsEndpoint(
    address,
    { "/metrics": page("/metrics"), "/ready": page("/ready") },
    debugPort,
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

export const command: CommandSpec = {
  name: "control-plane",
  summary: "run the mesh's control plane for a Kubernetes cluster",
  help,
  run,
};
