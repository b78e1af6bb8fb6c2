import type { Columns, Kernels, Rows } from "../abi.ts";
import { eachElement, type ViewOf } from "./groups.ts";

type Histograms = Pick<Kernels, "histogramF32" | "histogramF32Columns">;

/** Reference for assembly/histogram.ts. */
export function histogramReference(viewOf: ViewOf): Histograms {
  const histogram = (src: number, tables: number, scales: number, bins: number, ...shape: Rows | Columns): void => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const scaled = view.getFloat32(src + 4 * i, true) * view.getFloat32(scales + 4 * p, true);
      const bin = Number.isNaN(scaled) ? bins / 2 : Math.min(Math.max(Math.floor(scaled) + bins / 2, 0), bins - 1);
      const at = tables + 4 * (p * bins + bin);
      view.setUint32(at, view.getUint32(at, true) + 1, true);
    });
  };
  return { histogramF32: histogram, histogramF32Columns: histogram };
}
