import type { Kernels } from "../abi.ts";
import type { ViewOf } from "./groups.ts";

/** Reference for assembly/transpose.ts. */
export function transposeReference(viewOf: ViewOf): Pick<Kernels, "transposeBytes" | "transposeF32"> {
  return {
    transposeBytes(src, dst, n, k) {
      const view = viewOf();
      for (let c = 0; c < n; c++)
        for (let i = 0; i < k; i++) view.setUint8(dst + c * k + i, view.getUint8(src + i * n + c));
    },

    transposeF32(src, dst, n, k, stride) {
      const view = viewOf();
      for (let c = 0; c < n; c++) {
        for (let i = 0; i < k; i++) {
          view.setInt32(dst + 4 * (c * k + i), view.getInt32(src + 4 * (i * stride + c), true), true);
        }
      }
    },
  };
}
