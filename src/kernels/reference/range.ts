import type { Columns, Kernels, Rows } from "../abi.ts";
import { eachElement, type ViewOf } from "./groups.ts";

type Ranges = Pick<Kernels, Extract<keyof Kernels, `range${string}`>>;

/** Reference for assembly/range.ts. */
export function rangeReference(viewOf: ViewOf): Ranges {
  const range = (src: number, mins: number, maxs: number, ...shape: Rows | Columns): number => {
    const view = viewOf();
    let bad = 0;
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true);
      if (!Number.isFinite(x)) bad = 1;
      if (x < view.getFloat32(mins + 4 * p, true)) view.setFloat32(mins + 4 * p, x, true);
      if (x > view.getFloat32(maxs + 4 * p, true)) view.setFloat32(maxs + 4 * p, x, true);
    });
    return bad;
  };

  const rangeFinite = (src: number, mins: number, maxs: number, ...shape: Rows | Columns): void => {
    const view = viewOf();
    eachElement(shape, (i, p) => {
      const x = view.getFloat32(src + 4 * i, true);
      if (!Number.isFinite(x)) return;
      if (x < view.getFloat32(mins + 4 * p, true)) view.setFloat32(mins + 4 * p, x, true);
      if (x > view.getFloat32(maxs + 4 * p, true)) view.setFloat32(maxs + 4 * p, x, true);
    });
  };

  return {
    rangeF32: range,
    rangeF32Columns: range,
    rangeFiniteF32: rangeFinite,
    rangeFiniteF32Columns: rangeFinite,
  };
}
