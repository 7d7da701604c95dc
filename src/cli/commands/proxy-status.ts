import { z } from "zod";
import { SerinError } from "../../base/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { askControlPlane, withControlPlane } from "../control-plane.ts";
import { clusterStore } from "../kubeconfig.ts";
import { formatDocument } from "../output/document.ts";
import { compareDumps } from "../output/sync-diff.ts";
import { formatTable } from "../output/table.ts";
import { askProxyAdmin, findProxyPod, type PodAccess, type ProxyPod } from "../proxy-admin.ts";
import { type OutputFormat, parseFlags, parseOutput } from "../usage.ts";

const help = `Shows which proxies are connected and whether they have what the control plane means them to have.

Usage:
  serin proxy-status [flags]                   every proxy
  serin proxy-status POD[.NAMESPACE] [flags]   one proxy: how what it has differs from what it should

SYNCED: the proxy acknowledged the newest configuration. STALE: it was sent, and not answered yet.
NOT SENT: the proxy has not asked, or there is nothing. ERROR: the proxy refused it; why is said below.

Flags:
      --control-plane HOST:PORT  its debug port; else as the cluster says, else its pod's (kubectl port-forward)
  -n, --namespace NS             without POD: only proxies of this namespace; with: POD's (default "default")
  -o, --output FORMAT            table | json | yaml (default table)
      --kubeconfig FILE          default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                     this text

Exit codes: 0 done, and nothing is wrong; 1 a proxy refused something, or POD's configuration differs,
or somebody does not answer; 2 wrong usage.
`;

const status = z.enum(["SYNCED", "STALE", "NOT SENT", "ERROR"]);
const errors = z.array(z.string()).default([]);
const proxySchema = z.object({
  proxy: z.string(),
  cluster_id: z.string().default(""),
  proxy_version: z.string().default(""),
  control_plane: z.string().default(""),
  held_back: errors,
  ...{ cluster_status: status, cluster_errors: errors },
  ...{ listener_status: status, listener_errors: errors },
  ...{ route_status: status, route_errors: errors },
  ...{ endpoint_status: status, endpoint_errors: errors },
  ...{ secret_status: status.default("NOT SENT"), secret_errors: errors },
});
type ProxyState = z.infer<typeof proxySchema>;

const COLUMNS = [
  ["CDS", "cluster"],
  ["LDS", "listener"],
  ["EDS", "endpoint"],
  ["RDS", "route"],
  ["SDS", "secret"],
] as const;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args,
    {
      "control-plane": { type: "string" },
      namespace: { type: "string", short: "n" },
      output: { type: "string", short: "o", default: "table" },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 1 },
  );
  const format = parseOutput(values.output);
  const store = clusterStore(values.kubeconfig, io.env);
  const [argument] = positionals;
  const pod =
    argument === undefined
      ? undefined
      : await findProxyPod(store, argument, values.namespace ?? "default");
  const access = { kubeconfig: values.kubeconfig, env: io.env };
  return await withControlPlane(store, values["control-plane"], access, async (address) => {
    if (pod !== undefined) return await compare(address, pod, access, format, io.stdout);
    const answer = await askControlPlane(address, "/debug/syncz");
    return list(z.array(z.unknown()).parse(answer), values.namespace, format, io.stdout);
  });
}

function list(
  answer: readonly unknown[],
  namespace: string | undefined,
  format: OutputFormat,
  stdout: NodeJS.WritableStream,
): number {
  const shown = answer
    .map((value) => ({ value, state: proxySchema.parse(value) }))
    .filter(({ state }) => namespace === undefined || state.proxy.endsWith(`.${namespace}`))
    .sort((a, b) => (a.state.proxy < b.state.proxy ? -1 : 1));
  const problems = shown.flatMap(({ state }) => problemsOf(state));
  if (format === "table") {
    const types = COLUMNS.map(([title]) => title);
    const rows = shown.map(({ state }) => rowOf(state));
    stdout.write(formatTable([["NAME", "CLUSTER", ...types, "ISTIOD", "VERSION"], ...rows]));
    if (problems.length > 0) stdout.write(`\n${problems.join("\n")}\n`);
  } else {
    stdout.write(
      formatDocument(
        shown.map(({ value }) => value),
        format,
      ),
    );
  }
  return problems.length === 0 ? 0 : 1;
}

function rowOf(state: ProxyState): readonly string[] {
  return [
    state.proxy,
    state.cluster_id || "-",
    ...COLUMNS.map(([, field]) => state[`${field}_status`]),
    state.control_plane || "-",
    state.proxy_version || "-",
  ];
}

/** What a proxy refused, and what is held back from it, a line each. */
function problemsOf(state: ProxyState): readonly string[] {
  return [
    ...COLUMNS.flatMap(([title, field]) =>
      state[`${field}_errors`].map((message) => `${state.proxy} refused ${title}: ${message}`),
    ),
    ...state.held_back.map((message) => `${state.proxy} keeps what it has: ${message}`),
  ];
}

async function compare(
  address: string,
  pod: ProxyPod,
  access: PodAccess,
  format: OutputFormat,
  stdout: NodeJS.WritableStream,
): Promise<number> {
  const id = `${pod.name}.${pod.namespace}`;
  const expected = await askControlPlane(
    address,
    `/debug/config_dump?proxyID=${encodeURIComponent(id)}`,
  );
  if (expected === undefined) {
    throw new SerinError(
      "SERIN_NOT_FOUND",
      `the proxy of pod ${pod.namespace}/${pod.name} is not connected to the control plane on ${address}`,
      { source: "remote" },
    );
  }
  // Envoy leaves endpoints out unless asked for.
  const dump = await askProxyAdmin(pod, "/config_dump?include_eds=true", access);
  const actual: unknown = JSON.parse(dump);
  const types = compareDumps(expected, actual);
  if (format === "table") {
    stdout.write(types.map(({ type, diff }) => diff || `${type} Match\n`).join(""));
  } else {
    stdout.write(formatDocument({ proxy: id, types }, format));
  }
  return types.every(({ isSame }) => isSame) ? 0 : 1;
}

export const command: CommandSpec = {
  name: "proxy-status",
  summary: "show whether proxies have what the control plane means them to have",
  help,
  run,
};
