import {
  type CodeName,
  type Columns,
  codeNames,
  type FloatOffset,
  type Kernels,
  type Quantize,
  type Rows,
} from "../abi.ts";
import { clamp, roundHalfToEven } from "../rounding.ts";
import { both, type Code, codes } from "./code-storage.ts";
import { eachElement, type ViewOf } from "./groups.ts";

/** The highest code: `highest` for the byte types, whose range a caller narrows to 4 bits; all of it for the others. */
function ceiling(code: Code, highest: number): number {
  return code.bytes === 1 ? highest : code.max;
}

function quantize(viewOf: ViewOf, code: Code) {
  return (...[src, dst, scales, zeroPoints, lowest, highest, ...shape]: [...Quantize, ...(Rows | Columns)]) => {
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

function quantizeFloatOffset(viewOf: ViewOf, code: Code) {
  return (
    ...[src, dst, ranges, mins, lowest, highest, levels, base, ...shape]: [...FloatOffset, ...(Rows | Columns)]
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

type Quantizers = Pick<Kernels, `${"quantize" | "floatOffset"}F32${CodeName}${"" | "Columns"}`>;

/** Reference for assembly/quantize-groups.ts. */
export function quantizeReference(viewOf: ViewOf): Quantizers {
  return Object.fromEntries(
    codeNames.flatMap((name) => [
      ...both(`quantizeF32${name}`, quantize(viewOf, codes[name])),
      ...both(`floatOffsetF32${name}`, quantizeFloatOffset(viewOf, codes[name])),
    ]),
  ) as Quantizers;
}
