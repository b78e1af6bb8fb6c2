/** A stream of random numbers; the same seed gives the same stream everywhere. */
export interface Random {
  /** Evenly distributed in `low` (inclusive) to `high` (exclusive). */
  uniform(low: number, high: number): number;
  /** Normally distributed around 0. */
  normal(deviation: number): number;
  /** True with the probability given. */
  chance(probability: number): boolean;
  /** One of `items`, each as likely as the next. */
  pick<T>(items: readonly T[]): T;
}

/** Chris Doty-Humphrey's sfc32: 128 bits of state, 32 bits a step. Gives numbers in 0 (inclusive) to 1 (exclusive). */
function sfc32(seed: number): () => number {
  let a = 0x9e3779b9;
  let b = 0x243f6a88;
  let c = seed | 0;
  let counter = 1;
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  // The first numbers of neighbouring seeds resemble each other.
  for (let i = 0; i < 16; i++) next();
  return next;
}

export function createRandom(seed: number): Random {
  const next = sfc32(seed);
  return {
    uniform: (low, high) => low + (high - low) * next(),
    // Box and Muller's transform; 1 - next() is never 0, so its logarithm is finite.
    normal: (deviation) => deviation * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    chance: (probability) => next() < probability,
    pick: (items) => items[Math.floor(next() * items.length)]!,
  };
}
