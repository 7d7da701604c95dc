import { readFileSync } from "node:fs";
import { messageOf, SerinError } from "../../base/index.ts";
import { systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { type ConfigDump, parseConfigDump } from "../output/config-dump.ts";
import {
  CONFIG_HEADERS,
  type ConfigFilter,
  type ConfigRow,
  clusterRows,
  endpointRows,
  listenerRows,
  routeRows,
  secretRows,
} from "../output/config-dump-rows.ts";
import { formatDocument } from "../output/document.ts";
import { formatTable } from "../output/table.ts";
import { askProxyAdmin, findProxyPod, type PodAccess, type ProxyPod } from "../proxy-admin.ts";
import { type OutputFormat, parseFlags, parseOutput, usageError } from "../usage.ts";

const help = `Shows what a proxy runs with, asked of the proxy itself.

Usage:
  serin proxy-config KIND POD[.NAMESPACE] [flags]
  serin proxy-config KIND --file DUMP [flags]

Kinds: listeners | routes | clusters | endpoints | secrets | bootstrap | log | all

Flags:
      --fqdn HOST        clusters of this service
      --direction WAY    clusters: inbound | outbound
      --subset NAME      clusters of this subset
      --port N           clusters, listeners, endpoints on this port
      --address IP       listeners, endpoints on this address
      --name NAME        routes of this name
      --cluster NAME     endpoints of this cluster
      --status STATUS    endpoints in this state (HEALTHY, UNHEALTHY, ...)
      --level LEVEL      log: set trace | debug | info | warn | error | fatal
  -f, --file DUMP        a saved config_dump instead of a pod; - is standard input
  -n, --namespace NS     namespace of POD (default "default")
  -o, --output FORMAT    table | json | yaml (default table; bootstrap: json)
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 done; 1 there is no such proxy, or it does not answer; 2 wrong usage or unreadable input.
`;

const TABLES = ["listeners", "routes", "clusters", "endpoints", "secrets"] as const;
type Table = (typeof TABLES)[number];
type Kind = Table | "bootstrap" | "log" | "all";
/** istioctl's short and singular names. */
const KINDS: Readonly<Record<string, Kind>> = {
  ...{ listener: "listeners", listeners: "listeners", l: "listeners" },
  ...{ route: "routes", routes: "routes", r: "routes" },
  ...{ cluster: "clusters", clusters: "clusters", c: "clusters" },
  ...{ endpoint: "endpoints", endpoints: "endpoints", ep: "endpoints" },
  ...{ secret: "secrets", secrets: "secrets", s: "secrets" },
  ...{ bootstrap: "bootstrap", b: "bootstrap", log: "log", o: "log", all: "all", a: "all" },
};

interface Source {
  readonly pod: ProxyPod | undefined;
  readonly dump: ConfigDump;
  readonly access: PodAccess;
}

async function run(args: string[], io: CommandIo): Promise<number> {
  const text = { type: "string" } as const;
  const { values, positionals } = parseFlags(
    args,
    {
      ...{ fqdn: text, direction: text, subset: text, port: text, address: text, name: text },
      ...{ cluster: text, status: text, level: text, kubeconfig: text },
      file: { type: "string", short: "f" },
      namespace: { type: "string", short: "n", default: "default" },
      output: { type: "string", short: "o", default: "table" },
    },
    { maxPositionals: 2 },
  );
  const kind = parseKind(positionals[0]);
  const format = parseOutput(values.output);
  const argument = positionals[1];
  if ((argument === undefined) === (values.file === undefined)) {
    throw usageError("give either a pod (POD[.NAMESPACE]) or --file DUMP");
  }
  if (values.level !== undefined && kind !== "log") throw usageError("--level goes with log only");
  const pod =
    argument === undefined
      ? undefined
      : await findProxyPod(clusterStore(values.kubeconfig, io.env), argument, values.namespace);
  const access = { kubeconfig: values.kubeconfig, env: io.env };
  if (kind === "log") {
    if (pod === undefined) throw usageError("log asks a running proxy: give a pod");
    const query = values.level === undefined ? "" : `?level=${encodeURIComponent(values.level)}`;
    io.stdout.write(await askProxyAdmin(pod, `/logging${query}`, access, "POST"));
    return 0;
  }
  const source = await readSource(pod, values.file, access);
  if (kind === "bootstrap") {
    const document = { bootstrap: source.dump.bootstrap };
    io.stdout.write(formatDocument(document, format === "yaml" ? "yaml" : "json"));
    return 0;
  }
  const tables = kind === "all" ? TABLES : [kind];
  const rows: [Table, ConfigRow[]][] = [];
  for (const table of tables) rows.push([table, await rowsOf(table, source, values)]);
  print(rows, format, kind === "all", io.stdout);
  return 0;
}

function parseKind(text: string | undefined): Kind {
  const known = "listeners, routes, clusters, endpoints, secrets, bootstrap, log, all";
  if (text === undefined) throw usageError(`what to show is missing (${known})`);
  const kind = Object.hasOwn(KINDS, text) ? KINDS[text] : undefined;
  if (kind === undefined)
    throw usageError(`unknown kind ${JSON.stringify(text)} (known: ${known})`);
  return kind;
}

async function readSource(
  pod: ProxyPod | undefined,
  file: string | undefined,
  access: PodAccess,
): Promise<Source> {
  if (pod !== undefined) {
    const text = await askProxyAdmin(pod, "/config_dump", access);
    return { pod, dump: parseConfigDump(text, `pod ${pod.name}`), access };
  }
  const path = file ?? "-";
  try {
    const text = readFileSync(path === "-" ? 0 : path, "utf8");
    return { pod, dump: parseConfigDump(text, path), access };
  } catch (error) {
    if (error instanceof SerinError) throw error;
    throw new SerinError("SERIN_UNREADABLE_INPUT", `cannot read ${path}: ${messageOf(error)}`, {
      source: "caller",
      cause: error,
    });
  }
}

async function rowsOf(table: Table, source: Source, filter: ConfigFilter): Promise<ConfigRow[]> {
  const { dump, pod, access } = source;
  switch (table) {
    case "clusters":
      return clusterRows(dump.clusters, filter);
    case "listeners":
      return listenerRows(dump.listeners, filter);
    case "routes":
      return routeRows(dump.routes, filter);
    case "secrets":
      return secretRows(dump.secrets, systemClock.nowMs());
    case "endpoints":
      // Health is the proxy's own finding: a dump does not hold it.
      if (pod === undefined) throw usageError("endpoints asks a running proxy: give a pod");
      return endpointRows(
        JSON.parse(await askProxyAdmin(pod, "/clusters?format=json", access)),
        filter,
      );
  }
}

function print(
  tables: readonly (readonly [Table, readonly ConfigRow[]])[],
  format: OutputFormat,
  isAll: boolean,
  stdout: NodeJS.WritableStream,
): void {
  if (format === "table") {
    const texts = tables.map(([table, rows]) =>
      formatTable([CONFIG_HEADERS[table], ...rows.map((row) => row.cells)]),
    );
    stdout.write(texts.join("\n"));
    return;
  }
  // A listener has a line per filter chain, but is one value.
  const values = tables.map(([, rows]) => [...new Set(rows.map((row) => row.value))]);
  const document = isAll
    ? Object.fromEntries(tables.map(([table], i) => [table, values[i]]))
    : values[0];
  stdout.write(formatDocument(document, format));
}

export const command: CommandSpec = {
  name: "proxy-config",
  summary: "show what a proxy runs with: listeners, routes, clusters, endpoints, secrets",
  help,
  run,
};
