import { relative, resolve } from "node:path";
import { systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { bundledImageMap } from "../image-map.ts";
import { chooseNetwork } from "../network-mode.ts";
import { defaultDataDir, startPlatform } from "../platform.ts";
import { parseFlags, parseLogLevel, parsePort } from "../usage.ts";

const help = `Runs all of Serin on this machine: an embedded Kubernetes API, the control plane and the
canary controller. Pods are local processes, each with its sidecar.

Usage:
  serin up [flags]

Flags:
  --data-dir DIR          where the cluster lives (default .serin); it survives restarts and kill -9
  --network MODE          netns: each pod in a network namespace of its own (Linux, root, iptables),
                          applications run unmodified; loopback: any machine, applications are told
                          of their sidecar; auto (default): netns where it can be, else loopback
  --api-port N            port of the Kubernetes API (default 6443; 0 = any)
  --image-map FILE        more images to run as local commands (JSON or YAML list of
                          {image: pattern with *, command: [argv...], env: {...}})
  --log-level LEVEL       debug | info | warn | error (default warn), JSON lines on stderr
  -h, --help              this text

Prints KUBECONFIG=FILE, then "ready" once everything answers. SIGINT and SIGTERM stop all pods.
Exit codes: 0 after a stop; 2 when a port is taken or the data directory cannot be used.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    "data-dir": { type: "string" },
    network: { type: "string", default: "auto" },
    "api-port": { type: "string", default: "6443" },
    "image-map": { type: "string" },
    "log-level": { type: "string", default: "warn" },
  });
  const dataDir = resolve(values["data-dir"] ?? defaultDataDir(process.cwd()));
  const network = chooseNetwork(values.network, dataDir);
  const platform = await startPlatform({
    dataDir,
    network,
    apiPort: parsePort("api-port", values["api-port"]),
    imageMap: bundledImageMap(values["image-map"]),
    clock: systemClock,
    logLevel: parseLogLevel(values["log-level"]),
    onProgress: (line) => io.stderr.write(`${line}\n`),
  });
  const kubeconfig =
    values["data-dir"]?.startsWith("/") === true
      ? platform.kubeconfigPath
      : relative(process.cwd(), platform.kubeconfigPath);
  io.stdout.write(`KUBECONFIG=${kubeconfig}\nready\n`);
  await new Promise<void>((done) => {
    if (io.signal.aborted) done();
    else io.signal.addEventListener("abort", () => done(), { once: true });
  });
  io.stderr.write("stopping\n");
  await platform.stop();
  return 0;
}

export const command: CommandSpec = {
  name: "up",
  summary: "run a whole cluster with mesh and controller on this machine",
  help,
  run,
};
