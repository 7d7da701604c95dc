import type { CommandShape, FlagShape } from "./command-shape.ts";

/** The completion of zsh, with a description of everything. */
export function zshCompletion(
  commands: readonly CommandShape[],
  aliases: Readonly<Record<string, string>>,
): string {
  const described = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}\n`);
  const others = Object.entries(aliases).map(
    ([alias, name]) => `    ${quoted(`${alias}:the same as ${name}`)}\n`,
  );
  const cases = commands.map((command) => {
    const also = Object.keys(aliases).filter((alias) => aliases[alias] === command.name);
    return `    ${[command.name, ...also].join("|")})\n      _arguments -s \\\n${specs(command)}\n      ;;\n`;
  });
  return `#compdef serin
# zsh completion of serin: source <(serin completion zsh), after compinit
_serin() {
  local -a commands
  commands=(
${described.join("")}${others.join("")}  )
  if (( CURRENT == 2 )); then
    _describe -t commands command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case "$words[1]" in
    help)
      _describe -t commands command commands
      ;;
${cases.join("")}  esac
}
if [ "$funcstack[1]" = "_serin" ]; then
  _serin "$@"
else
  compdef _serin serin
fi
`;
}

function specs({ flags, words, takesFiles }: CommandShape): string {
  const all = [
    ...flags.map(specOf),
    ...(words.length === 0 ? [] : [quoted(`1:what:(${words.join(" ")})`)]),
    ...(takesFiles ? [quoted("*:file:_files")] : []),
  ];
  return all.map((spec) => `        ${spec}`).join(" \\\n");
}

function specOf({ long, short, value, description }: FlagShape): string {
  const names = [...(short === undefined ? [] : [`-${short}`]), `--${long}`];
  const said = description.replaceAll(/[[\]:]/g, String.raw`\$&`);
  const rest = `[${said}]${argumentOf(value)}`;
  const [only = ""] = names;
  if (names.length === 1) return quoted(`*${only}${rest}`);
  return `${quoted("*")}{${names.join(",")}}${quoted(rest)}`;
}

function argumentOf(value: FlagShape["value"]): string {
  if (value === "none") return "";
  if (value === "text") return ":value: ";
  if (value === "file") return ":file:_files";
  return `:value:(${value.join(" ")})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
