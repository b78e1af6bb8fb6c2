import { type ArrayOf, type CodeDType, type FloatDType, type HalfDType, integerTypes } from "../dtypes.ts";
import { ArgumentError } from "../errors.ts";
import { compileKernels, hasSimd, loadKernels, type ModuleSource } from "../kernels/load.ts";
import { LinearMemory } from "../kernels/memory.ts";
import { createReference } from "../kernels/reference/create-reference.ts";
import {
  type DequantizeBnb4Options,
  type DequantizeMatrixOptions,
  dequantizeBnb4,
  dequantizeMatrix,
  type StoredMatrix,
} from "./blockwise/dequantize-matrix.ts";
import { type Bnb4Matrix, type Bnb4Options, quantizeBnb4 } from "./blockwise/quantize-bnb4.ts";
import { type MatrixOptions, planMatrix, type QuantizedMatrix, quantizeMatrix } from "./blockwise/quantize-matrix.ts";
import { writeCodes } from "./codes/code-writer.ts";
import { compare, compareWithoutGroups } from "./compare-tensors.ts";
import { type ConvertedToHalf, convertToHalf } from "./convert-half.ts";
import { writeValues } from "./dequantize-tensor.ts";
import { findExtremes, findRange } from "./measure/find-range.ts";
import type { LossSums, QuantizationError } from "./measure/quantization-error.ts";
import { type QuantizedWithError, quantizeTensor, quantizeWithError } from "./quantize-tensor.ts";
import { clippingErrors } from "./range-search/clipping-errors.ts";
import { countValues } from "./range-search/count-values.ts";
import { findBestRange } from "./range-search/find-best-range.ts";
import type { Histogram } from "./range-search/histogram.ts";
import { checkFloat, checkQuantized, floatNames, newArray } from "./tensors/check-tensors.ts";
import type { KernelContext } from "./tensors/context.ts";
import { type Axis, checkGranularity, type Granularity, layoutOf } from "./tensors/granularity.ts";
import {
  checkKeys,
  type FindRangeOptions,
  givenParameters,
  oneOf,
  type PerGroupValues,
  planFindRange,
  planRange,
  type QuantizeOptions,
  type RangeOptions,
} from "./tensors/quantize-options.ts";
import { isResident, type ResidentQuantizedTensor, ResidentTensor } from "./tensors/resident-tensor.ts";
import type { SchemeOptions, ValueRange } from "./tensors/schemes.ts";
import { checkShape, elementsOf } from "./tensors/shape.ts";
import { checkData, type FloatTensor, type QuantizedTensor } from "./tensors/tensor.ts";
import { transposeLast } from "./transpose-last.ts";

export interface EngineOptions {
  /** kernels.wasm: a path, a URL, its bytes or the compiled module. Default: the published file. */
  readonly module?: ModuleSource | undefined;
  /** `"scalar"` takes the plain TypeScript reference kernels: the same bytes, slower. Default: `"simd"` where the platform has it. */
  readonly kernels?: "simd" | "scalar" | undefined;
}

export interface DequantizeOptions<D extends FloatDType = FloatDType> {
  /** Default: float32. Half precision is rounded half to even. */
  readonly dtype?: D | undefined;
  /** Takes the values, instead of a new array. */
  readonly out?: ArrayOf<D> | undefined;
}

export interface BiasOptions {
  /** Input scale times weight scale, one for each channel or one for all. */
  readonly scale: PerGroupValues;
  /** The channel axis, where there are as many scales as channels. */
  readonly axis?: Axis | undefined;
}

/** A float tensor made by the engine. */
export interface DequantizedTensor<D extends FloatDType = FloatDType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: ArrayOf<D>;
}

/** Without an array of the caller's, what comes out of a resident is resident. */
interface NoOut {
  readonly out?: undefined;
}

