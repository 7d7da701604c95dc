/** RE2's own limit for `x{n,m}`. */
const MAX_REPEAT = 1000;
/** What expanded repetitions may add up to; RE2 bounds the program's size likewise. */
const MAX_SOURCE_LENGTH = 200_000;

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

/** Escapes that stand for sets of characters, as they are written inside brackets. */
const SETS: Readonly<Record<string, string>> = {
  d: "0-9",
  D: "\\x00-\\/:-\\uffff",
  w: "0-9A-Za-z_",
  W: "\\x00-\\/:-@\\[-\\^`{-\\uffff",
  s: "\\t\\n\\f\\r ",
  S: "\\x00-\\x08\\x0b\\x0e-\\x1f!-\\uffff",
};

const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly ungreedy: boolean;
}

/** A piece of JavaScript's syntax; `silent` is the same without capturing, for further copies. */
interface Piece {
  readonly text: string;
  readonly silent: string;
}

/**
 * The source of a JavaScript RegExp (without flags) that means what an RE2 pattern means, written so
 * that V8's linear engine can run it: that engine has neither flags nor counted repetition, so letters
 * become sets and repetitions are spelt out. Unicode properties hold for ASCII only: texts are bytes.
 * Throws SyntaxError for what RE2 does not have. Source: https://github.com/google/re2/wiki/Syntax
 */
export function translateRe2(pattern: string): string {
  const reader = new Reader(pattern);
  const { text } = reader.alternatives({ ignoreCase: false, dotAll: false, ungreedy: false });
  if (!reader.isAtEnd) throw new SyntaxError("unexpected )");
  return text;
}

