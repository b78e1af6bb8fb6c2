import { type IntegerDType, integerTypes } from "../../src/dtypes.ts";
import { checkGranularity, type Granularity, scaleShapeOf } from "../../src/engine/tensors/granularity.ts";
import { between, mixed, normals } from "./random.ts";
import { groupsOf } from "./reference.ts";

export interface Arrangement extends Granularity {
  readonly shape: readonly number[];
}

/** Odd sizes; channels first, last and in between; blocks with tails. */
export const perTensor: readonly Arrangement[] = [[], [1], [7], [3, 5, 7], [1001]].map((shape) => ({ shape }));

export const perAxis: readonly Arrangement[] = [
  { shape: [5, 3, 7], axis: 0 },
  { shape: [5, 3, 7], axis: 1 },
  { shape: [5, 3, 7], axis: -1 },
  { shape: [2, 33, 5, 3], axis: 1 },
  { shape: [67, 9], axis: 1 },
];

export const inBlocksOfRows: readonly Arrangement[] = [
  { shape: [5, 13], axis: 1, blockSize: 4 },
  { shape: [3, 77], axis: -1, blockSize: 32 },
  { shape: [2, 3, 37], axis: 2, blockSize: 16 },
  { shape: [3, 5], axis: 1, blockSize: 8 },
];

export const inBlocksOfColumns: readonly Arrangement[] = [
  { shape: [5, 7], axis: 0, blockSize: 2 },
  { shape: [3, 10, 5], axis: 1, blockSize: 4 },
  { shape: [2, 7, 5, 3], axis: 1, blockSize: 3 },
  { shape: [37, 3, 5], axis: 0, blockSize: 16 },
];

export const arrangements = [...perTensor, ...perAxis, ...inBlocksOfRows, ...inBlocksOfColumns];

/** Of more elements than the engine takes at a time. */
export const large: readonly Arrangement[] = [
  { shape: [70_001] },
  { shape: [3, 25_013], axis: 0 },
  { shape: [25_013, 3], axis: 1 },
  { shape: [3, 25_013], axis: 1, blockSize: 128 },
  { shape: [25_013, 3], axis: 0, blockSize: 128 },
];

export function nameOf({ shape, axis, blockSize }: Arrangement): string {
  const blocks = blockSize === undefined ? "" : ` in blocks of ${blockSize}`;
  return `[${shape.join(", ")}]${axis === undefined ? "" : ` axis ${axis}`}${blocks}`;
}

export function elementsIn(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function groupCountOf(arrangement: Arrangement): number {
  return elementsIn(scaleShapeOf(arrangement.shape, checkGranularity(arrangement.shape, arrangement)));
}

export interface Parameters {
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
}

/** Scales of many magnitudes and both signs, every other one a power of two, so that ties are exact; any zero point. */
export function randomParameters(random: () => number, groups: number, dtype: IntegerDType): Parameters {
  const scale = Float32Array.from({ length: groups }, () => {
    const magnitude = 2 ** between(random, -20, 10) * (random() < 0.5 ? 1 : 0.5 + random());
    return random() < 0.2 ? -magnitude : magnitude;
  });
  const { min, max } = integerTypes[dtype];
  // DequantizeLinear takes int32 with zero points of 0 alone.
  const zeroPoint = Int32Array.from(scale, () => (dtype === "int32" ? 0 : between(random, min, max)));
  return { scale, zeroPoint };
}

/**
 * Values about the size of their group's codes, a third of them ties between two codes, some of them far outside; none
 * so far that x / scale leaves int32, `beyond` apart, which are mixed in.
 */
export function valuesFor(
  random: () => number,
  { shape, scale, zeroPoint, ...granularity }: Arrangement & Parameters,
  dtype: IntegerDType,
  beyond: readonly number[] = [],
): Float32Array {
  const groups = groupsOf(shape, granularity);
  const { min, max } = integerTypes[dtype];
  const far = mixed(random, groups.length);
  const spread = normals(random, groups.length, (max - min) / 4);
  return Float32Array.from(groups, (group, i) => {
    if (beyond.length > 0 && random() < 0.3) return beyond[between(random, 0, beyond.length - 1)]!;
    const s = scale[group]!;
    const kind = random();
    if (kind < 0.2 && Math.abs(far[i]! / s) < 2 ** 30) return far[i]!;
    const code = kind < 0.55 ? between(random, min - 2, max + 2) + 0.5 : spread[i]! + (min + max) / 2;
    return (code - zeroPoint[group]!) * s;
  });
}

/** Finite float16 of any magnitude from `smallest` on, as bits. */
export function halves(random: () => number, n: number, smallest = 0): Uint16Array {
  return Uint16Array.from({ length: n }, () => between(random, smallest, 0x7bff) | (random() < 0.5 ? 0x8000 : 0));
}
