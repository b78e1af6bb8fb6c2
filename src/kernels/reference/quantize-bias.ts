import type { Columns, Kernels, Rows } from "../abi.ts";
import { clamp, roundHalfToEven } from "../rounding.ts";
import { eachElement, type ViewOf } from "./groups.ts";

/** Reference for assembly/quantize-bias.ts. */
export function biasReference(viewOf: ViewOf): Pick<Kernels, "quantizeF32I32" | "quantizeF32I32Columns"> {
  const quantizeBias = (src: number, dst: number, scales: number, ...shape: Rows | Columns): void => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true) / view.getFloat32(scales + 4 * p, true);
      view.setInt32(dst + 4 * i, roundHalfToEven(clamp(x, -2147483648, 2147483647)), true);
    });
  };
  return { quantizeF32I32: quantizeBias, quantizeF32I32Columns: quantizeBias };
}
