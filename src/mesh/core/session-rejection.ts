const WORD = /[\w.-]/;

/**
 * Whether a client's error names something as a whole word: `x.b` does not name `b`, while
 * `outbound|80||b` and `b.` at the end of a sentence do.
 */
export function mentions(message: string, name: string): boolean {
  for (let at = message.indexOf(name); at >= 0; at = message.indexOf(name, at + 1)) {
    const before = message[at - 1] ?? " ";
    const after = message.slice(at + name.length, at + name.length + 2).replace(/^\.(?!\w)/, " ");
    if (!WORD.test(before) && !WORD.test(after[0] ?? " ")) return true;
  }
  return false;
}
