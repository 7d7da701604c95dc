import { type KubeObject, RESOURCES, type ResourceType } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import type { KubeStore, ListOptions, ObjectKey } from "../../kube/store.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { canaryColumns } from "../output/canary-columns.ts";
import { formatDocument, listOf } from "../output/document.ts";
import { columnWidths, formatTable } from "../output/table.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Shows canaries: phase, weight and when they last changed.

Usage:
  serin get canary [NAME] [flags]

Flags:
  -n, --namespace NS     namespace (default "default")
  -A, --all-namespaces   every namespace
  -w, --watch            after that, print every change until interrupted
  -o, --output FORMAT    table | wide | json | yaml (default table)
  -l, --selector LABELS  only those with these labels
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 done; 1 there is no canary of that name, or the API cannot be asked; 2 wrong usage.
`;

const KINDS: Readonly<Record<string, ResourceType>> = {
  canary: RESOURCES.canary,
  canaries: RESOURCES.canary,
  "canary.serin.dev": RESOURCES.canary,
  "canaries.serin.dev": RESOURCES.canary,
  "canary.flagger.app": RESOURCES.flaggerCanary,
  "canaries.flagger.app": RESOURCES.flaggerCanary,
};
const FORMATS = ["table", "wide", "json", "yaml"] as const;
type Format = (typeof FORMATS)[number];

interface Request {
  readonly type: ResourceType;
  readonly name: string | undefined;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  readonly selector: string | undefined;
  readonly format: Format;
  readonly isWatch: boolean;
  readonly kubeconfig: string | undefined;
}

async function run(args: string[], io: CommandIo): Promise<number> {
  const request = parseRequest(args);
  const store = clusterStore(request.kubeconfig, io.env);
  const printer = createPrinter(request, io.stdout);
  const found = await read(store, request);
  if (found === undefined) {
    const { plural, group } = request.type;
    io.stderr.write(
      `Error from server (NotFound): ${plural}.${group} ${JSON.stringify(request.name)} not found\n`,
    );
    return 1;
  }
  if (found.items.length === 0 && !request.isWatch && isTable(request.format)) {
    const where = request.namespace === undefined ? "" : ` in ${request.namespace} namespace`;
    io.stderr.write(`No resources found${where}.\n`);
  } else if (found.items.length > 0 || !isTable(request.format)) {
    printer.printAll(found.items);
  }
  if (request.isWatch) await watch(store, request, found.resourceVersion, printer, io.signal);
  return 0;
}

function parseRequest(args: string[]): Request {
  const { values, positionals } = parseFlags(
    args,
    {
      namespace: { type: "string", short: "n", default: "default" },
      "all-namespaces": { type: "boolean", short: "A", default: false },
      watch: { type: "boolean", short: "w", default: false },
      output: { type: "string", short: "o", default: "table" },
      selector: { type: "string", short: "l" },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 2 },
  );
  const { type, name } = parseTarget(positionals);
  const format = FORMATS.find((known) => known === values.output);
  if (format === undefined) {
    throw usageError(`--output must be ${FORMATS.join(", ")} (found ${values.output})`);
  }
  if (name !== undefined && values["all-namespaces"]) {
    throw usageError("a canary cannot be retrieved by name across all namespaces");
  }
  if (name !== undefined && values.selector !== undefined) {
    throw usageError("give either a name or --selector");
  }
  return {
    type,
    name,
    namespace: values["all-namespaces"] ? undefined : values.namespace,
    selector: values.selector,
    format,
    isWatch: values.watch,
    kubeconfig: values.kubeconfig,
  };
}

/** `canary`, `canary NAME` or `canary/NAME`. */
function parseTarget(positionals: readonly string[]): {
  readonly type: ResourceType;
  readonly name: string | undefined;
} {
  const [resource, argument] = positionals;
  if (resource === undefined) throw usageError("what to get is missing: serin get canary [NAME]");
  const [kind = "", slashed] = resource.split("/", 2);
  const type = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (type === undefined) {
    throw usageError(`unknown resource ${JSON.stringify(kind)} (known: canary)`);
  }
  if (slashed !== undefined && argument !== undefined) {
    throw usageError(`unexpected argument ${JSON.stringify(argument)}`);
  }
  const name = slashed ?? argument;
  if (name === "") throw usageError("the canary's name is empty");
  return { type, name };
}

/** What was asked for, and the version to watch from. Undefined when the name does not exist. */
async function read(
  store: KubeStore,
  request: Request,
): Promise<{ items: readonly KubeObject[]; resourceVersion: string } | undefined> {
  const { type, name, namespace } = request;
  if (name === undefined) return await store.list(type, listOptions(request));
  const key: ObjectKey = { namespace, name };
  const canary = await store.get(type, key);
  if (canary === undefined) return undefined;
  return { items: [canary], resourceVersion: canary.metadata.resourceVersion ?? "" };
}

function listOptions({ namespace, selector, name }: Request): ListOptions {
  return {
    namespace,
    labelSelector: selector,
    ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }),
  };
}

async function watch(
  store: KubeStore,
  request: Request,
  fromVersion: string,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  const options = listOptions(request);
  let resourceVersion = fromVersion;
  while (!signal.aborted) {
    try {
      for await (const event of store.watch(request.type, {
        ...options,
        resourceVersion,
        signal,
      })) {
        resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
        if (event.type !== "BOOKMARK") printer.printChange(event.object);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isExpired(error)) throw error;
      // 410: what happened in between is lost; show where things stand and go on from there.
      const current = await store.list(request.type, options);
      for (const canary of current.items) printer.printChange(canary);
      resourceVersion = current.resourceVersion;
    }
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof SerinError && error.code === "SERIN_CONFLICT" && error.retry === "yes";
}

interface Printer {
  printAll(canaries: readonly KubeObject[]): void;
  printChange(canary: KubeObject): void;
}

function createPrinter(request: Request, stdout: NodeJS.WritableStream): Printer {
  const { format } = request;
  if (format === "json" || format === "yaml") {
    const print = (value: unknown): void => {
      const separator = format === "yaml" && request.isWatch ? "---\n" : "";
      stdout.write(separator + formatDocument(value, format));
    };
    const isOne = request.name !== undefined;
    return { printAll: (items) => print(isOne ? items[0] : listOf(items)), printChange: print };
  }
  const columns = canaryColumns({
    isWide: format === "wide",
    hasNamespace: request.namespace === undefined,
  });
  let widths: readonly number[] | undefined;
  const print = (canaries: readonly KubeObject[]): void => {
    const rows = canaries.map((canary) => columns.row(canary));
    const isFirst = widths === undefined;
    const table = isFirst ? [columns.headers, ...rows] : rows;
    widths ??= columnWidths(table);
    stdout.write(formatTable(table, widths));
  };
  return { printAll: print, printChange: (canary) => print([canary]) };
}

function isTable(format: Format): boolean {
  return format === "table" || format === "wide";
}

export const command: CommandSpec = {
  name: "get",
  summary: "show canaries, once or as they change",
  help,
  run,
};
