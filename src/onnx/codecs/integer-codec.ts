import { byteLengthOf, type CodeDType, codeTypes, type FloatDType } from "../../dtypes.ts";
import type { Engine } from "../../engine/engine.ts";
import { addSums, type LossSums, lossOf } from "../../engine/measure/quantization-error.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { release } from "../../engine/tensors/resident-tensor.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf, type QuantizedTensor } from "../../engine/tensors/tensor.ts";
import {
  type ChunkQuantization,
  chunksOfUnit,
  type QuantizeUnit,
  quantizeValues,
  rangeIn,
} from "../../pipeline/quantize-chunks.ts";
import { unitsOf } from "../../pipeline/quantize-stored.ts";
import { Pending } from "../proto/wire-format.ts";
import { type FloatConstant, weightTypeOf } from "../weights/find-weights.ts";
import type { WeightQuantization } from "../weights/weight-granularity.ts";
import { type Codec, type Encoded, type EncodedBytes, type Job, type JobSpec, type Section, wholeOf } from "./codec.ts";
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
    readonly quantization: WeightQuantization,
    readonly form: IntegerForm = {},
  ) {
    const { dtype, groups } = quantization;
    this.codes = new Pending(byteLengthOf(dtype, elementsOf(constant.tensor.shape)));
    this.scale = new Pending(4 * groups);
    if (form.storesZeros || hasZeroPoint(quantization)) {
      this.zeroPoint = new Pending(byteLengthOf(dtype, form.zeroPoint === undefined ? groups : 1));
    }
  }

  get dtype(): string {
    return this.quantization.dtype;
  }

  get spec(): IntegerSpec {
    const { quantization, form } = this;
    return { kind: "integer", quantization, form, type: weightTypeOf(this.constant) };
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.scale, ...(this.zeroPoint ? [this.zeroPoint] : [])];
  }
}

export const integerCodec: Codec<IntegerSpec, LossSums> = {
  whole: (tensor, { quantization }) => wholeOf(tensor, 0, quantization.groups),

  cut(tensor, spec, { schedule, files, share, nonFinite }) {
    const stretch = (unit: QuantizeUnit) => ({ sections: [...chunksOfUnit(unit)], range: unit.range });
    const units = unitsOf(schedule, files, tensor, quantizationOf(spec, nonFinite), share);
    return units instanceof Promise ? units.then((found) => found.map(stretch)) : units.map(stretch);
  },

  encode(values, spec, section, { engine, nonFinite, range, shape }) {
    const { quantization, form, type } = spec;
    const adjust = (q: QuantizedTensor) => correctedParameters(q, quantization, form, type);
    const given = range && rangeIn(range, section);
    const { q, sums } = quantizeValues(engine, values, quantizationOf(spec, nonFinite), { range: given, adjust });
    try {
      return { sums, release: () => release(q), ...bytesOfCodes(engine, q, spec, section, shape) };
    } catch (error) {
      release(q);
      throw error;
    }
  },

  lossOf: (sums, { shape }) => lossOf(addSums(sums), elementsOf(shape)),

  joined({ quantization: { dtype, groups } }, sections) {
    const zeroPoints = new Int32Array(groups);
    for (const { first, values } of sections) zeroPoints.set(values, first);
    return { part: 2, offset: 0, bytes: zeroPointBytes(dtype, zeroPoints) };
  },
};

function quantizationOf({ quantization }: IntegerSpec, nonFinite: NonFinite): ChunkQuantization {
  const { dtype, scheme, granularity, reduceRange, narrowRange, range } = quantization;
  return { dtype, scheme, granularity, reduceRange, narrowRange, nonFinite, range };
}

/** Codes, scales and zero points of a section, and where each of them goes. */
function bytesOfCodes(
  engine: Engine,
  q: QuantizedTensor<CodeDType>,
  { quantization, form }: IntegerSpec,
  { start, length, first, shape: own }: Section,
  shape: readonly number[],
): Pick<Encoded<unknown>, "bytes" | "nibbles" | "shared"> {
  const { dtype } = quantization;
  const { bits } = codeTypes[dtype];
  const codes = bytesOf(q.data);
  const bytes: EncodedBytes[] = [{ part: 1, offset: 4 * first, bytes: bytesOf(q.scale) }];
  if (form.swapsLast) bytes.unshift(...transposed(engine, codes, shape, { start, length, shape: own }));
  else if (bits !== 4) bytes.unshift({ part: 0, offset: (start * bits) / 8, bytes: codes });
  const nibbles = bits === 4 && !form.swapsLast ? { first: start, length, codes } : undefined;
  if (!form.storesZeros && !hasZeroPoint(quantization)) return { bytes, nibbles };
  if (form.zeroPoint !== undefined) {
    bytes.push({ part: 2, offset: 0, bytes: zeroPointBytes(dtype, q.zeroPoint.subarray(0, 1)) });
  } else if (bits === 4) {
    return { bytes, nibbles, shared: { first, values: q.zeroPoint.slice() } };
  } else {
    bytes.push({ part: 2, offset: (first * bits) / 8, bytes: zeroPointBytes(dtype, q.zeroPoint) });
  }
  return { bytes, nibbles };
}

/** Scales under which no code stands for what the weight's type lacks, and the zero point asked for; if these are others. */
export function correctedParameters(
  { scale, zeroPoint }: QuantizedTensor,
  quantization: WeightQuantization,
  form: IntegerForm,
  type: FloatDType,
) {
  const finite = finiteScales(type, quantization, scale, zeroPoint);
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

/** Codes of a section, a byte each, and where they belong once the last two axes have changed places. */
function transposed(
  engine: Engine,
  codes: Uint8Array,
  shape: readonly number[],
  { start, length, shape: own }: Pick<Section, "start" | "length" | "shape">,
): EncodedBytes[] {
  const [rows = 1, columns = 1] = shape.slice(-2);
  const matrix = rows * columns;
  if (length % matrix === 0) return [{ part: 0, offset: start, bytes: engine.transposeLast(codes, own) }];
  // Part of one matrix: some rows of it, or some of a row.
  const base = start - (start % matrix);
  const row = Math.floor((start - base) / columns);
  const column = (start - base) % columns;
  const count = Math.ceil(length / columns);
  const width = length / count;
  const swapped = engine.transposeLast(codes, [count, width]);
  return Array.from({ length: width }, (_, c) => {
    const bytes = swapped.subarray(c * count, (c + 1) * count);
    return { part: 0, offset: base + (column + c) * rows + row, bytes };
  });
}
