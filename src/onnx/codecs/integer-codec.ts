import { byteLengthOf, type CodeDType, codeTypes, type FloatDType } from "../../dtypes.ts";
import { release } from "../../engine/tensors/resident-tensor.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf, type QuantizedTensor } from "../../engine/tensors/tensor.ts";
import { Pending } from "../proto/wire-format.ts";
import { type FloatConstant, weightTypeOf } from "../weights/find-weights.ts";
import type { WeightQuantization } from "../weights/weight-granularity.ts";
import type { Encoder, Job, JobSpec } from "./codec.ts";
import { finiteScales } from "./finite-scales.ts";

/** How the parts are stored, where it is not as the weight lies. */
export interface IntegerForm {
  /** Whether zero points are stored where they are 0 throughout. */
  readonly storesZeros?: boolean;
  /** Whether the last two axes of the codes change places. */
  readonly swapsLast?: boolean;
  /** The zero point of all groups, stored once: what ConvInteger takes. */
  readonly zeroPoint?: number;
}

export interface IntegerSpec extends JobSpec {
  readonly kind: "integer";
  readonly quantization: WeightQuantization;
  readonly form: IntegerForm;
  /** The weight's type. */
  readonly type: FloatDType;
}

/** Codes with scales and zero points, all of the weight's groups in one order. */
export class IntegerJob implements Job<IntegerSpec> {
  readonly codes: Pending;
  readonly scale: Pending;
  readonly zeroPoint: Pending | undefined;

  constructor(
    readonly constant: FloatConstant,
    readonly recipe: WeightQuantization,
    readonly form: IntegerForm = {},
  ) {
    const { dtype, groups } = recipe;
    this.codes = new Pending(byteLengthOf(dtype, elementsOf(constant.tensor.shape)));
    this.scale = new Pending(4 * groups);
    if (form.storesZeros || hasZeroPoint(recipe)) {
      this.zeroPoint = new Pending(byteLengthOf(dtype, form.zeroPoint === undefined ? groups : 1));
    }
  }

  get dtype(): string {
    return this.recipe.dtype;
  }

  get spec(): IntegerSpec {
    const { recipe, form } = this;
    return { kind: "integer", quantization: recipe, form, type: weightTypeOf(this.constant) };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.scale, ...(this.zeroPoint ? [this.zeroPoint] : [])];
  }
}

export const encodeIntegers: Encoder<IntegerSpec> = (
  values,
  { quantization: recipe, form, type },
  { engine, nonFinite },
) => {
  const { dtype, scheme, granularity, reduceRange, narrowRange } = recipe;
  const how = { dtype, scheme, ...granularity };
  let found = engine.quantizeWithError(values, { ...how, reduceRange, narrowRange, nonFinite });
  const given = correctedParameters(found.q, recipe, form, type);
  if (given) {
    release(found.q);
    found = engine.quantizeWithError(values, { ...how, ...given });
  }
  const { q, loss } = found;
  const codes = bytesOf(q.data);
  const bytes = [form.swapsLast ? engine.transposeLast(codes, values.shape) : codes, bytesOf(q.scale)];
  if (form.storesZeros || hasZeroPoint(recipe)) {
    bytes.push(zeroPointBytes(dtype, form.zeroPoint === undefined ? q.zeroPoint : q.zeroPoint.subarray(0, 1)));
  }
  return { loss, bytes, release: () => release(q) };
};

/** Scales under which no code stands for what the weight's type lacks, and the zero point asked for; if these are others. */
export function correctedParameters(
  { scale, zeroPoint }: QuantizedTensor,
  recipe: WeightQuantization,
  form: IntegerForm,
  type: FloatDType,
) {
  const finite = finiteScales(type, recipe, scale, zeroPoint);
  // A group of zeros has a zero point of 0, even where the others have another.
  const wanted = form.zeroPoint;
  const isAsked = wanted === undefined || zeroPoint.every((zero) => zero === wanted);
  if (!finite && isAsked) return undefined;
  return { scale: finite ?? scale, zeroPoint: isAsked ? zeroPoint : new Int32Array(zeroPoint.length).fill(wanted) };
}

/** Signed symmetric codes have a zero point of 0, which need not be said. */
function hasZeroPoint({ scheme, dtype }: WeightQuantization): boolean {
  return scheme !== "symmetric" || !codeTypes[dtype].signed;
}

/** Zero points are of the codes' type, 4-bit ones two to a byte like them. */
export function zeroPointBytes(dtype: CodeDType, zeroPoint: Int32Array): Uint8Array {
  const { bits, array } = codeTypes[dtype];
  if (bits !== 4) return bytesOf(array.from(zeroPoint));
  const bytes = new Uint8Array(Math.ceil(zeroPoint.length / 2));
  zeroPoint.forEach((zero, i) => {
    bytes[i >> 1]! |= (zero & 15) << (4 * (i % 2));
  });
  return bytes;
}
