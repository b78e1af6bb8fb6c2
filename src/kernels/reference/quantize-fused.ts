import type { Blocks, Kernels } from "../abi.ts";
import { clamp, roundHalfToEven } from "../rounding.ts";
import { eachRun, type ViewOf } from "./groups.ts";
import { schemeRules } from "./scheme-parameters.ts";

const { fround, max, min } = Math;

/** The bounds of what a type of codes holds. */
const bounds = { I4: [-8, 7], U4: [0, 15], I8: [-128, 127], U8: [0, 255] } as const;

function quantizer(viewOf: ViewOf, name: keyof typeof bounds): (...args: Blocks) => number {
  const [lowest, highest] = bounds[name];
  const packed = highest < 16;
  return (src, dst, scales, zeroPoints, rule, qmin, qmax, ...shape) => {
    const view = viewOf();
    let bad = 0;
    eachRun(shape, (first, n, p) => {
      let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      for (let i = first; i < first + n; i++) {
        const x = view.getFloat32(src + 4 * i, true);
        if (!Number.isFinite(x)) bad = 1;
        low = min(low, x);
        high = max(high, x);
      }
      const { scale, zeroPoint } = schemeRules[rule as 0 | 1 | 2](low, high, qmin, qmax);
      view.setFloat32(scales + 4 * p, scale, true);
      view.setInt32(zeroPoints + 4 * p, zeroPoint, true);
      for (let i = first; i < first + n; i++) {
        const x = fround(view.getFloat32(src + 4 * i, true) / scale);
        const q = roundHalfToEven(clamp(x, lowest - zeroPoint, highest - zeroPoint)) + zeroPoint;
        if (!packed) view.setInt8(dst + i, q);
        else if (i % 2 === 0) view.setUint8(dst + i / 2, q & 15);
        else view.setUint8(dst + (i >> 1), view.getUint8(dst + (i >> 1)) | (q << 4));
      }
    });
    return bad;
  };
}

/** Reference for assembly/quantize-fused.ts. */
export function fusedReference(viewOf: ViewOf): Pick<Kernels, `blocksF32${keyof typeof bounds}`> {
  return {
    blocksF32I4: quantizer(viewOf, "I4"),
    blocksF32U4: quantizer(viewOf, "U4"),
    blocksF32I8: quantizer(viewOf, "I8"),
    blocksF32U8: quantizer(viewOf, "U8"),
  };
}
