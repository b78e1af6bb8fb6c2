import type { CodeName, Columns, Kernels, Rows } from "../abi.ts";
import { clamp, roundHalfToEven } from "../rounding.ts";
import { eachElement, type ViewOf } from "./groups.ts";

interface Code {
  readonly bytes: 1 | 2 | 4;
  readonly max: number;
  readonly read: (view: DataView, at: number) => number;
  readonly write: (view: DataView, at: number, code: number) => void;
}

const codes: Readonly<Record<CodeName | "I32", Code>> = {
  I8: { bytes: 1, max: 127, read: (v, at) => v.getInt8(at), write: (v, at, q) => v.setInt8(at, q) },
  U8: { bytes: 1, max: 255, read: (v, at) => v.getUint8(at), write: (v, at, q) => v.setUint8(at, q) },
  I16: { bytes: 2, max: 32767, read: (v, at) => v.getInt16(at, true), write: (v, at, q) => v.setInt16(at, q, true) },
  U16: { bytes: 2, max: 65535, read: (v, at) => v.getUint16(at, true), write: (v, at, q) => v.setUint16(at, q, true) },
  I32: {
    bytes: 4,
    max: 2147483647,
    read: (v, at) => v.getInt32(at, true),
    write: (v, at, q) => v.setInt32(at, q, true),
  },
};

/** The highest code: `highest` for the byte types, whose range a caller narrows to 4 bits; all of it for the others. */
function ceiling(code: Code, highest: number): number {
  return code.bytes === 1 ? highest : code.max;
}

function quantize(viewOf: ViewOf, code: Code) {
  return (
    src: number,
    dst: number,
    scales: number,
    zeroPoints: number,
    lowest: number,
    highest: number,
    ...shape: Rows | Columns
  ) => {
    const view = viewOf();
    const most = ceiling(code, highest);
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true);
      const scale = view.getFloat32(scales + 4 * p, true);
      const zeroPoint = view.getInt32(zeroPoints + 4 * p, true);
      const q = roundHalfToEven(clamp(Math.fround(x / scale), lowest - zeroPoint, most - zeroPoint)) + zeroPoint;
      code.write(view, dst + code.bytes * i, q);
    });
  };
}

function quantizeBias(viewOf: ViewOf) {
  return (src: number, dst: number, scales: number, ...shape: Rows | Columns) => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true) / view.getFloat32(scales + 4 * p, true);
      view.setInt32(dst + 4 * i, roundHalfToEven(clamp(x, -2147483648, 2147483647)), true);
    });
  };
}

function minmax(viewOf: ViewOf, code: Code) {
  return (
    src: number,
    dst: number,
    ranges: number,
    mins: number,
    lowest: number,
    highest: number,
    levels: number,
    base: number,
    ...shape: Rows | Columns
  ) => {
    const view = viewOf();
    const most = ceiling(code, highest);
    const { fround } = Math;
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true);
      const fraction = fround(fround(x - view.getFloat32(mins + 4 * p, true)) / view.getFloat32(ranges + 4 * p, true));
      const q = roundHalfToEven(clamp(fround(fround(fraction * levels) + base), lowest, most));
      code.write(view, dst + code.bytes * i, q);
    });
  };
}

function dequantize(viewOf: ViewOf, code: Code) {
  return (src: number, dst: number, scales: number, zeroPoints: number, ...shape: Rows | Columns) => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const q = code.read(view, src + code.bytes * i) - view.getInt32(zeroPoints + 4 * p, true);
      view.setFloat32(dst + 4 * i, Math.fround(q) * view.getFloat32(scales + 4 * p, true), true);
    });
  };
}

function minmaxBack(viewOf: ViewOf, code: Code) {
  return (src: number, dst: number, scales: number, mins: number, base: number, ...shape: Rows | Columns) => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const q = code.read(view, src + code.bytes * i) - base;
      const scaled = Math.fround(q * view.getFloat32(scales + 4 * p, true));
      view.setFloat32(dst + 4 * i, scaled + view.getFloat32(mins + 4 * p, true), true);
    });
  };
}

type Quantizers = Pick<Kernels, Extract<keyof Kernels, `${"quantize" | "minmax" | "dequantize"}${string}`>>;

/** Reference for assembly/quantize.ts, bias.ts and dequantize.ts. */
export function quantizeReference(viewOf: ViewOf): Quantizers {
  const both = <T>(name: string, kernel: T): [string, T][] => [
    [name, kernel],
    [`${name}Columns`, kernel],
  ];
  return Object.fromEntries([
    ...both("quantizeF32I32", quantizeBias(viewOf)),
    ...both("dequantizeI32F32", dequantize(viewOf, codes.I32)),
    ...(["I8", "U8", "I16", "U16"] as const).flatMap((name) => [
      ...both(`quantizeF32${name}`, quantize(viewOf, codes[name])),
      ...both(`minmaxF32${name}`, minmax(viewOf, codes[name])),
      ...both(`dequantize${name}F32`, dequantize(viewOf, codes[name])),
      ...both(`minmax${name}F32`, minmaxBack(viewOf, codes[name])),
    ]),
  ]) as Quantizers;
}
