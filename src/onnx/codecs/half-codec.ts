import type { HalfDType } from "../../dtypes.ts";
import { lossOf } from "../../engine/measure/quantization-error.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { convertInto, type HalfConversion, type HalfLosses } from "../../pipeline/half-conversion.ts";
import { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";
import type { Encoder, Job, JobSpec, Loss } from "./codec.ts";

/** What becomes of values that a half does not hold. */
export type Limits = Pick<HalfConversion, "clamps" | "raises">;

/** With what a half does not hold of a tensor's values, and what became of them. */
export interface HalfLoss extends Loss {
  readonly halves: HalfLosses;
}

export interface HalfSpec extends JobSpec {
  readonly kind: "narrow";
  readonly dtype: HalfDType;
  readonly limits: Limits;
}

/** float32 values as halves. */
export class HalfJob implements Job<HalfSpec> {
  readonly halves: Pending;

  constructor(
    readonly constant: FloatConstant,
    readonly dtype: HalfDType,
    private readonly limits: Limits,
  ) {
    this.halves = new Pending(2 * elementsOf(constant.tensor.shape));
  }

  get spec(): HalfSpec {
    const { clamps, raises } = this.limits;
    return { kind: "narrow", dtype: this.dtype, limits: { clamps, raises } };
  }

  get parts(): readonly Pending[] {
    return [this.halves];
  }
}

/** Of a model's constants. */
export function conversionOf({ dtype, limits }: HalfSpec): HalfConversion {
  return { dtype, ...limits, masks: true, spared: "leaves the nodes that use it in float32" };
}

/** @throws ArgumentError for a value beyond the largest half */
export const encodeHalf: Encoder<HalfSpec> = (values, spec, { engine, buffers }) => {
  const bytes = buffers.bytes(2 * elementsOf(values.shape));
  const { sums, halves } = convertInto(engine, values, conversionOf(spec), bytes);
  const { sqnr, maxAbs } = lossOf(sums, elementsOf(values.shape));
  return { loss: { sqnr, maxAbs, halves } as HalfLoss, bytes: [bytes] };
};
