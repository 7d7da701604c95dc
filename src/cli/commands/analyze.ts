import { messageOf, SerinError } from "../../base/index.ts";
import {
  ANALYZERS,
  type AnalyzedObjects,
  analyzeWith,
  type Finding,
  isAtLeast,
  LEVELS,
  type Level,
  MESSAGES,
  noObjects,
  readAnalyzedObjects,
  resourceName,
} from "../../mesh/index.ts";
import { createLogger, systemClock } from "../../runtime/index.ts";
import { readSources, type SourceObject } from "../analyze/read-sources.ts";
import { parseSuppression } from "../analyze/suppression.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { ROOT_NAMESPACE, TRUST_DOMAIN } from "../control-plane.ts";
import { clusterStore } from "../kubeconfig.ts";
import { formatDocument } from "../output/document.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Looks for what is wrong, contradictory or without effect in the mesh's configuration: of a cluster,
of files, or of a cluster as if the files were applied.

Usage:
  serin analyze [FILE|DIR|-]... [flags]

Flags:
  -n, --namespace NS            report on this namespace (default "default"); files: of what names none
  -A, --all-namespaces          report on every namespace
      --use-kube                look at the cluster too (default; --no-use-kube or --use-kube=false: files only)
  -R, --recursive               folders with all that is below them
      --output-threshold LEVEL  Info | Warning | Error: print nothing less (default Info)
      --failure-threshold LEVEL Info | Warning | Error: exit code 79 from this level on (default Error)
  -S, --suppress CODE=NAME      do not report CODE of the resource NAME ("VirtualService reviews.default",
                                "Pod *.shop", "*"); may be repeated
  -o, --output FORMAT           log | json | yaml (default log)
  -L, --list-analyzers          print the analyzers and their codes
      --kubeconfig FILE         default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                    this text

The annotation galley.istio.io/analyze-suppress of a resource (codes, comma-separated, or *) does as
--suppress. docs/reference/analyze.md has every code.

