import { type FloatDType, floatTypes } from "../../dtypes.ts";
import { levelsOf } from "../../engine/tensors/schemes.ts";
import type { WeightQuantization } from "../weights/weight-granularity.ts";

/**
 * Scales under which no code stands for more than a weight's type holds: masks are made of its lowest value, which a
 * scale that was rounded up would restore as -Infinity. Undefined where the scales are so already.
 */
export function finiteScales(
  type: FloatDType,
  quantization: WeightQuantization,
  scale: Float32Array,
  zeroPoint: Int32Array,
): Float32Array | undefined {
  const most = floatTypes[type].largest;
  const { qmin, qmax } = levelsOf(quantization);
  // How many steps from zero the furthest code of a group is.
  const steps = (group: number) => Math.max(qmax - zeroPoint[group]!, zeroPoint[group]! - qmin);
  const exceeds = (step: number, group: number) => Math.fround(Math.abs(step) * steps(group)) > most;
  if (!scale.some(exceeds)) return undefined;
  return scale.map((step, group) => {
    if (!exceeds(step, group)) return step;
    let bits = new Uint32Array(Float32Array.of(most / steps(group)).buffer)[0]!;
    const at = () => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
    while (exceeds(at(), group)) bits--;
    return Math.sign(step) * at();
  });
}
