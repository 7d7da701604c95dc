import { readFileSync, writeFileSync } from "node:fs";
import { messageOf, SerinError } from "../../base/index.ts";
import {
  type InjectionSettings,
  parseInjectionSettings,
  readInjectionSettings,
} from "../../mesh/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";
import { injectStream } from "../inject/inject-stream.ts";
import { clusterStore } from "../kubeconfig.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Puts sidecars into resources, as the webhook would into their pods.

Usage:
  serin inject -f FILE [flags]         alias: serin kube-inject

Looks for pod templates in Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, Pods and in
Lists of them; everything else passes, comments included. Pods that have a sidecar, that say
sidecar.istio.io/inject: "false" or that are on the host's network stay as they are.

Flags:
  -f, --filename FILE            YAML or JSON; - is standard input
  -o, --output FILE              where to write (default standard output)
  -n, --namespace NS             of resources that name none (default "default")
      --injectConfigFile FILE    what to inject (YAML: proxyImage, xdsAddress, interceptionMode, clusterId,
                                 audience, nativeSidecars); default: what the cluster's webhook injects
                                 (ConfigMap ${ROOT_NAMESPACE}/istio-sidecar-injector)
      --kubeconfig FILE          default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                     this text

Exit codes: 0 done, also when there was nothing to inject; 1 the cluster does not answer or does not say
what it injects; 2 wrong usage or unreadable input.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    filename: { type: "string", short: "f" },
    output: { type: "string", short: "o" },
    namespace: { type: "string", short: "n", default: "default" },
    injectConfigFile: { type: "string" },
    kubeconfig: { type: "string" },
  });
  if (values.filename === undefined) throw usageError("--filename is missing: what to inject into");
  const source = values.filename === "-" ? "standard input" : values.filename;
  const stream = readText(values.filename);
  const settings = await settingsOf(values, io);
  const { text, warnings } = injectStream(stream, source, {
    namespace: values.namespace,
    settings,
  });
  for (const warning of warnings) io.stderr.write(`Warning: no sidecar for ${warning}\n`);
  if (values.output === undefined) io.stdout.write(text);
  else writeText(values.output, text);
  return 0;
}

async function settingsOf(
  flags: {
    readonly injectConfigFile?: string | undefined;
    readonly kubeconfig?: string | undefined;
  },
  io: CommandIo,
): Promise<InjectionSettings> {
  if (flags.injectConfigFile !== undefined) {
    return parseInjectionSettings(readText(flags.injectConfigFile), flags.injectConfigFile);
  }
  try {
    return await readInjectionSettings(clusterStore(flags.kubeconfig, io.env), ROOT_NAMESPACE);
  } catch (error) {
    if (!(error instanceof SerinError)) throw error;
    const message = `${messageOf(error)}; without a cluster give --injectConfigFile`;
    throw new SerinError(error.code, message, { source: error.source, cause: error });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw unreadable(`cannot read ${path}: ${messageOf(error)}`, error);
  }
}

function writeText(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw unreadable(`cannot write ${path}: ${messageOf(error)}`, error);
  }
}

function unreadable(message: string, cause: unknown): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause });
}

export const command: CommandSpec = {
  name: "inject",
  summary: "put sidecars into resources, as the webhook would",
  help,
  run,
};
