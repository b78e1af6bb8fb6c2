import { type FloatDType, floatTypes } from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import type { BlockBits, Kernels } from "../../kernels/abi.ts";
import { blockParameters, roundings } from "../../kernels/block-parameters.ts";
import { packZeroPoint } from "../../kernels/nbits-zero-points.ts";
import { EXCLUDE_IT, words } from "../../messages.ts";
import { refuseNonFinite } from "../measure/find-range.ts";
import type { QuantizationError } from "../measure/quantization-error.ts";
import { percentileOfValues } from "../range-search/percentile.ts";
import type { KernelContext } from "../tensors/context.ts";
import { checkBoolean, checkKeys, type NonFinite, oneOf } from "../tensors/quantize-options.ts";
import { checkArray, type NamedOperand } from "../tensors/tensor.ts";
import { withScratch, withValues } from "../tiling/scratch.ts";
import { errorOf, finiteSums, type Sums, takeSums } from "./block-sums.ts";

/** `KN`: [K, N], as MatMul has its B. `NK`: [N, K], as Gemm with transB has it, and tables. Blocks run along K in both. */
export type MatrixLayout = "KN" | "NK";

/** What ONNX Runtime's kernels take. */
export const blockSizes = [16, 32, 64, 128, 256] as const;
export type BlockSize = (typeof blockSizes)[number];

/** The widths of codes that there are kernels for. */
export const bitWidths = [2, 4, 8] as const satisfies readonly BlockBits[];
export type BitWidth = (typeof bitWidths)[number];

/** How the scale of a block is chosen: by its extremes alone, or searched for (assembly/nbits-search.ts). */
export const algorithms = ["rtn", "mse", "hqq"] as const;
export type BlockAlgorithm = (typeof algorithms)[number];

export interface MatrixOptions<Measure extends boolean = true> {
  readonly bits: BitWidth;
  readonly blockSize: number;
  /** Whether the zero point is the middle code for all blocks, and not stored. */
  readonly symmetric: boolean;
  readonly layout: MatrixLayout;
  /** How scales are stored. Default: float32. Codes are those of the scale as stored. */
  readonly scaleDtype?: FloatDType | undefined;
  /** Default: `rtn`, round to nearest: byte for byte what ONNX Runtime's MatMulNBits tool writes. */
  readonly algorithm?: BlockAlgorithm | undefined;
  /** Of `rtn`: the share of a block's values that its range holds, in percent. Default: 100. */
  readonly percentile?: number | undefined;
  /**
   * `"error"` (the default) refuses NaN and infinities. `"ignore"` leaves them out of the range: infinities saturate, NaN
   * becomes code 0; a block that has any is not searched.
   */
  readonly nonFinite?: NonFinite | undefined;
  /** Takes the codes, instead of a new array. */
  readonly out?: Uint8Array | undefined;
  /** Takes the scales, in the type that they are stored in. */
  readonly outScale?: Float32Array | Uint16Array | undefined;
  /** Whether to tell what was lost. Default: true. It takes longer than the codes do. */
  readonly measure?: Measure | undefined;
  /** Rows before these, where they are part of a matrix: errors count from its start. */
  readonly firstRow?: number | undefined;
}

/** A matrix as com.microsoft MatMulNBits and GatherBlockQuantized store it. */
export interface QuantizedMatrix<Measure extends boolean = true> {
  /** [N, ceil(K / blockSize), blockSize * bits / 8], low bits first; 0 beyond K. */
  readonly codes: Uint8Array;
  /** [N, ceil(K / blockSize)], in the bits of half precision where that was asked for. */
  readonly scale: Float32Array | Uint16Array;
  /** [N, ceil(ceil(K / blockSize) * bits / 8)], low bits first; undefined where it is 2^(bits - 1) for all. */
  readonly zeroPoint: Uint8Array | undefined;
  /** Of each `SUMMED_ROWS` rows; none where `measure` is false. */
  readonly sums: readonly Sums[];
  /** Undefined where `measure` is false. */
  readonly error: Measure extends true ? QuantizationError : undefined;
}

