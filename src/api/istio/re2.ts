/** Go's limit on `{n,m}`. */
const MAX_REPEAT = 1000;
const CLASS_ESCAPE =
  /^\\(?:[dDsSwWafnrtv]|[pP](?:\{\^?\w+\}|[A-Z])|x(?:\{[0-9a-fA-F]{1,6}\}|[0-9a-fA-F]{2})|0[0-7]{0,2}|[1-7][0-7]{1,2}|[ -/:-@[-`{-~])/;
const ANCHOR_ESCAPE = /^\\[AzbB]/;
const QUOTED = /^\\Q(?:[^\\]|\\(?!E))*(?:\\E)?/;
const NAMED_GROUP = /^\(\?P?<[A-Za-z_]\w*>/;
const FLAGS = /^\(\?[imsU]*(?:-[imsU]+)?([:)])/;
const REPEAT = /^\{(\d+)(?:,(\d*))?\}/;
const POSIX_CLASS = /^\[:\^?\w+:\]/;

/**
 * Whether a text is an expression of RE2, Envoy's and Istio's engine: it has no look-around, no
 * back-references and no escapes without a meaning.
 * Source: https://github.com/google/re2/wiki/Syntax
 */
export function isRe2(pattern: string): boolean {
  const shape = shapeOf(pattern);
  if (shape === undefined) return false;
  try {
    return new RegExp(shape) instanceof RegExp;
  } catch {
    // Unbalanced, or a repetition of nothing: the caller says where.
    return false;
  }
}

/** An expression of the same shape whose atoms JavaScript knows too; undefined = RE2 has no such thing. */
function shapeOf(pattern: string): string | undefined {
  let out = "";
  let rest = pattern;
  while (rest !== "") {
    const piece = rest.startsWith("[") ? classPiece(rest) : plainPiece(rest);
    if (piece === undefined) return undefined;
    out += piece.shape;
    rest = rest.slice(piece.length);
  }
  return out;
}

interface Piece {
  readonly shape: string;
  readonly length: number;
}

function plainPiece(rest: string): Piece | undefined {
  if (rest.startsWith("\\")) {
    const escaped = (QUOTED.exec(rest) ?? CLASS_ESCAPE.exec(rest) ?? ANCHOR_ESCAPE.exec(rest))?.[0];
    return escaped === undefined ? undefined : { shape: "a", length: escaped.length };
  }
  if (rest.startsWith("(?")) {
    const named = NAMED_GROUP.exec(rest)?.[0];
    if (named !== undefined) return { shape: "(", length: named.length };
    const flags = FLAGS.exec(rest);
    if (flags === null) return undefined;
    return { shape: flags[1] === ":" ? "(?:" : "", length: flags[0].length };
  }
  const repeat = REPEAT.exec(rest);
  if (repeat !== null) {
    const isTooMuch = [repeat[1], repeat[2]].some((bound) => Number(bound ?? 0) > MAX_REPEAT);
    return isTooMuch ? undefined : { shape: repeat[0], length: repeat[0].length };
  }
  const first = rest.charAt(0);
  // RE2 lets an anchor be repeated.
  if (first === "^" || first === "$") return { shape: "(?:)", length: 1 };
  return { shape: first === "{" || first === "}" || first === "]" ? "a" : first, length: 1 };
}

function classPiece(rest: string): Piece | undefined {
  const open = rest.startsWith("[^") ? "[^" : "[";
  let shape = open;
  let at = open.length;
  while (at < rest.length) {
    const tail = rest.slice(at);
    // A bracket that comes first stands for itself.
    if (tail.startsWith("]") && at > open.length) return { shape: `${shape}]`, length: at + 1 };
    const special = POSIX_CLASS.exec(tail)?.[0] ?? CLASS_ESCAPE.exec(tail)?.[0];
    if (special === undefined && tail.startsWith("\\")) return undefined;
    const isLetter = special === undefined && /^[^\][\\^]/.test(tail);
    shape += isLetter ? tail.charAt(0) : `\\${literalOf(special ?? tail)}`;
    at += special?.length ?? 1;
  }
  return undefined;
}

/** What an element of a class stands for in a range; a class of its own stands for itself. */
function literalOf(element: string): string {
  if (/^\\[^A-Za-z0-9]/.test(element)) return element.slice(1, 2);
  return element.startsWith("\\") || element.startsWith("[:") ? "w" : element.charAt(0);
}
