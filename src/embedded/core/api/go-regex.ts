const compiled = new Map<string, RegExp | undefined>();

/**
 * A pattern of Go's regexp (RE2), as CustomResourceDefinitions hold them, for JavaScript: leading
 * flags (`(?i)`), named groups (`(?P<n>`), `\A` and `\z` are translated. undefined when it is no
 * pattern.
 */
export function goRegex(pattern: string): RegExp | undefined {
  if (!compiled.has(pattern)) compiled.set(pattern, compile(pattern));
  return compiled.get(pattern);
}

function compile(pattern: string): RegExp | undefined {
  const flags = /^\(\?([ims]+)\)/.exec(pattern)?.[1] ?? "";
  const body = (flags === "" ? pattern : pattern.slice(flags.length + 3))
    .replaceAll("(?P<", "(?<")
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$");
  // Unicode mode reads astral characters whole, but refuses escapes that RE2 allows (`\-`).
  for (const mode of ["u", ""]) {
    try {
      return new RegExp(body, `${[...new Set(flags)].join("")}${mode}`);
    } catch {
      // the next mode, or no pattern at all
    }
  }
  return undefined;
}
