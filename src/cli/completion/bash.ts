import type { CommandShape, FlagShape } from "./command-shape.ts";

/** The completion of bash 4 or newer; needs nothing besides bash. */
export function bashCompletion(
  commands: readonly CommandShape[],
  aliases: Readonly<Record<string, string>>,
): string {
  const names = [...commands.map(({ name }) => name), ...Object.keys(aliases), "help"];
  const cases = commands.map((command) => {
    const also = Object.keys(aliases).filter((alias) => aliases[alias] === command.name);
    return `    ${[command.name, ...also].join("|")})\n${body(command)}\n      ;;\n`;
  });
  return `# bash completion of serin: source <(serin completion bash)
_serin() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "${names.join(" ")} --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    help)
      COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")}" -- "$current"))
      ;;
${cases.join("")}  esac
}
complete -F _serin serin
`;
}

function body({ flags, words, takesFiles }: CommandShape): string {
  const valued = flags.filter(({ value }) => value !== "none");
  const values = valued.map(
    (flag) => `        ${optionsOf(flag).join("|")}) ${valueFrom(flag)}; return ;;\n`,
  );
  const all = flags.flatMap(optionsOf).join(" ");
  const first =
    words.length === 0
      ? ""
      : `      if [[ $COMP_CWORD -eq 2 && $current != -* ]]; then
        COMPREPLY=($(compgen -W "${words.join(" ")}" -- "$current"))
        return
      fi
`;
  const rest = takesFiles ? `compgen -f -- "$current"` : "";
  return `      case "$previous" in
${values.join("")}      esac
${first}      if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "${all}" -- "$current"))
      else
        COMPREPLY=($(${rest === "" ? ":" : rest}))
      fi`;
}

function valueFrom({ value }: FlagShape): string {
  if (value === "file") return `COMPREPLY=($(compgen -f -- "$current"))`;
  if (typeof value === "string") return "COMPREPLY=()";
  return `COMPREPLY=($(compgen -W "${value.join(" ")}" -- "$current"))`;
}

function optionsOf({ long, short }: FlagShape): readonly string[] {
  return [`--${long}`, ...(short === undefined ? [] : [`-${short}`])];
}
