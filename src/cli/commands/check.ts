import { type Check, checksAfter, checksBefore } from "../check/cluster-checks.ts";
import { meshChecks } from "../check/mesh-checks.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";
import { clusterStore } from "../kubeconfig.ts";
import { formatDocument } from "../output/document.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Checks whether a cluster is fit for the mesh, and whether the mesh on it is well.

Usage:
  serin check [flags]

Flags:
      --pre                      only what must hold before anything is installed: the API answers, is new
                                 enough, and lets you create what an installation consists of
      --control-plane HOST:PORT  its debug port; else as the cluster says, else its pod's (kubectl port-forward)
  -o, --output FORMAT            log | json | yaml (default log)
      --kubeconfig FILE          default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                     this text

Exit codes: 0 all is well (warnings included); 1 something is not; 2 wrong usage.
`;

const MARKS = { ok: "✔", warning: "!", failed: "✘" } as const;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    pre: { type: "boolean", default: false },
    "control-plane": { type: "string" },
    output: { type: "string", short: "o", default: "log" },
    kubeconfig: { type: "string" },
  });
  const { output: format, kubeconfig } = values;
  if (format !== "log" && format !== "json" && format !== "yaml") {
    throw usageError(`--output must be log, json or yaml (found ${format})`);
  }
  const store = clusterStore(kubeconfig, io.env);
  const before = await checksBefore(store, ROOT_NAMESPACE);
  // Without an API there is nothing to ask the rest of.
  const isAway = before.length === 1;
  const checks: readonly Check[] =
    values.pre || isAway
      ? before
      : [
          ...before,
          ...(await checksAfter(store)),
          ...(await meshChecks(store, values["control-plane"], { kubeconfig, env: io.env })),
        ];
  if (format === "log") {
    for (const { name, result, message } of checks) {
      io.stdout.write(`${MARKS[result]} ${name}: ${message}\n`);
    }
  } else {
    io.stdout.write(formatDocument(checks, format));
  }
  return checks.some(({ result }) => result === "failed") ? 1 : 0;
}

export const command: CommandSpec = {
  name: "check",
  summary: "check whether the cluster is fit for the mesh, and the mesh well",
  help,
  run,
};
