const CONTEXT = 3;
/** Beyond this many differing lines the middle is shown as replaced, which is right, if not shortest. */
const MAX_EDITS = 500;

interface Edit {
  readonly kind: " " | "-" | "+";
  readonly line: string;
}

/**
 * The hunks that turn one text into the other, as `diff -u` writes them (three lines of context), with
 * the two names on top; "" for equal texts. Cost: lines × differences.
 */
export function unifiedDiff(
  before: readonly string[],
  after: readonly string[],
  names: readonly [before: string, after: string],
): string {
  const edits = editsOf(before, after);
  const hunks = hunksOf(edits);
  if (hunks.length === 0) return "";
  return [`--- ${names[0]}`, `+++ ${names[1]}`, ...hunks, ""].join("\n");
}

function editsOf(before: readonly string[], after: readonly string[]): readonly Edit[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) {
    start += 1;
  }
  let end = 0;
  const rest = Math.min(before.length, after.length) - start;
  while (end < rest && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const middle = shortestEdits(
    before.slice(start, before.length - end),
    after.slice(start, after.length - end),
  );
  const same = (lines: readonly string[]): Edit[] => lines.map((line) => ({ kind: " ", line }));
  return [...same(before.slice(0, start)), ...middle, ...same(before.slice(before.length - end))];
}

/** Myers' greedy algorithm ("An O(ND) Difference Algorithm", 1986), with its trace walked back. */
function shortestEdits(before: readonly string[], after: readonly string[]): readonly Edit[] {
  const trace: Map<number, number>[] = [];
  let furthest = new Map<number, number>([[1, 0]]);
  const limit = Math.min(before.length + after.length, MAX_EDITS);
  for (let d = 0; d <= limit; d += 1) {
    trace.push(furthest);
    const next = new Map(furthest);
    for (let k = -d; k <= d; k += 2) {
      let x = startOf(furthest, k, d);
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x += 1;
      next.set(k, x);
      if (x >= before.length && x - k >= after.length) return walkedBack(trace, before, after);
    }
    furthest = next;
  }
  return [
    ...before.map((line): Edit => ({ kind: "-", line })),
    ...after.map((line): Edit => ({ kind: "+", line })),
  ];
}

/** Where diagonal `k` begins after `d` edits. */
function startOf(furthest: ReadonlyMap<number, number>, k: number, d: number): number {
  return isAddition(furthest, k, d) ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? -1) + 1;
}

/** Whether it is reached best by adding a line; else by leaving one out. */
function isAddition(furthest: ReadonlyMap<number, number>, k: number, d: number): boolean {
  return k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
}

function walkedBack(
  trace: readonly ReadonlyMap<number, number>[],
  before: readonly string[],
  after: readonly string[],
): readonly Edit[] {
  const edits: Edit[] = [];
  let x = before.length;
  let y = after.length;
  for (const [d, furthest] of [...trace.entries()].reverse()) {
    const k = x - y;
    const from = startOf(furthest, k, d);
    while (x > from) {
      x -= 1;
      y -= 1;
      edits.push({ kind: " ", line: before[x] ?? "" });
    }
    if (d === 0) break;
    if (isAddition(furthest, k, d)) {
      y -= 1;
      edits.push({ kind: "+", line: after[y] ?? "" });
    } else {
      x -= 1;
      edits.push({ kind: "-", line: before[x] ?? "" });
    }
  }
  return edits.reverse();
}

function hunksOf(edits: readonly Edit[]): readonly string[] {
  const changed = edits.flatMap(({ kind }, i) => (kind === " " ? [] : [i]));
  const hunks: [from: number, to: number][] = [];
  for (const at of changed) {
    const last = hunks.at(-1);
    if (last !== undefined && at - CONTEXT <= last[1]) last[1] = at + CONTEXT + 1;
    else hunks.push([Math.max(0, at - CONTEXT), at + CONTEXT + 1]);
  }
  return hunks.flatMap(([from, to]) => {
    const own = edits.slice(from, to);
    const before = edits.slice(0, from);
    const count = (list: readonly Edit[], without: "+" | "-"): number =>
      list.filter(({ kind }) => kind !== without).length;
    const range = (without: "+" | "-"): string => {
      const size = count(own, without);
      const first = count(before, without) + (size === 0 ? 0 : 1);
      return size === 1 ? String(first) : `${first},${size}`;
    };
    return [
      `@@ -${range("+")} +${range("-")} @@`,
      ...own.map(({ kind, line }) => `${kind}${line}`),
    ];
  });
}
