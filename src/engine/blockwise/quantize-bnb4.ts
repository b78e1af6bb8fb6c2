import type { FloatDType } from "../../dtypes.ts";
import { roundings } from "../../kernels/block-parameters.ts";
import { refuseNonFinite } from "../measure/find-range.ts";
import type { QuantizationError } from "../measure/quantization-error.ts";
import type { KernelContext } from "../tensors/context.ts";
import { checkKeys, oneOf } from "../tensors/quantize-options.ts";
import type { NamedOperand } from "../tensors/tensor.ts";
import { withScratch, withValues } from "../tiling/scratch.ts";
import { errorOf, type Sums, sumsAt } from "./block-sums.ts";
import { blockSizes, type MatrixLayout, scaleError, sidesOf, takeScales } from "./quantize-matrix.ts";

/** NormalFloat, whose levels are quantiles of a normal distribution, or 4-bit floating point; as bitsandbytes has them. */
export type Bnb4Type = "nf4" | "fp4";

export interface Bnb4Options {
  readonly layout: MatrixLayout;
  readonly blockSize: number;
  readonly quantType: Bnb4Type;
  /** How the largest magnitudes are stored. Default: float32. Codes are those of the values as stored. */
  readonly scaleDtype?: FloatDType | undefined;
  /** Blocks before these, where they are part of a matrix: errors count from its start. */
  readonly firstBlock?: number | undefined;
}

/** A matrix as com.microsoft MatMulBnb4 stores it: [N, K] laid flat, and that in blocks. */
export interface Bnb4Matrix {
  /** [ceil(N * K / 2)], the first of two codes in the high nibble. */
  readonly codes: Uint8Array;
  /** [ceil(N * K / blockSize)], in the bits of half precision where that was asked for. */
  readonly absmax: Float32Array | Uint16Array;
  readonly error: QuantizationError;
  /** Of each `bnb4Rows` rows. */
  readonly sums: readonly Sums[];
}

interface Levels {
  /** 15, ascending: a value has as many below it as its level says. */
  readonly thresholds: Float32Array;
  /** What the 16 levels stand for, and the codes that stand for them. */
  readonly values: Float32Array;
  readonly codes: Uint8Array;
}

// The numbers are those of ONNX Runtime's contrib_ops/cpu/quantization/blockwise_quant_block_bnb4.h.

const nf4: Levels = {
  thresholds: Float32Array.of(
    ...[-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984],
    ...[-0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668],
    ...[0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011],
  ),
  values: Float32Array.of(
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
    ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725],
    ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ),
  codes: Uint8Array.from({ length: 16 }, (_, level) => level),
};

/** Magnitudes by rising value: where each begins, what it is, its code; that of a negative number has 8 added. */
const fp4Magnitudes = [
  [0, 0, 0],
  [0.00260417, 5.208333333e-3, 1],
  [0.0859375, 0.16666667, 6],
  [0.20833333, 0.25, 7],
  [0.29166667, 0.33333333, 4],
  [0.4166667, 0.5, 5],
  [0.583333, 0.66666667, 2],
  [0.8333333, 1, 3],
] as const;

const fp4: Levels = {
  // A negative number is at a level for as long as its magnitude is not above the next threshold: x >= -t.
  thresholds: Float32Array.of(
    ...fp4Magnitudes.map(([t]) => below(-t)).reverse(),
    ...fp4Magnitudes.slice(1).map(([t]) => t),
  ),
  values: Float32Array.of(
    ...fp4Magnitudes.map(([, value]) => -value).reverse(),
    ...fp4Magnitudes.map(([, value]) => value),
  ),
  codes: Uint8Array.of(...fp4Magnitudes.map(([, , code]) => code + 8).reverse(), ...fp4Magnitudes.map(([, , c]) => c)),
};

export const bnb4Levels: Readonly<Record<Bnb4Type, Levels>> = { nf4, fp4 };

/** The next float32 below one that is not positive. */
function below(x: number): number {
  const bits = new Int32Array(Float32Array.of(Math.abs(x)).buffer);
  bits[0]! += 1;
  return -new Float32Array(bits.buffer)[0]!;
}

/** Bytes of the table that kernels take. */
const TABLE = 144;
/** Elements of a call at the most. */
const CHUNK = 1 << 18;

/**
 * Quantizes a matrix as ONNX Runtime's tool does for MatMulBnb4. A half-precision magnitude that would be 0 for a block that
 * is not all zeros is the smallest there is instead.
 *
 * @throws ArgumentError, NonFiniteError, MemoryError
 */
export function quantizeBnb4(context: KernelContext, matrix: NamedOperand, options: Bnb4Options): Bnb4Matrix {
  checkKeys(options, ["layout", "blockSize", "quantType", "scaleDtype", "firstBlock"]);
  const { memory, kernels } = context;
  const { layout } = options;
  const [n, k] = sidesOf(matrix.shape, layout);
  const size = oneOf("blockSize", options.blockSize, blockSizes);
  const levels = bnb4Levels[oneOf("quantType", options.quantType, ["nf4", "fp4"])];
  const scaleDtype = oneOf("scaleDtype", options.scaleDtype ?? "float32", ["float32", "float16", "bfloat16"]);
  const elements = n * k;
  const codes = new Uint8Array(Math.ceil(elements / 2));
  const absmax = new (scaleDtype === "float32" ? Float32Array : Uint16Array)(Math.ceil(elements / size));
  const sums: Sums[] = [];
  if (elements > 0) {
    const most = bnb4Rows(k, size);
    const room = Math.min(most, n) * k;
    const sizes = [
      TABLE,
      64,
      5 * size,
      Math.ceil(room / 2),
      4 * Math.ceil(room / size),
      layout === "KN" ? 4 * room : 0,
    ];
    withValues(context, matrix, (address) =>
      withScratch(context, sizes, (rooms) => {
        const [table, totals, scratch, to, scales, panel] = rooms as [number, number, number, number, number, number];
        memory.view(Float32Array, table, 15).set(levels.thresholds);
        memory.view(Float32Array, table + 64, 16).set(levels.values);
        memory.view(Uint8Array, table + 128, 16).set(levels.codes);
        for (let first = 0; first < n; first += most) {
          const rows = Math.min(most, n - first);
          const count = rows * k;
          const src = layout === "NK" ? address + 4 * first * k : panel;
          if (layout === "KN") kernels.transposeF32(address + 4 * first, panel, rows, k, n);
          memory.view(Uint8Array, totals, 64).fill(0);
          kernels.quantizeF32B4(src, to, scales, totals, scratch, table, count, size, roundings[scaleDtype]);
          codes.set(memory.view(Uint8Array, to, Math.ceil(count / 2)), (first * k) / 2);
          const at = (first * k) / size;
          const large = takeScales(context, scales, Math.ceil(count / size), scaleDtype, absmax, at);
          const finite = memory.view(Float64Array, totals, 4).every(Number.isFinite);
          if (!finite) refuseNonFinite(context, matrix, matrix.name);
          if (large !== undefined) throw scaleError(`block ${at + large + (options.firstBlock ?? 0)}`);
          sums.push(sumsAt(memory, totals));
        }
      }),
    );
  }
  return { codes, absmax, sums, error: errorOf(sums, elements) };
}

/** Rows that are taken, and summed up, together: so many that the next ones start where a block does. */
export function bnb4Rows(k: number, size: number): number {
  const step = size / commonDivisor(size, k);
  return Math.max(Math.floor(CHUNK / k / step), 1) * step;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
