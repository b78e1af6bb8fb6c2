import type { Kernels } from "../abi.ts";
import type { ViewOf } from "./groups.ts";

/** Reference for assembly/half-loss.ts. */
export function halfLossReference(viewOf: ViewOf): Pick<Kernels, "countF32Halves"> {
  return {
    countF32Halves(values, halves, restored, out, n, exponent) {
      const view = viewOf();
      const counts = [0, 0, 0] as [number, number, number];
      for (let i = 0; i < n; i++) {
        const half = view.getUint16(halves + 2 * i, true);
        const bits = half & exponent;
        const differs = view.getFloat32(values + 4 * i, true) === view.getFloat32(restored + 4 * i, true) ? 0 : 1;
        if ((half & 0x7fff) === 0) counts[0] += differs;
        else if (bits === 0) counts[1] += differs;
        else if (bits === exponent) counts[2]++;
      }
      counts.forEach((count, i) => {
        view.setInt32(out + 4 * i, view.getInt32(out + 4 * i, true) + count, true);
      });
    },
  };
}
