import type { envoy_type_matcher_v3_RegexMatcher } from "../../../xds/index.ts";
import type { Scope } from "./scope.ts";

/** RE2's own limit is on program size; this bounds what one resource may cost to compile. */
const MAX_PATTERN_LENGTH = 8192;

const POSIX_CLASSES: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7f",
  blank: "\\t ",
  cntrl: "\\x00-\\x1f\\x7f",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "0-9A-Za-z_",
  xdigit: "0-9A-Fa-f",
};

/**
 * Compiles an RE2 pattern to a RegExp that must match the whole text, as Envoy's safe_regex does.
 * What RE2 lacks (back-references, look-around) is refused, so that V8's linear engine can take
 * over from backtracking (`proxy/regexp-engine.ts`). Undefined after recording a problem.
 * Source: https://github.com/google/re2/wiki/Syntax
 */
export function compileRegex(
  matcher: envoy_type_matcher_v3_RegexMatcher | null | undefined,
  scope: Scope,
): RegExp | undefined {
  return compilePattern(matcher?.regex ?? "", scope.at("regex"), (source) => [
    `^(?:${source})$`,
    "",
  ]);
}

/** As compileRegex, but for a replacement: finds every place in the text where the pattern matches. */
export function compileSearchRegex(
  matcher: envoy_type_matcher_v3_RegexMatcher | null | undefined,
  scope: Scope,
): RegExp | undefined {
  return compilePattern(matcher?.regex ?? "", scope.at("regex"), (source) => [source, "g"]);
}

function compilePattern(
  pattern: string,
  place: Scope,
  build: (source: string) => readonly [source: string, flags: string],
): RegExp | undefined {
  if (pattern === "") {
    place.fail("must not be empty");
    return undefined;
  }
  if (pattern.length > MAX_PATTERN_LENGTH) {
    place.fail(`must be at most ${MAX_PATTERN_LENGTH} characters`);
    return undefined;
  }
  try {
    const [source, flags] = build(translate(pattern));
    return new RegExp(source, /\\p/i.test(pattern) ? `${flags}u` : flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    place.fail(`not a valid RE2 expression: ${reason}`);
    return undefined;
  }
}

/** RE2 syntax to JavaScript's. Throws on constructs that RE2 does not have. */
function translate(pattern: string): string {
  let out = "";
  let closing = "";
  let i = 0;
  while (i < pattern.length) {
    const rest = pattern.slice(i);
    const flags = /^\(\?([imsU]+)\)/.exec(rest);
    if (flags !== null) {
      // A bare flag group reaches to the end of the expression.
      if (flags[1]?.includes("U")) throw new SyntaxError("flag U is not supported");
      out += `(?${flags[1]}:`;
      closing += ")";
      i += flags[0].length;
      continue;
    }
    const [text, length] = nextPiece(rest);
    out += text;
    i += length;
  }
  return out + closing;
}

function nextPiece(rest: string): readonly [text: string, length: number] {
  if (rest.startsWith("\\")) return escapeSequence(rest);
  if (rest.startsWith("[")) return characterClass(rest);
  if (/^\(\?(?:=|!|<=|<!)/.test(rest)) throw new SyntaxError("look-around is not part of RE2");
  if (rest.startsWith("(?P<")) return ["(?<", 4];
  if (/^(?:[*+?]|\{\d+(?:,\d*)?\})[+]/.test(rest)) {
    throw new SyntaxError("bad repetition operator: possessive or repeated quantifier");
  }
  return [rest.charAt(0), 1];
}

function escapeSequence(rest: string): readonly [text: string, length: number] {
  const next = rest.charAt(1);
  if (/[1-9]/.test(next) || /^\\k</.test(rest)) {
    throw new SyntaxError("back-references are not part of RE2");
  }
  if (next === "A") return ["^", 2];
  if (next === "z") return ["$", 2];
  if (next === "Q") {
    const end = rest.indexOf("\\E");
    const literal = end === -1 ? rest.slice(2) : rest.slice(2, end);
    return [literal.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), end === -1 ? rest.length : end + 2];
  }
  const hex = /^\\x\{([0-9a-fA-F]{1,4})\}/.exec(rest);
  if (hex !== null) return [`\\u${(hex[1] ?? "").padStart(4, "0")}`, hex[0].length];
  if (/[a-zA-Z]/.test(next) && !/[abBcdDfnrsStvwWpPx]/.test(next)) {
    throw new SyntaxError(`invalid escape sequence \\${next}`);
  }
  const property = /^\\[pP][A-Z]/.exec(rest);
  if (property !== null) return [`\\${next}{${rest.charAt(2)}}`, 3];
  if (next === "a") return ["\\x07", 2];
  return [rest.slice(0, 2), 2];
}

function characterClass(rest: string): readonly [text: string, length: number] {
  let out = rest.startsWith("[^") ? "[^" : "[";
  let i = out.length;
  // A "]" in the first place is a literal in RE2.
  if (rest.charAt(i) === "]") {
    out += "\\]";
    i += 1;
  }
  while (i < rest.length && rest.charAt(i) !== "]") {
    const posix = /^\[:(\w+):\]/.exec(rest.slice(i));
    if (posix !== null) {
      const set = POSIX_CLASSES[posix[1] ?? ""];
      if (set === undefined) throw new SyntaxError(`invalid character class ${posix[0]}`);
      out += set;
      i += posix[0].length;
    } else if (rest.charAt(i) === "\\") {
      const [text, length] = escapeSequence(rest.slice(i));
      out += text;
      i += length;
    } else {
      out += rest.charAt(i) === "[" ? "\\[" : rest.charAt(i);
      i += 1;
    }
  }
  if (i >= rest.length) throw new SyntaxError("missing closing ]");
  return [`${out}]`, i + 1];
}
