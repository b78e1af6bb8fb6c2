import { type CodeName, type Columns, codeNames, type Kernels, type Rows } from "../abi.ts";
import { both, type Code, codes } from "./code-storage.ts";
import { eachElement, type ViewOf } from "./groups.ts";

function dequantize(viewOf: ViewOf, code: Code) {
  return (src: number, dst: number, scales: number, zeroPoints: number, ...shape: Rows | Columns) => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const q = code.read(view, src + code.bytes * i) - view.getInt32(zeroPoints + 4 * p, true);
      view.setFloat32(dst + 4 * i, Math.fround(q) * view.getFloat32(scales + 4 * p, true), true);
    });
  };
}

function dequantizeFloatOffset(viewOf: ViewOf, code: Code) {
  return (src: number, dst: number, scales: number, mins: number, base: number, ...shape: Rows | Columns) => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const q = code.read(view, src + code.bytes * i) - base;
      const scaled = Math.fround(q * view.getFloat32(scales + 4 * p, true));
      view.setFloat32(dst + 4 * i, scaled + view.getFloat32(mins + 4 * p, true), true);
    });
  };
}

type Dequantizers = Pick<
  Kernels,
  `dequantize${CodeName | "I32"}F32${"" | "Columns"}` | `floatOffset${CodeName}F32${"" | "Columns"}`
>;

/** Reference for assembly/dequantize-groups.ts. */
export function dequantizeReference(viewOf: ViewOf): Dequantizers {
  return Object.fromEntries([
    ...both("dequantizeI32F32", dequantize(viewOf, codes.I32)),
    ...codeNames.flatMap((name) => [
      ...both(`dequantize${name}F32`, dequantize(viewOf, codes[name])),
      ...both(`floatOffset${name}F32`, dequantizeFloatOffset(viewOf, codes[name])),
    ]),
  ]) as Dequantizers;
}
