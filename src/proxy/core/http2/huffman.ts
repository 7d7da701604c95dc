/**
 * The Huffman code of header strings (RFC 7541, appendix B). It is canonical, so the lengths say it
 * all: one letter per symbol, `a` = 5 bits, the 257th is EOS.
 */
const LENGTHS =
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijb" +
  "kabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs" +
  "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz";
const EOS = 256;

interface Code {
  readonly symbol: number;
  readonly bits: number;
  readonly length: number;
}

function canonicalCodes(): readonly Code[] {
  const lengths = [...LENGTHS].map((letter) => letter.charCodeAt(0) - 92);
  const symbols = lengths.map((_, symbol) => symbol);
  symbols.sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b);
  const codes: Code[] = [];
  let bits = 0;
  let before = 0;
  for (const symbol of symbols) {
    const length = lengths[symbol] ?? 0;
    bits *= 2 ** (length - before);
    before = length;
    codes.push({ symbol, bits, length });
    bits += 1;
  }
  return codes;
}

const FAIL = -1;
/** A symbol ends inside the step, in bits 8 to 15. */
const EMITS = 1 << 16;

/**
 * A step per state and half byte: the next state in bits 17 and up, a symbol when one ends.
 * States are the inner nodes of the code's tree.
 */
function buildSteps(): { steps: Int32Array; accepting: Uint8Array } {
  // children[2n] and [2n+1]: an inner node, or -2 - symbol for a leaf.
  const children: number[] = [0, 0];
  for (const { symbol, bits, length } of canonicalCodes()) {
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit -= 1) {
      const slot = node * 2 + (Math.floor(bits / 2 ** bit) % 2);
      if (bit === 0) {
        children[slot] = -2 - symbol;
      } else {
        let next = children[slot] ?? 0;
        if (next === 0) {
          next = children.length / 2;
          children.push(0, 0);
          children[slot] = next;
        }
        node = next;
      }
    }
  }
  const states = children.length / 2;
  const steps = new Int32Array(states * 16);
  for (let state = 0; state < states; state += 1) {
    for (let nibble = 0; nibble < 16; nibble += 1) {
      steps[state * 16 + nibble] = step(children, state, nibble);
    }
  }
  return { steps, accepting: acceptingStates(children) };
}

function step(children: readonly number[], state: number, nibble: number): number {
  let node = state;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit -= 1) {
    const next = children[node * 2 + ((nibble >> bit) & 1)] ?? 0;
    if (next >= 0) {
      node = next;
      continue;
    }
    const symbol = -2 - next;
    // EOS inside a string is an error (§5.2).
    if (symbol === EOS) return FAIL;
    emitted = EMITS | (symbol << 8);
    node = 0;
  }
  return node * 131_072 + emitted;
}

/** Padding is at most seven of EOS's leading bits, all ones (§5.2). */
function acceptingStates(children: readonly number[]): Uint8Array {
  const accepting = new Uint8Array(children.length / 2);
  let node = 0;
  for (let depth = 0; depth <= 7; depth += 1) {
    accepting[node] = 1;
    node = children[node * 2 + 1] ?? 0;
  }
  return accepting;
}

const { steps: STEPS, accepting: ACCEPTING } = buildSteps();

/**
 * Decodes `bytes[start..end)` into `target`, which holds at least 8/5 of the input. Returns the
 * number of bytes written, or -1 for a string that no encoder makes.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
): number {
  let state = 0;
  let length = 0;
  for (let position = start; position < end; position += 1) {
    const byte = bytes[position] ?? 0;
    const high = STEPS[state * 16 + (byte >> 4)] ?? FAIL;
    if (high < 0) return FAIL;
    if ((high & EMITS) !== 0) {
      target[length] = (high >> 8) & 0xff;
      length += 1;
    }
    const low = STEPS[(high >> 17) * 16 + (byte & 15)] ?? FAIL;
    if (low < 0) return FAIL;
    if ((low & EMITS) !== 0) {
      target[length] = (low >> 8) & 0xff;
      length += 1;
    }
    state = low >> 17;
  }
  return ACCEPTING[state] === 1 ? length : FAIL;
}
