/** A reproducible source of randomness: the same seed gives the same numbers on every machine. */
export interface Random {
  /** An integer in [0, limit). */
  below(limit: number): number;
  /** Whether something of the given probability (0..1) happens. */
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

/** mulberry32 by Tommy Ettinger: 32 bits of state, good enough to choose mutations. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (limit: number): number => (limit <= 1 ? 0 : next() % limit);
  return {
    below,
    chance: (probability) => next() < probability * 2 ** 32,
    pick: (choices) => {
      const choice = choices[below(choices.length)];
      if (choice === undefined) throw new RangeError("pick() from nothing");
      return choice;
    },
  };
}
