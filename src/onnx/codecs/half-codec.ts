import type { HalfDType } from "../../dtypes.ts";
import { lossOf } from "../../engine/measure/quantization-error.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { chunkAt, chunkingOf } from "../../engine/tiling/chunks.ts";
import {
  addHalfSums,
  convertInto,
  type HalfConversion,
  type HalfLosses,
  type HalfSums,
} from "../../pipeline/half-conversion.ts";
import type { Loss } from "../../pipeline/model-report.ts";
import { chunkRunsOf } from "../../pipeline/quantize-chunks.ts";
import { Pending } from "../proto/wire-format.ts";
import type { FloatConstant } from "../weights/find-weights.ts";
import { type Codec, type Job, type JobSpec, wholeOf } from "./codec.ts";

/** What becomes of values that a half does not hold. */
export type Limits = Pick<HalfConversion, "clamps" | "raises">;

/** With what a half does not hold of a tensor's values, and what became of them. */
export interface HalfLoss extends Loss {
  readonly halves: HalfLosses;
}

export interface HalfSpec extends JobSpec {
  readonly kind: "half";
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
    return { kind: "half", dtype: this.dtype, limits: { clamps, raises } };
  }

  get parts(): readonly Pending[] {
    return [this.halves];
  }
}

/** Of a model's constants. */
function conversionOf({ dtype, limits }: HalfSpec): HalfConversion {
  return { dtype, ...limits, spared: "leaves the nodes that use it in float32" };
}

export const halfCodec: Codec<HalfSpec, HalfSums> = {
  whole: (tensor) => wholeOf(tensor, 0, 0),

  cut(tensor) {
    const chunking = chunkingOf(tensor.shape, {});
    return chunkRunsOf(chunking.count, tensor).map(({ from, until }) => ({
      sections: Array.from({ length: until - from }, (_, i) => chunkAt(chunking, from + i)),
    }));
  },

  /** @throws ArgumentError for a value beyond the largest half */
  encode(values, spec, { start, length }, { engine, buffers }) {
    const bytes = buffers.bytes(2 * length);
    const sums = convertInto(engine, values, conversionOf(spec), bytes, { base: start });
    return { sums, bytes: [{ part: 0, offset: 2 * start, bytes }] };
  },

  lossOf(sections, { shape }): HalfLoss {
    const { sums, halves } = addHalfSums(sections);
    const { sqnr, maxAbs } = lossOf(sums, elementsOf(shape));
    return { sqnr, maxAbs, halves };
  },
};
