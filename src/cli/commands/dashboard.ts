import { spawn } from "node:child_process";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { findControlPlane, ROOT_NAMESPACE } from "../control-plane.ts";
import { clusterStore } from "../kubeconfig.ts";
import { forwardPort } from "../port-forward.ts";
import { findProxyPod } from "../proxy-admin.ts";
import { parseFlags, parsePort, usageError } from "../usage.ts";

const help = `Opens a web page of the mesh: of a pod of this machine directly, of others through kubectl port-forward,
which stays open until interrupted.

Usage:
  serin dashboard NAME [POD[.NAMESPACE]] [flags]

NAME: prometheus | grafana | jaeger | control-plane | proxy

Prometheus, Grafana and Jaeger are found by the label app (or app.kubernetes.io/name) of their pods.

Flags:
  -n, --namespace NS     where to look (default "istio-system"; proxy: "default")
      --port N           port on this machine; 0 = any free one (default 0)
      --no-browser       only print the address (also --browser=false)
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 done; 1 it is not there, or not reached; 2 wrong usage.
`;

const DEBUG_PORT = 15_014;
const ADMIN_PORT = 15_000;
const PORTS: Readonly<Record<string, number>> = { prometheus: 9090, grafana: 3000, jaeger: 16_686 };

/** Where a page is: on an address of this machine, or a port of a pod's. */
type Place =
  | { readonly address: string }
  | { readonly namespace: string; readonly pod: string; readonly port: number };

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args.map((arg) => (arg === "--browser=false" ? "--no-browser" : arg)),
    {
      namespace: { type: "string", short: "n" },
      port: { type: "string", default: "0" },
      "no-browser": { type: "boolean", default: false },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 2 },
  );
  const [name = "", pod] = positionals;
  if ((name === "proxy") !== (pod !== undefined)) {
    throw usageError(
      name === "proxy" ? "say whose proxy: serin dashboard proxy POD" : `${name} takes no argument`,
    );
  }
  const localPort = parsePort("port", values.port);
  const store = clusterStore(values.kubeconfig, io.env);
  const place = await placeOf(store, name, pod, values.namespace);
  const isBrowsed = !values["no-browser"];
  if ("address" in place) {
    open(`http://${place.address}`, isBrowsed, io);
    return 0;
  }
  const target = { ...place, localPort, kubeconfig: values.kubeconfig, env: io.env };
  await using forward = await forwardPort(target);
  open(`http://${forward.address}`, isBrowsed, io);
  await new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve();
    else io.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  return 0;
}

async function placeOf(
  store: KubeStore,
  name: string,
  pod: string | undefined,
  namespace: string | undefined,
): Promise<Place> {
  if (name === "control-plane") {
    const found = await findControlPlane(store);
    if ("debugAddress" in found) return { address: `${found.debugAddress}/debug/syncz` };
    return { namespace: ROOT_NAMESPACE, pod: found.pod, port: DEBUG_PORT };
  }
  if (pod !== undefined) {
    const found = await findProxyPod(store, pod, namespace ?? "default");
    if (found.ip.startsWith("127.")) return { address: `${found.ip}:${ADMIN_PORT}` };
    return { namespace: found.namespace, pod: found.name, port: ADMIN_PORT };
  }
  const port = Object.hasOwn(PORTS, name) ? PORTS[name] : undefined;
  if (port === undefined) {
    const known = [...Object.keys(PORTS), "control-plane", "proxy"].join(", ");
    throw usageError(`say which: ${known}${name === "" ? "" : ` (found ${name})`}`);
  }
  return await addonPlace(store, name, port, namespace ?? ROOT_NAMESPACE);
}

async function addonPlace(
  store: KubeStore,
  name: string,
  port: number,
  namespace: string,
): Promise<Place> {
  for (const label of ["app", "app.kubernetes.io/name"]) {
    const { items } = await store.list(RESOURCES.pod, {
      namespace,
      labelSelector: `${label}=${name}`,
    });
    const running = items.find(isRunning);
    if (running === undefined) continue;
    const { podIP } = running["status"] as { readonly podIP: string };
    // Pods of this machine's loopback are reached as they are.
    if (podIP.startsWith("127.")) return { address: `${podIP}:${port}` };
    return { namespace, pod: running.metadata.name, port };
  }
  throw new SerinError(
    "SERIN_NOT_FOUND",
    `no pod of ${name} runs in namespace ${namespace} (label app=${name})`,
    { source: "caller" },
  );
}

function isRunning(pod: KubeObject): boolean {
  const { phase, podIP } = (pod["status"] ?? {}) as {
    readonly phase?: string;
    readonly podIP?: string;
  };
  return phase === "Running" && podIP !== undefined;
}

function open(url: string, isBrowsed: boolean, { stdout, env }: CommandIo): void {
  stdout.write(`${url}\n`);
  if (!isBrowsed) return;
  const program = process.platform === "darwin" ? "open" : "xdg-open";
  const child = spawn(program, [url], { env, stdio: "ignore", detached: true });
  // Without a browser the address is all there is.
  child.on("error", () => {});
  child.unref();
}

export const command: CommandSpec = {
  name: "dashboard",
  summary: "open a web page of the mesh",
  help,
  run,
};