/** Options made definite, and the sizes that follow from them. */
export interface MatrixPlan<Measure extends boolean = boolean>
  extends Required<Omit<MatrixOptions, "out" | "outScale" | "measure">> {
  readonly scaleDtype: FloatDType;
  readonly algorithm: BlockAlgorithm;
  readonly nonFinite: NonFinite;
  readonly measure: Measure;
  readonly outScale: Float32Array | Uint16Array | undefined;
  readonly firstRow: number;
  readonly percentile: number;
  readonly n: number;
  readonly k: number;
  /** Blocks of a row. */
  readonly blocks: number;
  /** Bytes of codes, and of packed zero points, of a row. */
  readonly codeBytes: number;
  readonly zeroBytes: number;
}

/** @throws ArgumentError unless the shape is that of a matrix and the options are among those allowed. */
export function planMatrix<Measure extends boolean = true>(
  shape: readonly number[],
  options: MatrixOptions<Measure>,
): MatrixPlan<Measure> {
  const known = [
    "bits",
    "blockSize",
    "symmetric",
    "layout",
    "scaleDtype",
    "algorithm",
    "percentile",
    "nonFinite",
    "out",
    "outScale",
    "measure",
    "firstRow",
  ];
  checkKeys(options, known);
  const [n, k] = sidesOf(shape, options.layout);
  const bits = oneOf("bits", options.bits, bitWidths);
  const blockSize = oneOf("blockSize", options.blockSize, blockSizes);
  const blocks = Math.ceil(k / blockSize);
  return {
    bits,
    blockSize,
    symmetric: checkBoolean("symmetric", options.symmetric, true),
    layout: options.layout,
    scaleDtype: oneOf("scaleDtype", options.scaleDtype ?? "float32", ["float32", "float16", "bfloat16"]),
    algorithm: oneOf("algorithm", options.algorithm ?? "rtn", algorithms),
    percentile: options.percentile ?? 100,
    nonFinite: oneOf("nonFinite", options.nonFinite ?? "error", ["error", "ignore"]),
    measure: checkBoolean("measure", options.measure, true) as Measure,
    outScale: options.outScale,
    firstRow: options.firstRow ?? 0,
    n,
    k,
    blocks,
    codeBytes: (blocks * blockSize * bits) / 8,
    zeroBytes: Math.ceil((blocks * bits) / 8),
  };
}

/** @throws ArgumentError unless the shape is that of a matrix. */
export function sidesOf(shape: readonly number[], layout: MatrixLayout): [n: number, k: number] {
  if (shape.length !== 2) throw new ArgumentError("shape", `[${shape.join(", ")}] given; a matrix has two dimensions`);
  const [first, second] = shape as [number, number];
  return oneOf("layout", layout, ["KN", "NK"]) === "NK" ? [first, second] : [second, first];
}

/** Rows `first` to `first + n` of the result on their way, and where their parts lie in linear memory. */
interface RowChunk {
  readonly first: number;
  readonly n: number;
  readonly src: number;
  readonly codes: number;
  /** float32, [n, blocks]. */
  readonly scales: number;
  /** Packed, or where they are found apart from the codes float32, [n, blocks]. */
  readonly zeroPoints: number;
  readonly sums: number;
  readonly scratch: number;
}

/** Elements a chunk of rows has at the most, and those of one block of all of a panel's columns: they stay in a cache. */
const CHUNK = 1 << 18;
const PANEL = 1 << 15;

function rowsAtOnce({ n, k, blockSize, layout }: MatrixPlan): number {
  const most = layout === "NK" ? Math.floor(CHUNK / Math.max(k, 1)) & ~3 : PANEL / blockSize;
  return Math.min(Math.max(most, 4), n);
}

/**
 * Quantizes a matrix in blocks along K. A half-precision scale that would be 0 for a block that is not all zeros is the
 * smallest there is instead.
 *
 * @throws NonFiniteError, MemoryError, ArgumentError where a scale is beyond float16.
 */
