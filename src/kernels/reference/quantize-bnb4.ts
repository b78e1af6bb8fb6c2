import type { Kernels } from "../abi.ts";
import { reciprocalOf, storedScale } from "../block-parameters.ts";
import { measureBlock } from "./block-error.ts";
import type { ViewOf } from "./groups.ts";

const { abs, fround } = Math;

/** Reference for assembly/quantize-bnb4.ts. */
export function bnb4Reference(viewOf: ViewOf): Pick<Kernels, "quantizeF32B4"> {
  return {
    quantizeF32B4(src, dst, scales, sums, _scratch, table, n, size, rounding) {
      const view = viewOf();
      const x = (i: number) => view.getFloat32(src + 4 * i, true);
      const levelOf = (u: number) => {
        let level = 0;
        for (let t = 0; t < 15; t++) if (u > view.getFloat32(table + 4 * t, true)) level++;
        return level;
      };
      const codeOf = (level: number) => view.getUint8(table + 128 + level);

      for (let first = 0; first < n; first += size) {
        const end = Math.min(first + size, n);
        let largest = 0;
        for (let i = first; i < end; i++) largest = Math.max(largest, abs(x(i)));
        const scale = storedScale(largest, rounding);
        const reciprocal = reciprocalOf(scale);
        view.setFloat32(scales + 4 * (first / size), scale, true);
        const restored = new Float32Array(end - first);
        for (let i = first; i < end; i++) {
          const level = levelOf(fround(x(i) * reciprocal));
          restored[i - first] = view.getFloat32(table + 64 + 4 * level, true) * scale;
          const byte = dst + (i >> 1);
          // The nibble beside an odd one out is that of 0.
          if (i % 2 === 0) view.setUint8(byte, (codeOf(level) << 4) | codeOf(levelOf(0)));
          else view.setUint8(byte, (view.getUint8(byte) & 0xf0) | codeOf(level));
        }
        const block = { length: end - first, x: (i: number) => x(first + i) };
        measureBlock(view, sums, block, scale, (i) => restored[i]!);
      }
    },
  };
}
