import { type CodeDType, codeTypes } from "../dtypes.ts";
import type { Recipe } from "./recipe.ts";

/** The largest finite value of the types weights have. */
const largest: Readonly<Record<string, number>> = {
  float32: 3.4028234663852886e38,
  float16: 65504,
  bfloat16: 3.3895313892515355e38,
};

/**
 * Scales under which no code stands for more than a weight's type holds: masks are made of its lowest value, which a
 * scale that was rounded up would restore as -Infinity. Undefined where the scales are so already.
 */
export function finiteScales(
  type: string,
  { dtype, scheme }: Recipe,
  scale: Float32Array,
  zeroPoint: Int32Array,
): Float32Array | undefined {
  const most = largest[type]!;
  const levels = (group: number) => levelsOf(dtype, scheme, zeroPoint[group]!);
  const exceeds = (step: number, group: number) => Math.fround(Math.abs(step) * levels(group)) > most;
  if (!scale.some(exceeds)) return undefined;
  return scale.map((step, group) => {
    if (!exceeds(step, group)) return step;
    let bits = new Uint32Array(Float32Array.of(most / levels(group)).buffer)[0]!;
    const at = () => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
    while (exceeds(at(), group)) bits--;
    return Math.sign(step) * at();
  });
}

/** How many steps from zero the furthest code is. */
function levelsOf(dtype: CodeDType, scheme: Recipe["scheme"], zeroPoint: number): number {
  const { min, max, signed, bits } = codeTypes[dtype];
  if (scheme === "symmetric" && signed && bits > 4) return max; // the lowest code is not used
  return Math.max(max - zeroPoint, zeroPoint - min);
}
