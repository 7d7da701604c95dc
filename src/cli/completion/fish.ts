import type { CommandShape, FlagShape } from "./command-shape.ts";

/** The completion of fish, with a description of everything. */
export function fishCompletion(
  commands: readonly CommandShape[],
  aliases: Readonly<Record<string, string>>,
): string {
  const lines = commands.flatMap((command) => {
    const also = Object.keys(aliases).filter((alias) => aliases[alias] === command.name);
    const names = [command.name, ...also].join(" ");
    const seen = quoted(`__fish_seen_subcommand_from ${names}`);
    const { words, flags, takesFiles, name, summary } = command;
    return [
      `complete -c serin -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
      ...also.map(
        (alias) =>
          `complete -c serin -n __fish_use_subcommand -a ${alias} -d ${quoted(`the same as ${name}`)}`,
      ),
      ...(words.length === 0
        ? []
        : [
            `complete -c serin -n ${quoted(`__fish_seen_subcommand_from ${names}; and not __fish_seen_subcommand_from ${words.join(" ")}`)} -a ${quoted(words.join(" "))}`,
          ]),
      ...(takesFiles ? [`complete -c serin -n ${seen} -F`] : []),
      ...flags.map((flag) => `complete -c serin -n ${seen} ${optionsOf(flag)}`),
    ];
  });
  return `# fish completion of serin: serin completion fish | source
complete -c serin -f
${lines.join("\n")}
complete -c serin -n '__fish_seen_subcommand_from help' -a ${quoted(commands.map(({ name }) => name).join(" "))}
`;
}

function optionsOf({ long, short, value, description }: FlagShape): string {
  const names = `${short === undefined ? "" : `-s ${short} `}-l ${long}`;
  return `${names}${argumentOf(value)} -d ${quoted(description)}`;
}

function argumentOf(value: FlagShape["value"]): string {
  if (value === "none") return "";
  if (value === "text") return " -x";
  if (value === "file") return " -r -F";
  return ` -x -a ${quoted(value.join(" "))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}
