import type { HalfDType } from "../../../dtypes.ts";
import { elementsOf } from "../../../engine/tensors/shape.ts";
import { readExactly } from "../../../formats/byte-source.ts";
import { viewOf } from "../../../formats/float-types.ts";
import { isEndless } from "../../../pipeline/half-conversion.ts";
import { storedTensorOf } from "../../io/load-tensor.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { attributeOf, type Tensor } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Value, Values } from "../../ir/types/type-inference.ts";
import { isFloat } from "./node-order.ts";

/** What is to be known of a float constant before it becomes halves. */
export interface ConstantValues {
  /** Of the finite values, by size. */
  readonly largest: number;
  /** Of those that are not 0, by size; Infinity where there is none. */
  readonly smallest: number;
  readonly hasNegative: boolean;
  /** The first finite value that would become infinite. */
  readonly beyond: number | undefined;
  /** Whether all of those stand for something endless, as masks do. */
  readonly isEndless: boolean;
  /** What halves lose for lack of small numbers: signal to noise, in dB. */
  readonly sqnr: number;
  /** All values, of a few. */
  readonly values: Float32Array | undefined;
}

/** Constants of more elements are not read beforehand: what they lose is seen when they are converted. */
const MOST_READ = 1 << 16;

/** Unless a model has no more than these in all, which costs no time that anyone would notice. */
const FEW_IN_ALL = 1 << 20;

/** Values that are kept. */
const MOST_KEPT = 1 << 12;

/** Bytes that are read at a time. */
const READ = 1 << 20;

interface HalfRange {
  /** From here on values become infinite. */
  readonly end: number;
  /** Below this, halves have fewer bits: multiples of `step`. */
  readonly normal: number;
  readonly step: number;
}

const ranges: Readonly<Record<HalfDType, HalfRange>> = {
  float16: { end: 65520, normal: 2 ** -14, step: 2 ** -24 },
  // The last of float32 are half a step beyond its largest, and meant for it.
  bfloat16: { end: Number.POSITIVE_INFINITY, normal: 2 ** -126, step: 2 ** -133 },
};

/** Half precision keeps five bits at the most of smaller numbers. */
export function tinyIn(dtype: HalfDType): number {
  return 32 * ranges[dtype].step;
}

/** The values of a model's float constants, as far as they have been looked at. */
export class ConstantNumbers {
  readonly #known = new Map<Tensor, ConstantValues>();

  private constructor(readonly dtype: HalfDType) {}

  /**
   * Reads small constants, and the parameters of BatchNormalization, which decide by their range; all of small models.
   *
   * @throws FormatError
   */
  static async read(values: Values, files: TensorFiles, dtype: HalfDType): Promise<ConstantNumbers> {
    const numbers = new ConstantNumbers(dtype);
    const tensors = new Set(values.all.map(constantTensorOf).filter((tensor) => tensor !== undefined));
    const total = Array.from(tensors).reduce((sum, { shape }) => sum + elementsOf(shape), 0);
    const everything = total <= FEW_IN_ALL;
    for (const value of values.all) {
      const tensor = constantTensorOf(value);
      if (!tensor || numbers.#known.has(tensor)) continue;
      const { kind } = tensor.data;
      if (kind === "pending" || kind === "placed") continue;
      const isNorm = value.takers.some(({ node }) => opNameOf(node) === "BatchNormalization");
      if (!everything && !isNorm && elementsOf(tensor.shape) > MOST_READ) continue;
      numbers.#known.set(tensor, await look(files, value.name, tensor, ranges[dtype], isNorm));
    }
    return numbers;
  }

  /** Undefined of what was not read. */
  of(tensor: Tensor): ConstantValues | undefined {
    return this.#known.get(tensor);
  }

  /** Of a value that is a constant, or filled with one. */
  at(value: Value): ConstantValues | undefined {
    const tensor = constantTensorOf(value);
    return tensor && this.#known.get(tensor);
  }
}

/** The float32 tensor that a value is, or is filled with. */
export function constantTensorOf(value: Value): Tensor | undefined {
  if (!isFloat(value)) return undefined;
  if (value.constant ?? value.fallback) return (value.constant ?? value.fallback)!.tensor;
  if (!value.maker || opNameOf(value.maker) !== "ConstantOfShape") return undefined;
  return attributeOf(value.maker, "value", "tensor");
}

async function look(
  files: TensorFiles,
  name: string,
  tensor: Tensor,
  range: HalfRange,
  keeps: boolean,
): Promise<ConstantValues> {
  const length = elementsOf(tensor.shape);
  const { source, stored } = storedTensorOf(files, name, tensor);
  const found = new Survey(range);
  let kept: Float32Array | undefined;
  for (let at = 0; at < 4 * length; at += READ) {
    const start = stored.start + at;
    const bytes = await readExactly(source, start, start + Math.min(READ, 4 * length - at), name);
    const values = viewOf(Float32Array, bytes);
    found.add(values);
    if (length <= MOST_KEPT || keeps) {
      kept ??= new Float32Array(length);
      kept.set(values, at / 4);
    }
  }
  return { ...found.result, values: kept };
}

class Survey {
  #largest = 0;
  #smallest = Number.POSITIVE_INFINITY;
  #hasNegative = false;
  #beyond: number | undefined;
  #isEndless = true;
  #signal = 0;
  #noise = 0;

  constructor(private readonly range: HalfRange) {}

  get result(): Omit<ConstantValues, "values"> {
    return {
      ...{ largest: this.#largest, smallest: this.#smallest, hasNegative: this.#hasNegative },
      ...{ beyond: this.#beyond, isEndless: this.#isEndless },
      sqnr: this.#noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(this.#signal / this.#noise),
    };
  }

  add(values: Float32Array): void {
    const { end, normal, step } = this.range;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const size = Math.abs(value);
      if (value < 0) this.#hasNegative = true;
      if (!Number.isFinite(size) || size === 0) continue;
      if (size > this.#largest) this.#largest = size;
      if (size < this.#smallest) this.#smallest = size;
      if (size >= end) {
        this.#beyond ??= value;
        this.#isEndless &&= isEndless(value);
        continue;
      }
      this.#signal += size * size;
      if (size < normal) this.#noise += (size - step * Math.round(size / step)) ** 2;
    }
  }
}