export function quantizeMatrix<Measure extends boolean>(
  context: KernelContext,
  matrix: NamedOperand,
  plan: MatrixPlan<Measure>,
  out?: Uint8Array,
): QuantizedMatrix<Measure> {
  const { n, k, blocks, codeBytes, zeroBytes, scaleDtype, outScale } = plan;
  if (out) checkArray("out", out, "Uint8Array", n * codeBytes, "this matrix");
  const codes = out ?? new Uint8Array(n * codeBytes);
  const ScaleArray = scaleDtype === "float32" ? Float32Array : Uint16Array;
  if (outScale) checkArray("outScale", outScale, ScaleArray.name, n * blocks, "this matrix");
  const scale = outScale ?? new ScaleArray(n * blocks);
  const zeroPoint = plan.symmetric ? undefined : new Uint8Array(n * zeroBytes);
  const sums: Sums[] = [];
  if (n * k > 0) {
    const isChosen = plan.measure && (plan.algorithm !== "rtn" || plan.percentile < 100);
    const extremes: Sums[] = [];
    eachRowChunk(context, matrix, plan, (chunk) => {
      if (isChosen) {
        write(context, chunk, plan, "quantize");
        takeSums(context.memory, chunk.sums, chunk.first, chunk.n, extremes);
      }
      quantizeRowChunk(context, matrix, chunk, plan);
      const { memory } = context;
      const { first } = chunk;
      codes.set(memory.view(Uint8Array, chunk.codes, chunk.n * codeBytes), first * codeBytes);
      zeroPoint?.set(memory.view(Uint8Array, chunk.zeroPoints, chunk.n * zeroBytes), first * zeroBytes);
      const large = takeScales(context, chunk.scales, chunk.n * blocks, scaleDtype, scale, first * blocks);
      if (large !== undefined) {
        throw scaleError(`block ${large % blocks} of row ${plan.firstRow + first + Math.floor(large / blocks)}`);
      }
      if (plan.measure) takeSums(memory, chunk.sums, first, chunk.n, sums);
    });
    for (const [i, { squared }] of extremes.entries()) sums[i]!.extremesError = squared;
  }
  const error = plan.measure ? errorOf(sums, n * k) : undefined;
  return { codes, scale, zeroPoint, sums, error: error as QuantizedMatrix<Measure>["error"] };
}

/** Goes over the matrix a few rows of the result at a time. */
function eachRowChunk(
  context: KernelContext,
  matrix: NamedOperand,
  plan: MatrixPlan,
  visit: (chunk: RowChunk) => void,
): void {
  const { n, k, blockSize, blocks, codeBytes, layout } = plan;
  const most = rowsAtOnce(plan);
  const parameters = 4 * most * blocks;
  const sizes = [most * codeBytes, parameters, parameters, 64 * most, 192 + 4 * blockSize * Math.max(most, 4)];
  withValues(context, matrix, (address) =>
    withScratch(context, sizes, (room) => {
      const [codes, scales, zeroPoints, sums, scratch] = room as [number, number, number, number, number];
      for (let first = 0; first < n; first += most) {
        const src = address + 4 * first * (layout === "NK" ? k : 1);
        visit({ first, n: Math.min(most, n - first), src, codes, scales, zeroPoints, sums, scratch });
      }
    }),
  );
}

function quantizeRowChunk(context: KernelContext, matrix: NamedOperand, chunk: RowChunk, plan: MatrixPlan): void {
  const clips = plan.percentile < 100;
  const searched = plan.algorithm !== "rtn" || clips;
  if (clips) findParameters(context, chunk, plan);
  else if (searched) search(context, chunk, plan);
  const finite = write(context, chunk, plan, searched ? "encode" : plan.measure ? "quantize" : "pack");
  if (!finite) {
    if (plan.nonFinite === "error") refuseNonFinite(context, matrix, matrix.name);
    findParameters(context, chunk, plan);
    write(context, chunk, plan, "encode");
  }
  if ((searched || !finite) && !plan.symmetric) packZeroPoints(context, chunk, plan);
}

/**
 * Writes codes, and sums unless they are to be packed alone; tells whether all values are finite. `quantize` and `pack` find
 * scales and zero points on the way, `encode` takes those that lie there.
 */
function write(
  context: KernelContext,
  chunk: RowChunk,
  plan: MatrixPlan,
  verb: "quantize" | "pack" | "encode",
): boolean {
  const { n, k, bits, blockSize, layout, symmetric, scaleDtype } = plan;
  const { src, codes, scales, zeroPoints, sums, scratch } = chunk;
  context.memory.view(Uint8Array, sums, 64 * chunk.n).fill(0);
  const kernel = context.kernels[`${verb}F32N${layout === "KN" ? "Columns" : ""}`] as Kernels["packF32N"];
  const stride = layout === "KN" ? n : k;
  const how = [bits, symmetric ? 1 : 0, roundings[scaleDtype]] as const;
  const bad = kernel(src, codes, scales, zeroPoints, sums, scratch, chunk.n, k, stride, blockSize, ...how);
  return verb === "pack" ? bad === 0 : finiteSums(context.memory, sums, chunk.n);
}