class Reader {
  readonly #pattern: string;
  #position = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  get isAtEnd(): boolean {
    return this.#position >= this.#pattern.length;
  }

  /** Reads up to the group's `)` or the end. Flags set inside hold until then. */
  alternatives(outer: Flags): Piece {
    let flags = outer;
    let [text, silent] = ["", ""];
    while (!this.isAtEnd && this.#peek() !== ")") {
      const setting = this.#take(/\(\?([imsU]*)(-[imsU]+)?\)/y);
      if (setting !== undefined) {
        flags = withFlags(flags, setting[1] ?? "", setting[2] ?? "");
        continue;
      }
      const piece = this.#peek() === "|" ? this.#literal("|") : this.#repeated(flags);
      text += piece.text;
      silent += piece.silent;
      if (text.length > MAX_SOURCE_LENGTH) throw new SyntaxError("pattern too large");
    }
    return { text, silent };
  }

  #literal(text: string): Piece {
    this.#position += 1;
    return { text, silent: text };
  }

  #repeated(flags: Flags): Piece {
    const atom = this.#atom(flags);
    const quantifier = this.#take(/(?:[*+?]|\{(\d+)(,(\d*))?\})(\??)/y);
    if (quantifier === undefined) return atom;
    if (this.#take(/[*+?]|\{\d+(?:,\d*)?\}/y) !== undefined) {
      throw new SyntaxError("bad repetition operator: possessive or repeated quantifier");
    }
    const lazy = (quantifier[4] === "?") !== flags.ungreedy ? "?" : "";
    if (quantifier[1] === undefined) {
      const sign = (quantifier[0] ?? "").charAt(0) + lazy;
      return { text: group(atom.text) + sign, silent: group(atom.silent) + sign };
    }
    const least = Number(quantifier[1]);
    const most =
      quantifier[2] === undefined
        ? least
        : quantifier[3] === ""
          ? undefined
          : Number(quantifier[3]);
    return repeat(atom, least, most, lazy);
  }

  #atom(flags: Flags): Piece {
    const next = this.#peek();
    if (next === "(") return this.#group(flags);
    if (next === "[") return same(this.#characterClass(flags));
    if (next === "\\") return same(this.#escape(flags));
    if (/[*+?]/.test(next) || this.#matches(/\{\d+(?:,\d*)?\}/y)) {
      throw new SyntaxError(`missing argument to repetition operator: ${next}`);
    }
    this.#position += 1;
    if (next === ".") return same(flags.dotAll ? "[^]" : "[^\\n]");
    // Texts have no line ends, so that flag m changes nothing.
    if (next === "^" || next === "$") return same(next);
    return same(character(next, flags));
  }

  #group(flags: Flags): Piece {
    if (this.#take(/\(\?(?:=|!|<=|<!)/y) !== undefined) {
      throw new SyntaxError("look-around is not part of RE2");
    }
    const named = this.#take(/\(\?P?<([A-Za-z_]\w*)>/y);
    const scoped = named === undefined ? this.#take(/\(\?([imsU]*)(-[imsU]+)?:/y) : undefined;
    if (named === undefined && scoped === undefined) {
      if (this.#take(/\(\?/y) !== undefined) throw new SyntaxError("invalid group");
      this.#position += 1;
    }
    const inner = this.alternatives(
      scoped === undefined ? flags : withFlags(flags, scoped[1] ?? "", scoped[2] ?? ""),
    );
    if (this.#take(/\)/y) === undefined) throw new SyntaxError("missing )");
    const silent = `(?:${inner.silent})`;
    if (scoped !== undefined) return { text: `(?:${inner.text})`, silent };
    const opening = named === undefined ? "(" : `(?<${named[1]}>`;
    return { text: `${opening}${inner.text})`, silent };
  }

  #escape(flags: Flags): string {
    const quoted = this.#take(/\\Q([\s\S]*?)(?:\\E|$)/y);
    if (quoted !== undefined) {
      const literal = [...(quoted[1] ?? "")].map((text) => character(text, flags)).join("");
      return literal === "" ? "(?:)" : `(?:${literal})`;
    }
    const anchor = this.#take(/\\([AzbB])/y)?.[1];
    if (anchor !== undefined) return anchor === "A" ? "^" : anchor === "z" ? "$" : `\\${anchor}`;
    const set = this.#set();
    if (set !== undefined) return `[${set}]`;
    return character(String.fromCharCode(this.#escapedCode()), flags);
  }

  /** `\d`, `\pL` and their like, as they stand inside brackets. */
  #set(): string | undefined {
    const named = this.#take(/\\([dDwWsS])/y)?.[1];
    if (named !== undefined) return SETS[named];
    const property = this.#take(/\\([pP])(?:([A-Z])|\{(\^?)(\w+)\})/y);
    if (property === undefined) return undefined;
    const isNegated = (property[1] === "P") !== (property[3] === "^");
    return propertySet(property[2] ?? property[4] ?? "", isNegated);
  }

  /** The code of an escaped character. */
  #escapedCode(): number {
    const hex = this.#take(/\\x(?:\{([0-9a-fA-F]{1,4})\}|([0-9a-fA-F]{2}))/y);
    if (hex !== undefined) return Number.parseInt(hex[1] ?? hex[2] ?? "", 16);
    if (this.#matches(/\\[1-9]|\\k</y)) {
      throw new SyntaxError("back-references are not part of RE2");
    }
    const octal = this.#take(/\\(0[0-7]{0,2})/y)?.[1];
    if (octal !== undefined) return Number.parseInt(octal, 8);
    const next = this.#pattern.charAt(this.#position + 1);
    if (next === "") throw new SyntaxError("trailing \\");
    const control = CONTROLS[next];
    if (control === undefined && /[A-Za-z0-9]/.test(next)) {
      throw new SyntaxError(`invalid escape sequence \\${next}`);
    }
    this.#position += 2;
    return control ?? next.charCodeAt(0);
  }

  #characterClass(flags: Flags): string {
    const opening = this.#take(/\[\^?/y)?.[0] ?? "";
    let out = opening;
    // A "]" in the first place is a literal.
    for (let isFirst = true; isFirst || this.#peek() !== "]"; isFirst = false) {
      if (this.isAtEnd) throw new SyntaxError("missing closing ]");
      out += this.#classItem(flags);
    }
    this.#position += 1;
    return `${out}]`;
  }

  #classItem(flags: Flags): string {
    const posix = this.#take(/\[:(\^?)(\w+):\]/y);
    if (posix !== undefined) {
      const set = POSIX_CLASSES[posix[2] ?? ""];
      if (set === undefined || posix[1] === "^") {
        throw new SyntaxError(`invalid character class ${posix[0]}`);
      }
      const isLetters = posix[2] === "upper" || posix[2] === "lower";
      return flags.ignoreCase && isLetters ? "A-Za-z" : set;
    }
    const set = this.#peek() === "\\" ? this.#set() : undefined;
    if (set !== undefined) return set;
    const first = this.#classCode();
    if (!this.#matches(/-[^\]]/y)) return range(first, first, flags);
    this.#position += 1;
    const last = this.#classCode();
    if (last < first) throw new SyntaxError("invalid character class range");
    return range(first, last, flags);
  }

  #classCode(): number {
    if (this.isAtEnd) throw new SyntaxError("missing closing ]");
    if (this.#peek() === "\\") return this.#escapedCode();
    const code = this.#pattern.charCodeAt(this.#position);
    this.#position += 1;
    return code;
  }

  #peek(): string {
    return this.#pattern.charAt(this.#position);
  }

  /** Whether a sticky expression matches here. */
  #matches(expression: RegExp): boolean {
    expression.lastIndex = this.#position;
    return expression.test(this.#pattern);
  }

  /** What a sticky expression matches here, taken. */
  #take(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.#position;
    const found = expression.exec(this.#pattern);
    if (found === null) return undefined;
    this.#position += found[0].length;
    return found;
  }
}

