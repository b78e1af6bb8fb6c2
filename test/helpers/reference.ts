import type { Axis, Granularity } from "../../src/core/granularity.ts";

// The number contract written down a second time, element by element and with nothing shared with src/: what the engine
// is held to.

export type CodeType = "int8" | "uint8" | "int16" | "uint16" | "int4" | "uint4";

export const fullRange: Record<CodeType, [number, number]> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int4: [-8, 7],
  uint4: [0, 15],
};

const symmetricRange: Partial<Record<CodeType, [number, number]>> = { int8: [-127, 127], int16: [-32767, 32767] };

const reducedRange: Record<CodeType, [number, number]> = {
  int8: [-64, 64],
  uint8: [0, 127],
  int16: [-16384, 16384],
  uint16: [0, 32767],
  int4: [-4, 3],
  uint4: [0, 7],
};

export function halfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

let last = { key: "", groups: [] as readonly number[] };

/** The group of each element, numbered row-major. Those asked for last are remembered: tests ask in a row. */
export function groupsOf(shape: readonly number[], { axis, blockSize }: Granularity): readonly number[] {
  const key = JSON.stringify([shape, axis, blockSize]);
  if (last.key !== key) last = { key, groups: groupsAnew(shape, { axis, blockSize }) };
  return last.groups;
}

function groupsAnew(shape: readonly number[], { axis, blockSize }: Pick<Granularity, "axis" | "blockSize">): number[] {
  const n = shape.reduce((a, b) => a * b, 1);
  const axes = axesOf(shape.length, axis, blockSize);
  return Array.from({ length: n }, (_, flat) => {
    const index: number[] = [];
    for (let d = shape.length - 1, rest = flat; d >= 0; d--) {
      index[d] = rest % shape[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    let group = 0;
    for (let d = 0; d < shape.length; d++) {
      if (blockSize !== undefined) {
        const size = d === axes[0] ? blockSize : 1;
        group = group * Math.ceil(shape[d]! / size) + Math.floor(index[d]! / size);
      } else if (axes.includes(d)) group = group * shape[d]! + index[d]!;
    }
    return group;
  });
}

function axesOf(rank: number, axis: Axis | undefined, blockSize: number | undefined): number[] {
  const front = (a: number) => (a < 0 ? a + rank : a);
  if (axis === undefined) return blockSize === undefined ? [] : [rank - 1];
  if (typeof axis === "number") return [front(axis)];
  const [first, last] = [front(axis[0]), front(axis[1])];
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

export interface Expected {
  scale: Float32Array;
  zeroPoint: Int32Array;
  min: Float32Array;
  codes: number[];
  values: Float32Array;
}

export interface How {
  dtype: CodeType;
  scheme: "affine" | "symmetric" | "minmax" | "dynamic";
  reduceRange: boolean;
  granularity: Granularity;
}

/** Scale and zero point of one group by section 1 of ONNX Runtime's conventions, and the two other schemes. */
function parameters(
  low: number,
  high: number,
  how: How,
): { scale: number; zeroPoint: number; min: number; span: number } {
  const { dtype, scheme, reduceRange } = how;
  const [qmin, qmax] = reduceRange
    ? reducedRange[dtype]
    : scheme === "symmetric"
      ? (symmetricRange[dtype] ?? fullRange[dtype])
      : fullRange[dtype];
  const f = Math.fround;
  if (scheme === "minmax") {
    const span = f(high - low);
    return { scale: f(span / (qmax - qmin)), zeroPoint: qmin, min: low + 0, span };
  }
  if (scheme === "symmetric" && dtype === "int4" && how.granularity.blockSize !== undefined) {
    const scale = f((Math.abs(low) >= Math.abs(high) ? low : high) / qmin);
    return Math.abs(scale) < 2 ** -126
      ? { scale: 1, zeroPoint: 0, min: 0, span: 0 }
      : { scale, zeroPoint: 0, min: 0, span: 0 };
  }
  let rmin = Math.min(low, 0);
  let rmax = Math.max(high, 0);
  if (scheme === "dynamic") {
    const span = Number.isFinite(f(rmax - rmin)) ? f(rmax - rmin) : rmax - rmin;
    const scale = f(span / 255) || 1;
    const initial = f(0 - f(rmin / scale));
    return { scale, zeroPoint: halfToEven(Math.min(255, Math.max(0, initial))), min: 0, span: 0 };
  }
  if (scheme === "symmetric") {
    rmax = Math.max(Math.abs(rmin), Math.abs(rmax));
    rmin = -rmax;
  }
  const dr = Number.isFinite(f(rmax - rmin)) ? f(rmax - rmin) : rmax - rmin;
  const scale = dr / (qmax - qmin);
  if (scale < 2 ** -126) return { scale: 1, zeroPoint: 0, min: 0, span: 0 };
  const zeroPoint = halfToEven(scheme === "symmetric" ? (qmin + qmax) / 2 : qmin - rmin / scale);
  return { scale: f(scale), zeroPoint: zeroPoint + 0, min: 0, span: 0 };
}

/** Everything the engine should find for finite data. */
export function expected(data: Float32Array, shape: readonly number[], groupCount: number, how: How): Expected {
  const groups = groupsOf(shape, how.granularity);
  const low = new Array<number>(groupCount).fill(Number.POSITIVE_INFINITY);
  const high = new Array<number>(groupCount).fill(Number.NEGATIVE_INFINITY);
  data.forEach((x, i) => {
    low[groups[i]!] = Math.min(low[groups[i]!]!, x);
    high[groups[i]!] = Math.max(high[groups[i]!]!, x);
  });
  const params = low.map((l, g) =>
    parameters(Number.isFinite(l) ? l : 0, Number.isFinite(high[g]!) ? high[g]! : 0, how),
  );
  const [lowest, highest] = fullRange[how.dtype];
  const [qmin, qmax] = how.reduceRange ? reducedRange[how.dtype] : fullRange[how.dtype];
  const f = Math.fround;
  const codes = Array.from(data, (x, i) => {
    const { scale, zeroPoint, min, span } = params[groups[i]!]!;
    const exact =
      how.scheme === "minmax"
        ? halfToEven(f(f(f(f(x - min) / span) * (qmax - qmin)) + qmin))
        : halfToEven(f(x / scale)) + zeroPoint;
    const least = how.scheme === "minmax" ? qmin : lowest;
    return Number.isNaN(exact) ? least : Math.min(highest, Math.max(least, exact)) + 0;
  });
  const values = Float32Array.from(codes, (q, i) => {
    const { scale, zeroPoint, min } = params[groups[i]!]!;
    const scaled = f((q - zeroPoint) * scale);
    return how.scheme === "minmax" ? scaled + min : scaled;
  });
  return {
    scale: Float32Array.from(params, (p) => p.scale),
    zeroPoint: Int32Array.from(params, (p) => p.zeroPoint),
    min: Float32Array.from(params, (p) => p.min),
    codes,
    values,
  };
}

/** Codes from how they are stored: 4-bit ones two to a byte, low nibble first. */
export function unpacked(dtype: string, data: ArrayLike<number>, elements: number): number[] {
  if (dtype !== "int4" && dtype !== "uint4") return Array.from(data);
  return Array.from({ length: elements }, (_, i) => {
    const nibble = (data[i >> 1]! >> (4 * (i % 2))) & 15;
    return dtype === "int4" && nibble > 7 ? nibble - 16 : nibble;
  });
}
