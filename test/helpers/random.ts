/** A seeded generator (mulberry32): numbers in [0, 1). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A whole number in [low, high]. */
export function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

/** Roughly normal values, as weights are. */
export function normals(random: () => number, n: number, deviation = 1): Float32Array {
  const values = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    values[i] = deviation * radius * Math.cos(2 * Math.PI * random());
  }
  return values;
}

const drawn = new Map<string, Float32Array>();

/** Normal values by their seed. They are drawn once: many tests take the same ones. */
export function normalsOf(seed: number, n: number, deviation = 1): Float32Array {
  const key = `${seed} ${n} ${deviation}`;
  const values = drawn.get(key) ?? normals(randomOf(seed), n, deviation);
  drawn.set(key, values);
  return values.slice();
}

/** Finite values that arithmetic goes wrong on: zeros of both signs, halves, subnormals, the largest there are. */
export const awkward: readonly number[] = [
  0, -0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 126.5, 127.5, -127.5, -128.5, 254.5, 255.5, 32767.5, 65534.5, 1e-45, -1e-45,
  1.17549435e-38, 3.4028234e38, -3.4028234e38, 4194304.5, 8388607.5, -8388608, 16777216, 2147483648, -2147483904, 1e30,
];

export const nonFinite: readonly number[] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/** Normal values with every `awkward` one, and `extra`, mixed in. */
export function mixed(random: () => number, n: number, extra: readonly number[] = []): Float32Array {
  const specials = [...awkward, ...extra];
  return normals(random, n, 40).map((x) => (random() < 0.3 ? specials[between(random, 0, specials.length - 1)]! : x));
}