/**
 * Compiles the kernels and sets memory up. An engine serves any number of calls, one after the other; workers take one
 * each, and may share a compiled module (`compileKernels`).
 *
 * @throws ArgumentError when the module cannot be read or is not this version's.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  checkKeys(options, ["module", "kernels"]);
  const wanted = oneOf("kernels", options.kernels ?? (hasSimd() ? "simd" : "scalar"), ["simd", "scalar"]);
  const memory = new LinearMemory();
  const kernels =
    wanted === "simd"
      ? await loadKernels(await compileKernels(options.module), memory.memory)
      : createReference(memory.memory);
  return new Engine({ kernels, memory }, wanted);
}

/** Quantizes, restores and measures tensors. Made by `createEngine`. */
export class Engine {
  readonly #context: KernelContext;
  /** Which kernels it works with; the bytes are the same. */
  readonly kernels: "simd" | "scalar";

  /** @internal */
  constructor(context: KernelContext, kernels: "simd" | "scalar") {
    this.#context = context;
    this.kernels = kernels;
  }

  /**
   * A float tensor of zeros in linear memory: fill its `data`, and what is computed from it needs no copy on the way in
   * and stays in linear memory itself, until `dispose()`.
   *
   * @throws ArgumentError for a shape or type that is not allowed, MemoryError when 4 GiB do not hold it.
   */
  allocate<D extends FloatDType>(dtype: D, shape: readonly number[]): ResidentTensor<D> {
    const tensor = this.reserve(dtype, shape);
    (tensor.data as Float32Array | Uint16Array).fill(0);
    return tensor;
  }