Exit codes: 0 nothing at the failure threshold; 79 something is; 65 a file cannot be read; 64 wrong usage;
1 the API does not answer.
`;

const FOUND = 79;
/** sysexits.h: EX_DATAERR and EX_USAGE, as istioctl. */
const BAD_INPUT = 65;
const BAD_USAGE = 64;

interface Report {
  readonly finding: Finding;
  readonly level: Level;
  readonly resource: string;
  /** `file:line` */
  readonly reference: string | undefined;
}

async function run(args: string[], io: CommandIo): Promise<number> {
  try {
    return await analyzeCommand(args, io);
  } catch (error) {
    if (!(error instanceof SerinError)) throw error;
    const codes: Readonly<Record<string, number>> = {
      SERIN_USAGE: BAD_USAGE,
      SERIN_UNREADABLE_INPUT: BAD_INPUT,
    };
    const code = codes[error.code];
    if (code === undefined) throw error;
    io.stderr.write(`serin: ${messageOf(error)}\n`);
    return code;
  }
}

async function analyzeCommand(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    // Go's way of writing a boolean.
    args.map((arg) =>
      arg.replace(/^--use-kube=true$/, "--use-kube").replace(/^--use-kube=false$/, "--no-use-kube"),
    ),
    {
      namespace: { type: "string", short: "n", default: "default" },
      "all-namespaces": { type: "boolean", short: "A", default: false },
      "use-kube": { type: "boolean", default: true },
      "no-use-kube": { type: "boolean", default: false },
      recursive: { type: "boolean", short: "R", default: false },
      "output-threshold": { type: "string", default: "Info" },
      "failure-threshold": { type: "string", default: "Error" },
      suppress: { type: "string", short: "S", multiple: true, default: [] as string[] },
      output: { type: "string", short: "o", default: "log" },
      "list-analyzers": { type: "boolean", short: "L", default: false },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: Number.MAX_SAFE_INTEGER },
  );
  if (values["list-analyzers"]) {
    io.stdout.write(analyzerList());
    return 0;
  }
  const format = values.output;
  if (format !== "log" && format !== "json" && format !== "yaml") {
    throw usageError(`--output must be log, json or yaml (found ${format})`);
  }
  const printedFrom = parseLevel("output-threshold", values["output-threshold"]);
  const failedFrom = parseLevel("failure-threshold", values["failure-threshold"]);
  const isSuppressed = parseSuppression(values.suppress);
  const usesCluster = values["use-kube"] && !values["no-use-kube"];
  if (!usesCluster && positionals.length === 0) {
    throw usageError("there is nothing to analyze: name files, or leave --use-kube on");
  }
  const { objects, errors } = readSources(positionals, {
    isRecursive: values.recursive,
    namespace: values.namespace,
  });
  const found = await clusterObjects(usesCluster, values.kubeconfig, io);
  const findings = analyzeWith(
    found,
    objects.map(({ object }) => object),
    {
      ...{ rootNamespace: ROOT_NAMESPACE, trustDomain: TRUST_DOMAIN },
      logger: createLogger("cli", "silent"),
      now: new Date(systemClock.nowMs()).toISOString(),
    },
  );
  const reports = findings
    .filter((finding) => values["all-namespaces"] || isAbout(finding, values.namespace, objects))
    .map((finding) => reportOf(finding, objects))
    .filter(({ finding }) => !isSuppressed(finding.code, finding.object));
  const printed = reports.filter(({ level }) => isAtLeast(level, printedFrom));
  io.stdout.write(format === "log" ? logOf(printed) : formatDocument(printed.map(jsonOf), format));
  for (const error of errors) io.stderr.write(`Error: ${error}\n`);
  const what = whatOf(values, usesCluster, positionals);
  const isFailed = reports.some(({ level }) => isAtLeast(level, failedFrom));
  if (isFailed) {
    io.stderr.write(
      `Error: found issues when analyzing ${what}; docs/reference/analyze.md explains the codes.\n`,
    );
  } else if (printed.length === 0 && errors.length === 0 && format === "log") {
    io.stderr.write(`✔ No validation issues found when analyzing ${what}.\n`);
  }
  if (errors.length > 0) return BAD_INPUT;
  return isFailed ? FOUND : 0;
}

async function clusterObjects(
  usesCluster: boolean,
  kubeconfig: string | undefined,
  io: CommandIo,
): Promise<AnalyzedObjects> {
  if (!usesCluster) return noObjects();
  return await readAnalyzedObjects(clusterStore(kubeconfig, io.env), createLogger("cli", "silent"));
}

function parseLevel(flag: string, text: string): Level {
  const level = LEVELS.find((known) => known.toLowerCase() === text.toLowerCase());
  if (level !== undefined) return level;
  throw usageError(`--${flag} must be ${LEVELS.join(", ")} (found ${text})`);
}

/** What is in files always counts; of the cluster what is in the namespace, and the namespace itself. */
function isAbout({ object }: Finding, namespace: string, files: readonly SourceObject[]): boolean {
  if (object.kind === "Namespace" && object.metadata.name === namespace) return true;
  if (object.metadata.namespace === namespace) return true;
  return sourceOf(object, files) !== undefined;
}

function sourceOf({ kind, metadata }: Finding["object"], files: readonly SourceObject[]) {
  return files.findLast(
    ({ object }) =>
      object.kind === kind &&
      object.metadata.name === metadata.name &&
      object.metadata.namespace === metadata.namespace,
  );
}

function reportOf(finding: Finding, files: readonly SourceObject[]): Report {
  const source = sourceOf(finding.object, files);
  const reference =
    source === undefined ? undefined : `${source.file}:${source.lineOf(finding.path ?? [])}`;
  const { level } = MESSAGES[finding.code];
  return { finding, level, resource: resourceName(finding.object), reference };
}

function logOf(reports: readonly Report[]): string {
  return reports
    .map(({ finding, level, resource, reference }) => {
      const where = reference === undefined ? resource : `${resource} ${reference}`;
      return `${level} [${finding.code}] (${where}) ${finding.message}\n`;
    })
    .join("");
}

function jsonOf({ finding, level, resource, reference }: Report) {
  return {
    code: finding.code,
    name: MESSAGES[finding.code].name,
    level,
    message: finding.message,
    origin: resource,
    ...(reference === undefined ? {} : { reference }),
  };
}

function analyzerList(): string {
  return ANALYZERS.map(({ name, description, codes }) => {
    const lines = codes.map(
      (code) => `    ${code} ${MESSAGES[code].name}: ${MESSAGES[code].when}\n`,
    );
    return `* ${name}: ${description}\n${lines.join("")}`;
  }).join("");
}

function whatOf(
  flags: { readonly namespace: string; readonly "all-namespaces": boolean },
  usesCluster: boolean,
  files: readonly string[],
): string {
  if (!usesCluster) return files.join(", ");
  const scope = flags["all-namespaces"] ? "all namespaces" : `namespace: ${flags.namespace}`;
  return files.length === 0 ? scope : `${scope} with ${files.join(", ")}`;
}

export const command: CommandSpec = {
  name: "analyze",
  summary: "find what is wrong or without effect in the mesh's configuration",
  help,
  run,
};