function search({ kernels }: KernelContext, chunk: RowChunk, plan: MatrixPlan): void {
  const { n, k, bits, blockSize, layout, symmetric, scaleDtype, algorithm } = plan;
  const { src, scales, zeroPoints, scratch } = chunk;
  const kernel = kernels[`${algorithm as "mse" | "hqq"}F32${layout === "KN" ? "Columns" : ""}`];
  const stride = layout === "KN" ? n : k;
  const how = [bits, symmetric ? 1 : 0, roundings[scaleDtype]] as const;
  kernel(src, scales, zeroPoints, scratch, chunk.n, k, stride, blockSize, ...how);
}

/** Scales and zero points of each block from its finite values alone, or those that a percentile keeps: rare, so plain. */
function findParameters({ memory }: KernelContext, chunk: RowChunk, plan: MatrixPlan): void {
  const { n, k, bits, blockSize, blocks, layout, symmetric, scaleDtype, algorithm, percentile } = plan;
  const [row, step] = layout === "NK" ? [k, 1] : [1, n];
  const x = memory.view(Float32Array, chunk.src, (chunk.n - 1) * row + (k - 1) * step + 1);
  const scales = memory.view(Float32Array, chunk.scales, chunk.n * blocks);
  const zeroPoints = memory.view(Float32Array, chunk.zeroPoints, chunk.n * blocks);
  for (let i = 0; i < scales.length; i++) {
    const [r, b] = [Math.floor(i / blocks), i % blocks];
    const first = b * blockSize;
    const all = Float32Array.from(
      { length: Math.min(k - first, blockSize) },
      (_, j) => x[r * row + (first + j) * step]!,
    );
    const values = all.filter(Number.isFinite);
    if (values.length === all.length && algorithm !== "rtn") continue; // searched already
    const extremes = values.length === 0 ? { min: 0, max: 0 } : { min: Math.min(...values), max: Math.max(...values) };
    const { min, max } = percentileOfValues(values, extremes, percentile, symmetric);
    const { scale, zeroPoint } = blockParameters({ min, max, first: min }, bits, symmetric, roundings[scaleDtype]);
    scales[i] = scale;
    zeroPoints[i] = zeroPoint;
  }
}

/** float32 zero points to bits, where they lie; the middle code fills the last byte of a row. */
function packZeroPoints({ memory }: KernelContext, chunk: RowChunk, { bits, blocks, zeroBytes }: MatrixPlan): void {
  const values = memory.view(Float32Array, chunk.zeroPoints, chunk.n * blocks).slice();
  const bytes = memory.view(Uint8Array, chunk.zeroPoints, chunk.n * zeroBytes);
  for (let i = 0; i < values.length; i++) {
    const b = i % blocks;
    const at = Math.floor(i / blocks) * zeroBytes + ((b * bits) >> 3);
    bytes[at] = packZeroPoint(bytes[at]!, values[i]!, b, bits);
  }
}

/** Copies float32 scales, narrowed where that is asked for; the place of the first one that float16 does not hold. */
export function takeScales(
  { memory, kernels }: KernelContext,
  from: number,
  count: number,
  dtype: FloatDType,
  into: Float32Array | Uint16Array,
  at: number,
): number | undefined {
  if (dtype === "float32") {
    into.set(memory.view(Float32Array, from, count), at);
    return undefined;
  }
  const convert = dtype === "float16" ? kernels.convertF32F16 : kernels.convertF32BF16;
  convert(from, from, count); // in place: what is written is narrower, and never overtakes what is read
  const halves = memory.view(Uint16Array, from, count);
  into.set(halves, at);
  if (dtype === "bfloat16") return undefined;
  const { infinity } = floatTypes.float16;
  const large = [halves.indexOf(infinity), halves.indexOf(0x8000 | infinity)].filter((place) => place >= 0); // the infinities
  return large.length > 0 ? Math.min(...large) : undefined;
}

export function scaleError(where: string): ArgumentError {
  return new ArgumentError(
    "data",
    words`the scale of ${where} is beyond float16's ${floatTypes.float16.largest}; ${EXCLUDE_IT}`,
  );
}