  /** @internal As `allocate`, with what lay there before; `within` another resident that is long enough, and keeps its memory. */
  reserve<D extends FloatDType>(dtype: D, shape: readonly number[], within?: ResidentTensor): ResidentTensor<D> {
    oneOf("dtype", dtype, floatNames as readonly D[]);
    return new ResidentTensor(this.#context.memory, dtype, checkShape(shape), within?.address);
  }

  /** @internal Linear memory for so many bytes of tensors, so that it need not grow when they come. @throws MemoryError */
  ensureRoom(bytes: number): void {
    this.#context.memory.ensure(bytes);
  }

  /**
   * Codes of a float tensor: the range of each group is found (or `range`, or `scale` and `zeroPoint`, are taken as given),
   * mapped onto the codes, and every value divided by its scale and rounded half to even. See `SchemeName` for the rules.
   *
   * @throws ArgumentError, NonFiniteError, MemoryError (residents)
   */
  quantize<D extends CodeDType = "int8">(
    tensor: ResidentTensor,
    options?: QuantizeOptions<D> & NoOut,
  ): ResidentQuantizedTensor<D>;
  quantize<D extends CodeDType = "int8">(
    tensor: FloatTensor | ResidentTensor,
    options?: QuantizeOptions<D>,
  ): QuantizedTensor<D>;
  quantize<D extends CodeDType = "int8">(
    tensor: FloatTensor | ResidentTensor,
    options: QuantizeOptions<D> = {},
  ): QuantizedTensor<D> {
    return quantizeTensor(this.#context, tensor, options);
  }

  /** @internal `quantize`, and what that cost, as `error` has it: in one pass over the tensor where a cache holds its groups. */
  quantizeWithError<D extends CodeDType>(
    tensor: FloatTensor | ResidentTensor,
    options: QuantizeOptions<D>,
  ): QuantizedWithError<D> {
    return quantizeWithError(this.#context, tensor, options);
  }

  /**
   * @internal A matrix in blocks along K, as com.microsoft MatMulNBits and GatherBlockQuantized store it, and what that
   * cost.
   *
   * @throws ArgumentError, NonFiniteError, MemoryError
   */
  quantizeMatrix<Measure extends boolean = true>(
    tensor: FloatTensor | ResidentTensor,
    options: MatrixOptions<Measure>,
  ): QuantizedMatrix<Measure> {
    const operand = checkFloat(tensor);
    return quantizeMatrix(this.#context, operand, planMatrix(operand.shape, options), options.out);
  }

  /**
   * @internal A matrix as com.microsoft MatMulBnb4 stores it, and what that cost.
   *
   * @throws ArgumentError, NonFiniteError, MemoryError
   */
  quantizeBnb4(tensor: FloatTensor | ResidentTensor, options: Bnb4Options): Bnb4Matrix {
    return quantizeBnb4(this.#context, checkFloat(tensor), options);
  }

  /** @internal Codes of a byte each, `[..., rows, columns]`, as `[..., columns, rows]`. @throws MemoryError */
  transposeLast(codes: Uint8Array, shape: readonly number[]): Uint8Array {
    return transposeLast(this.#context, codes, shape);
  }

  /** @internal What the codes of `quantizeMatrix`, or others stored so, stand for. @throws ArgumentError */
  dequantizeMatrix(matrix: StoredMatrix, options: DequantizeMatrixOptions): Float32Array {
    return dequantizeMatrix(this.#context, matrix, options);
  }

  /** @internal The same of `quantizeBnb4`. @throws ArgumentError */
  dequantizeBnb4(matrix: Pick<Bnb4Matrix, "codes" | "absmax">, options: DequantizeBnb4Options): Float32Array {
    return dequantizeBnb4(this.#context, matrix, options);
  }

  /**
   * int32 codes of a bias, as the accumulator of an integer layer wants them: `saturate(roundHalfToEven(bias / scale))`,
   * divided in float64, zero point 0.
   *
   * @throws ArgumentError
   */
  quantizeBias(bias: FloatTensor, options: BiasOptions): QuantizedTensor<"int32"> {
    checkKeys(options, ["scale", "axis"]);
    const operand = checkFloat(bias);
    const granularity = checkGranularity(operand.shape, { axis: options.axis });
    const layout = layoutOf(operand.shape, granularity);
    const parameters = givenParameters({ scale: options.scale }, layout, integerTypes.int32);
    const data = new Int32Array(elementsOf(operand.shape));
    const q = {
      dtype: "int32",
      shape: operand.shape,
      data,
      ...parameters,
      ...granularity,
      scheme: "symmetric",
    } as const;
    const { min: qmin, max: qmax } = integerTypes.int32;
    writeCodes(this.#context, operand, q, layout, parameters, { qmin, qmax });
    return q;
  }

  /**
   * The values codes stand for: `(q - zeroPoint) * scale`, under `float-offset` `(q - zeroPoint) * scale + min`, in float32.
   *
   * @throws ArgumentError when the parts of `q` do not fit together, MemoryError (residents)
   */
  dequantize<D extends FloatDType = "float32">(
    q: ResidentQuantizedTensor,
    options?: DequantizeOptions<D> & NoOut,
  ): ResidentTensor<D>;
  dequantize<D extends FloatDType = "float32">(
    q: QuantizedTensor | ResidentQuantizedTensor,
    options?: DequantizeOptions<D>,
  ): DequantizedTensor<D>;
  dequantize<D extends FloatDType = "float32">(
    q: QuantizedTensor,
    options: DequantizeOptions<D> = {},
  ): DequantizedTensor<D> {
    checkKeys(options, ["dtype", "out"]);
    const layout = checkQuantized(q);
    const dtype = oneOf("dtype", options.dtype ?? ("float32" as D), floatNames as readonly D[]);
    if (options.out) checkData("out", options.out, dtype, q.shape);
    const resident = isResident(q) && !options.out;
    const values = resident
      ? new ResidentTensor(this.#context.memory, dtype, q.shape)
      : { dtype, shape: q.shape, data: options.out ?? newArray(dtype, q.shape) };
    writeValues(this.#context, q, values, layout);
    return values;
  }

  /**
   * The range of each group by a method: under `minmax`, the default, its smallest and largest value as found, not widened to
   * hold 0; a bound of zero is +0. An empty group has 0 and 0. See `RangeMethod` for the others.
   *
   * @throws ArgumentError, NonFiniteError
   */
  range(tensor: FloatTensor | ResidentTensor, options: FindRangeOptions = {}): ValueRange {
    const operand = checkFloat(tensor);
    const plan = planFindRange(operand.shape, options);
    if (plan.rule.name !== "minmax") return findBestRange(this.#context, operand, plan).range;
    return findRange(this.#context, operand, { ...plan, name: operand.name });
  }

  /** @internal The squared error of each group under each of some ranges. @throws ArgumentError, MemoryError */
  clippingErrors(
    tensor: FloatTensor | ResidentTensor,
    how: SchemeOptions & { readonly granularity: Granularity },
    ranges: readonly ValueRange[],
  ): Float64Array[] {
    const operand = checkFloat(tensor);
    const layout = layoutOf(operand.shape, checkGranularity(operand.shape, how.granularity));
    return clippingErrors(this.#context, operand, { start: 0 }, layout, ranges, how);
  }

  /** @internal Counts the values of each group in a histogram that has room for them. @throws ArgumentError, MemoryError */
  countValues(tensor: FloatTensor | ResidentTensor, options: RangeOptions, histograms: readonly Histogram[]): void {
    const operand = checkFloat(tensor);
    const { granularity, nonFinite } = planRange(operand.shape, options);
    countValues(this.#context, operand, granularity, histograms, nonFinite);
  }

  /** @internal Minima and maxima as `findExtremes` has them: those of parts make those of the whole. @throws NonFiniteError */
  extremes(tensor: FloatTensor | ResidentTensor, options: RangeOptions = {}): readonly Float32Array[] {
    const operand = checkFloat(tensor);
    return findExtremes(this.#context, operand, { ...planRange(operand.shape, options), name: operand.name });
  }

  /**
   * What quantization cost, over the whole tensor; with `axis` or `blockSize`, for each group. Sums are float64, taken in
   * an order that no tiling changes. A NaN in either tensor makes `mse` and `sqnr` NaN; `maxAbs` passes over it.
   *
   * @throws ArgumentError when the shapes differ or the parts of a tensor do not fit together, MemoryError for a resident
   * that is gone.
   */
  error(
    original: FloatTensor | ResidentTensor,
    other: QuantizedTensor | FloatTensor | ResidentTensor,
  ): QuantizationError;
  error(
    original: FloatTensor | ResidentTensor,
    other: QuantizedTensor | FloatTensor | ResidentTensor,
    options: Granularity,
  ): QuantizationError[];
  error(
    original: FloatTensor | ResidentTensor,
    other: QuantizedTensor | FloatTensor | ResidentTensor,
    options: Granularity = {},
  ): QuantizationError | QuantizationError[] {
    checkKeys(options, ["axis", "blockSize"]);
    const a = checkFloat(original);
    const isQuantized = typeof other === "object" && other !== null && "scale" in other;
    const b = isQuantized ? other : checkFloat(other);
    const right = isQuantized ? { q: other, layout: checkQuantized(other) } : { floats: b };
    if (a.shape.length !== b.shape.length || a.shape.some((d, i) => d !== b.shape[i])) {
      throw new ArgumentError("shape", `[${a.shape.join(", ")}] cannot be compared with [${b.shape.join(", ")}]`);
    }
    const granularity = checkGranularity(a.shape, options);
    const errors = compare(this.#context, a.shape, a, right, granularity);
    return granularity.axis === undefined ? errors[0]! : errors;
  }

  /** @internal What `error` sums up over two tensors of floats. */
  lossSums(original: FloatTensor | ResidentTensor, other: FloatTensor | ResidentTensor): LossSums {
    const a = checkFloat(original);
    const [squared, , aa, , maxAbs] = compareWithoutGroups(this.#context, a.shape, a, { floats: checkFloat(other) });
    return { squared: squared!, aa: aa!, maxAbs: maxAbs! };
  }

  /** @internal The bits of a tensor's values in half precision, half to even, written to `out`: what they do not hold. */
  convertToHalf(
    tensor: FloatTensor | ResidentTensor,
    { dtype, out }: { dtype: HalfDType; out: Uint16Array },
  ): ConvertedToHalf {
    const operand = checkFloat(tensor);
    checkData("out", out, dtype, operand.shape);
    return convertToHalf(this.#context, operand, dtype, out);
  }
}
