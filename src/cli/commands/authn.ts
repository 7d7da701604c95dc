import { SerinError } from "../../base/index.ts";
import { checkTls, serviceNamed, type TlsCheck, viewFor } from "../../mesh/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { modelOf, podNamed, readObjects } from "../mesh-model.ts";
import { formatDocument } from "../output/document.ts";
import { formatTable } from "../output/table.ts";
import { type OutputFormat, parseFlags, parseOutput, usageError } from "../usage.ts";

const help = `Shows whether what a pod speaks to services is what their pods take.

Usage:
  serin authn tls-check POD[.NAMESPACE] [HOST] [flags]

SERVER: what the service's pods take (STRICT | PERMISSIVE | DISABLE, or NONE without a sidecar), by the
PeerAuthentication under AUTHN POLICY ("-": none applies). CLIENT: what the pod speaks to them, by its
DestinationRule or auto mTLS: ISTIO (the mesh's mutual TLS), SIMPLE | MUTUAL (TLS of its own), DISABLE
(plain text). STATUS is CONFLICT when they do not fit (why is said below), UNKNOWN without endpoints.

Flags:
  -n, --namespace NS     namespace of POD (default "default")
  -o, --output FORMAT    table | json | yaml (default table)
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 all fits; 1 there is a conflict, or no such pod or host; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args,
    {
      namespace: { type: "string", short: "n", default: "default" },
      output: { type: "string", short: "o", default: "table" },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 3 },
  );
  const [verb, argument, host] = positionals;
  if (verb !== "tls-check") {
    throw usageError(
      verb === undefined
        ? "what to do is missing (tls-check)"
        : `unknown ${JSON.stringify(verb)} (known: tls-check)`,
    );
  }
  if (argument === undefined)
    throw usageError("a pod is missing: serin authn tls-check POD [HOST]");
  const format = parseOutput(values.output);
  const model = modelOf(await readObjects(clusterStore(values.kubeconfig, io.env)));
  const pod = podNamed(model, argument, values.namespace);
  const checks = checkTls(model, pod, host === undefined ? undefined : hostNamed(host));
  print(checks, format, io.stdout);
  return checks.some(({ status }) => status === "CONFLICT") ? 1 : 0;

  function hostNamed(name: string): string {
    const service = serviceNamed(viewFor(model, pod), name.replace(/:\d+$/, ""));
    if (service !== undefined) return service.host;
    throw new SerinError(
      "SERIN_NOT_FOUND",
      `pod ${pod.namespace}/${pod.podName} knows no service ${name}`,
      { source: "caller" },
    );
  }
}

function print(
  checks: readonly TlsCheck[],
  format: OutputFormat,
  stdout: NodeJS.WritableStream,
): void {
  if (format !== "table") {
    stdout.write(formatDocument(checks, format));
    return;
  }
  const rows = checks.map((check) => [
    nameOf(check),
    check.status,
    listed(check.server),
    listed(check.client),
    listed(check.policies),
  ]);
  stdout.write(formatTable([["HOST:PORT", "STATUS", "SERVER", "CLIENT", "AUTHN POLICY"], ...rows]));
  const conflicts = checks.filter(({ status }) => status === "CONFLICT");
  for (const check of conflicts) {
    stdout.write(`\n${nameOf(check)}: ${check.conflicts.join("; ")}\n`);
    for (const reason of check.reasons) stdout.write(`  ${reason}\n`);
  }
}

function nameOf({ host, port, subset }: TlsCheck): string {
  return `${host}:${port}${subset === undefined ? "" : ` (${subset})`}`;
}

function listed(values: readonly string[]): string {
  return values.length === 0 ? "-" : values.join(",");
}

export const command: CommandSpec = {
  name: "authn",
  summary: "show whether clients and servers agree on mutual TLS (tls-check)",
  help,
  run,
};
