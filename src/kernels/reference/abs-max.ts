import type { Columns, Kernels, Rows } from "../abi.ts";
import { eachElement, type ViewOf } from "./groups.ts";

/** Reference for assembly/abs-max.ts. */
export function absMaxReference(viewOf: ViewOf): Pick<Kernels, "absMaxF32" | "absMaxF32Columns"> {
  // In bits, as the kernel does: NaN stands above Infinity and stays visible in the result.
  const absMax = (src: number, maxs: number, ...shape: Rows | Columns): number => {
    const view = viewOf();
    let bad = 0;
    eachElement(shape, (i, p) => {
      const bits = view.getInt32(src + 4 * i, true) & 0x7fffffff;
      if (bits >= 0x7f800000) bad = 1;
      if (bits > view.getInt32(maxs + 4 * p, true)) view.setInt32(maxs + 4 * p, bits, true);
    });
    return bad;
  };
  return { absMaxF32: absMax, absMaxF32Columns: absMax };
}