function same(text: string): Piece {
  return { text, silent: text };
}

function withFlags(flags: Flags, on: string, off: string): Flags {
  const value = (letter: string, before: boolean): boolean =>
    off.includes(letter) ? false : on.includes(letter) || before;
  return {
    ignoreCase: value("i", flags.ignoreCase),
    dotAll: value("s", flags.dotAll),
    ungreedy: value("U", flags.ungreedy),
  };
}

/** An atom as one, so that a quantifier may follow: anchors cannot be repeated bare. */
function group(atom: string): string {
  return atom.startsWith("(") || atom.startsWith("[") ? atom : `(?:${atom})`;
}

/** `x{least,most}` spelt out: xx, then x?x? or x*. The last copy captures, as the last round does. */
function repeat(atom: Piece, least: number, most: number | undefined, lazy: string): Piece {
  if (least > MAX_REPEAT || (most ?? 0) > MAX_REPEAT || (most !== undefined && most < least)) {
    throw new SyntaxError("invalid repetition size");
  }
  const spell = (last: string): string => {
    if (most === undefined) {
      return least === 0
        ? `${group(last)}*${lazy}`
        : `${group(atom.silent).repeat(least - 1)}${group(last)}+${lazy}`;
    }
    if (most === 0) return "(?:)";
    // Nested, or else x?x?x? could skip the first and match the second.
    const optional = most - least;
    const tail = `(?:${group(atom.silent)}`.repeat(optional) + `)?${lazy}`.repeat(optional);
    if (least === 0) {
      const inner = `(?:${group(atom.silent)}`.repeat(most - 1) + `)?${lazy}`.repeat(most - 1);
      return `(?:${group(last)}${inner})?${lazy}`;
    }
    return `${group(atom.silent).repeat(least - 1)}${group(last)}${tail}`;
  };
  if ((atom.silent.length + 8) * Math.max(least, most ?? 0) > MAX_SOURCE_LENGTH) {
    throw new SyntaxError("pattern too large");
  }
  return { text: `(?:${spell(atom.text)})`, silent: `(?:${spell(atom.silent)})` };
}

function character(text: string, flags: Flags): string {
  const code = text.charCodeAt(0);
  const other = flags.ignoreCase ? otherCase(code) : undefined;
  if (text.length > 1)
    return text
      .split("")
      .map((unit) => character(unit, flags))
      .join("");
  return other === undefined ? escaped(code) : `[${escaped(code)}${escaped(other)}]`;
}

function otherCase(code: number): number | undefined {
  const isUpper = code >= 65 && code <= 90;
  const isLower = code >= 97 && code <= 122;
  return isUpper || isLower ? code ^ 32 : undefined;
}

function range(first: number, last: number, flags: Flags): string {
  let out = first === last ? escaped(first) : `${escaped(first)}-${escaped(last)}`;
  if (!flags.ignoreCase) return out;
  for (const start of [65, 97]) {
    const [low, high] = [Math.max(first, start), Math.min(last, start + 25)];
    if (low <= high) out += `${escaped(low ^ 32)}-${escaped(high ^ 32)}`;
  }
  return out;
}

function escaped(code: number): string {
  const text = String.fromCharCode(code);
  if (/[A-Za-z0-9_]/.test(text)) return text;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

/** The ASCII characters of a Unicode property; beyond ASCII there are bytes, which have none. */
function propertySet(name: string, isNegated: boolean): string {
  const property = propertyRegExp(name);
  let out = "";
  for (let code = 0; code < 128; code += 1) {
    if (property.test(String.fromCharCode(code)) !== isNegated) out += escaped(code);
  }
  return isNegated ? `${out}\\u0080-\\uffff` : out;
}

function propertyRegExp(name: string): RegExp {
  for (const property of [name, `Script=${name}`]) {
    try {
      return new RegExp(`\\p{${property}}`, "u");
    } catch {
      // Not a category; perhaps a script.
    }
  }
  throw new SyntaxError(`invalid character class range \\p{${name}}`);
}
