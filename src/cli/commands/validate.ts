import { checkResource, MESSAGES, resourceName, schemaFindings } from "../../mesh/index.ts";
import { readSources, type SourceObject } from "../analyze/read-sources.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { formatDocument } from "../output/document.ts";
import { parseFlags, usageError } from "../usage.ts";
import { kindProblems } from "../validate/kind-rules.ts";

const help = `Checks resources without a cluster, as the validating webhook would when they are applied: every field,
its type and its value, and what of it does nothing.

Usage:
  serin validate -f FILE|DIR|- [flags]

Flags:
  -f, --filename FILE   YAML or JSON, a folder of them, or - for standard input; may be repeated
  -R, --recursive       folders with all that is below them
      --strict          warnings are errors
  -o, --output FORMAT   log | json | yaml (default log)
  -h, --help            this text

Resources of kinds that are not the mesh's pass, with a word about what the mesh wants of pods.

Exit codes: 0 everything is valid; 1 something is not; 2 wrong usage or unreadable input.
`;

interface Problem {
  readonly isError: boolean;
  readonly file: string;
  readonly line: number;
  readonly resource: string;
  readonly message: string;
}

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    filename: { type: "string", short: "f", multiple: true, default: [] as string[] },
    recursive: { type: "boolean", short: "R", default: false },
    strict: { type: "boolean", default: false },
    output: { type: "string", short: "o", default: "log" },
  });
  const { output: format } = values;
  if (values.filename.length === 0) throw usageError("--filename is missing: what to validate");
  if (format !== "log" && format !== "json" && format !== "yaml") {
    throw usageError(`--output must be log, json or yaml (found ${format})`);
  }
  const { objects, errors } = readSources(values.filename, {
    isRecursive: values.recursive,
    namespace: "default",
  });
  const problems = objects.flatMap(problemsOf).map((each) => ({
    ...each,
    isError: each.isError || values.strict,
  }));
  for (const error of errors) io.stderr.write(`Error: ${error}\n`);
  if (format === "log") {
    for (const { isError, file, line, resource, message } of problems) {
      const level = isError ? "Error" : "Warning";
      io.stderr.write(`${level}: ${file}:${line}: ${resource}: ${message}\n`);
    }
    for (const path of values.filename) {
      const isValid = !problems.some(({ isError, file }) => isError && isBelow(file, path));
      if (isValid && errors.length === 0) io.stdout.write(`${JSON.stringify(path)} is valid\n`);
    }
  } else {
    const listed = problems.map(({ isError, ...rest }) => ({
      level: isError ? "Error" : "Warning",
      ...rest,
    }));
    io.stdout.write(formatDocument(listed, format));
  }
  if (errors.length > 0) return 2;
  return problems.some(({ isError }) => isError) ? 1 : 0;
}

function isBelow(file: string, path: string): boolean {
  return file === path || file.startsWith(path.endsWith("/") ? path : `${path}/`);
}

function problemsOf({ object, file, lineOf }: SourceObject): readonly Problem[] {
  const of = (isError: boolean, message: string, path: readonly (string | number)[]): Problem => ({
    ...{ isError, file, message },
    line: lineOf(path),
    resource: resourceName(object),
  });
  return [
    ...kindProblems(object).map(({ isError, message, path }) => of(isError, message, path)),
    ...[...schemaFindings(object, checkResource)].map(({ code, message, path = [] }) =>
      of(MESSAGES[code].level === "Error", message, path),
    ),
  ];
}

export const command: CommandSpec = {
  name: "validate",
  summary: "check resources without a cluster",
  help,
  run,
};
