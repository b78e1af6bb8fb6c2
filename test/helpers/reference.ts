import type { Axis, Granularity } from "../../src/engine/tensors/granularity.ts";

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

let last = { key: "", groups: new Uint32Array() };

/** The group of each element, numbered row-major. Those asked for last are remembered: tests ask in a row. */
export function groupsOf(shape: readonly number[], { axis, blockSize }: Granularity): Uint32Array {
  const key = JSON.stringify([shape, axis, blockSize]);
  if (last.key !== key) last = { key, groups: groupsAnew(shape, { axis, blockSize }) };
  return last.groups;
}

function groupsAnew(shape: readonly number[], { axis, blockSize }: Pick<Granularity, "axis" | "blockSize">) {
  const n = shape.reduce((a, b) => a * b, 1);
  const axes = axesOf(shape.length, axis, blockSize);
  const isGrouped = shape.map((_, d) => axes.includes(d));
  const groups = new Uint32Array(n);
  const index = shape.map(() => 0);
  for (let flat = 0; flat < n; flat++) {
    for (let d = shape.length - 1, rest = flat; d >= 0; d--) {
      index[d] = rest % shape[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    let group = 0;
    for (let d = 0; d < shape.length; d++) {
      if (blockSize !== undefined) {
        const size = d === axes[0] ? blockSize : 1;
        group = group * Math.ceil(shape[d]! / size) + Math.floor(index[d]! / size);
      } else if (isGrouped[d]) group = group * shape[d]! + index[d]!;
    }
    groups[flat] = group;
  }
  return groups;
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
  scheme: "asymmetric" | "symmetric" | "float-offset" | "dynamic";
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
  if (scheme === "float-offset") {
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
  const low = new Float64Array(groupCount).fill(Number.POSITIVE_INFINITY);
  const high = new Float64Array(groupCount).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < data.length; i++) {
    const group = groups[i]!;
    low[group] = Math.min(low[group]!, data[i]!);
    high[group] = Math.max(high[group]!, data[i]!);
  }
  const params = Array.from(low, (l, g) =>
    parameters(Number.isFinite(l) ? l : 0, Number.isFinite(high[g]!) ? high[g]! : 0, how),
  );
  const [lowest, highest] = fullRange[how.dtype];
  const [qmin, qmax] = how.reduceRange ? reducedRange[how.dtype] : fullRange[how.dtype];
  const f = Math.fround;
  const codes = new Array<number>(data.length);
  for (let i = 0; i < codes.length; i++) {
    const x = data[i]!;
    const { scale, zeroPoint, min, span } = params[groups[i]!]!;
    const exact =
      how.scheme === "float-offset"
        ? halfToEven(f(f(f(f(x - min) / span) * (qmax - qmin)) + qmin))
        : halfToEven(f(x / scale)) + zeroPoint;
    const least = how.scheme === "float-offset" ? qmin : lowest;
    codes[i] = Number.isNaN(exact) ? least : Math.min(highest, Math.max(least, exact)) + 0;
  }
  const values = new Float32Array(data.length);
  for (let i = 0; i < values.length; i++) {
    const { scale, zeroPoint, min } = params[groups[i]!]!;
    const scaled = f((codes[i]! - zeroPoint) * scale);
    values[i] = how.scheme === "float-offset" ? scaled + min : scaled;
  }
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
