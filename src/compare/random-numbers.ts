/** Random numbers, the same on every machine: integer operations, and sums that float64 holds exactly. */
export interface Random {
  /** A whole number in [0, limit), for a limit up to 2^32. */
  below(limit: number): number;
  /** Nearly standard normal: mean 0, variance 1, never beyond 6. */
  normal(): number;
}

/** The generator (xoshiro128**) of one of many streams that belong to `seed`. */
export function randomOf(seed: number, stream: number): Random {
  const mix = splitmix(seed ^ Math.imul(stream, 0x7feb352d));
  const next = xoshiro(mix(), mix(), mix(), mix() | 1); // never all zero
  const uniform = () => next() / 2 ** 32;
  return {
    below: (limit) => Math.floor(uniform() * limit),
    // twelve uniform numbers have a variance of 1; logarithms and cosines differ from engine to engine
    normal: () => {
      let sum = -6;
      for (let i = 0; i < 12; i++) sum += uniform();
      return sum;
    },
  };
}

/** Spreads seeds that are alike over all 32 bits. */
function splitmix(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

/** https://prng.di.unimi.it/xoshiro128starstar.c */
function xoshiro(a: number, b: number, c: number, d: number): () => number {
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result;
  };
}

function rotate(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}
