import type { CommandSpec } from "../command.ts";

/** What a flag's value is completed with: nothing known, a file, or one of these words. */
export type FlagValue = "none" | "text" | "file" | readonly string[];

export interface FlagShape {
  readonly long: string;
  readonly short: string | undefined;
  readonly value: FlagValue;
  readonly description: string;
}

/** What a shell has to know of a command. */
export interface CommandShape {
  readonly name: string;
  readonly summary: string;
  /** What may come first after the command's name: `pod` of `serin describe pod`. */
  readonly words: readonly string[];
  readonly flags: readonly FlagShape[];
  /** Whether its arguments are files. */
  readonly takesFiles: boolean;
}

const FLAG = /^ +(?:-(\w), +)?--([\w-]+)(?: ([A-Z][^ ]*))? +(.*)$/;
const CHOICE = /(?:^|[ :])((?:[\w.-]+ \| )+[\w.-]+)/;

/**
 * Reads a command's shape from its help, so that the two never differ: flags are lines such as
 * `-o, --output FORMAT  table | json | yaml (default table)`, words stand in the usage and in lists of kinds.
 */
export function commandShape({ name, summary, help }: CommandSpec): CommandShape {
  const usages = help.split("\n").filter((line) => line.startsWith(`  serin ${name} `));
  const flags = help.split("\n").flatMap((line): FlagShape[] => {
    const [, short, long, value, description = ""] = FLAG.exec(line) ?? [];
    if (long === undefined) return [];
    return [{ long, short, value: valueFrom(value, description), description: brief(description) }];
  });
  const words = usages.flatMap((usage) => wordsOf(usage.slice(`  serin ${name} `.length), help));
  return {
    name,
    summary,
    words: [...new Set(words)],
    flags,
    takesFiles: usages.some((usage) => /^ {2}serin \S+ \[?(?:FILE|DIR)/.test(usage)),
  };
}

function valueFrom(value: string | undefined, description: string): FlagValue {
  if (value === undefined) return "none";
  if (/FILE|DIR|DUMP/.test(value)) return "file";
  const [, choice] = CHOICE.exec(description.split(" (")[0] ?? "") ?? [];
  return choice === undefined ? "text" : choice.split(" | ");
}

/** The words that a usage begins with, or, for KIND, NAME or SHELL in capitals, those of the list in the help. */
function wordsOf(usage: string, help: string): readonly string[] {
  const [first = ""] = usage.split(" ");
  if (/^[a-z][\w-]*(?:\|[a-z][\w-]*)*$/.test(first)) return first.split("|");
  if (!/^[A-Z]+$/.test(first)) return [];
  const [, list = ""] =
    new RegExp(`^(?:${first}|${first[0]}${first.slice(1).toLowerCase()}s?): (.*)$`, "m").exec(
      help,
    ) ?? [];
  return list
    .replace(/\.$/, "")
    .split(/, | \| /)
    .map((word) => word.split(" ")[0] ?? "")
    .filter((word) => /^[a-z][\w-]*$/.test(word));
}

/** The first clause, which fits beside a flag. */
function brief(description: string): string {
  return description.split(/[;(]| \| /)[0]?.trim() ?? "";
}
