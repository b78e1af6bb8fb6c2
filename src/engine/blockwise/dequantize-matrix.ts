import type { FloatDType } from "../../dtypes.ts";
import type { BlockBits } from "../../kernels/abi.ts";
import type { KernelContext } from "../tensors/context.ts";
import { checkArray } from "../tensors/tensor.ts";
import { floatsOf } from "../tiling/scratch.ts";
import type { Bnb4Matrix, Bnb4Type } from "./quantize-bnb4.ts";
import { bnb4Levels } from "./quantize-bnb4.ts";
import type { MatrixLayout, QuantizedMatrix } from "./quantize-matrix.ts";

interface Sides {
  readonly n: number;
  readonly k: number;
  readonly blockSize: number;
  /** How the values are to lie. */
  readonly layout: MatrixLayout;
  /** What the scales are. Default: float32. */
  readonly scaleDtype?: FloatDType | undefined;
}

export interface DequantizeMatrixOptions extends Sides {
  readonly bits: BlockBits;
}

export interface DequantizeBnb4Options extends Sides {
  readonly quantType: Bnb4Type;
}

/** Codes in blocks as they are stored; zero points may also be one float32 for each block, [N, blocks]. */
export interface StoredMatrix extends Pick<QuantizedMatrix, "codes" | "scale"> {
  readonly zeroPoint?: Uint8Array | Float32Array | undefined;
}

/**
 * The values that a matrix in blocks stands for, `(q - zeroPoint) * scale` in float32: [K, N] or [N, K]. One by one: for
 * looking at a model rather than for running it.
 *
 * @throws ArgumentError when the parts do not fit together.
 */
export function dequantizeMatrix(
  context: KernelContext,
  matrix: StoredMatrix,
  options: DequantizeMatrixOptions,
): Float32Array {
  const { n, k, bits, blockSize, layout } = options;
  const blocks = Math.ceil(k / blockSize);
  const rowBytes = (blocks * blockSize * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const { zeroPoint } = matrix;
  const codes = checkArray("codes", matrix.codes, "Uint8Array", n * rowBytes, "this matrix");
  const scales = scalesOf(context, matrix.scale, n * blocks, options.scaleDtype);
  if (zeroPoint instanceof Float32Array) checkArray("zeroPoint", zeroPoint, "Float32Array", n * blocks, "this matrix");
  else if (zeroPoint) checkArray("zeroPoint", zeroPoint, "Uint8Array", n * zeroBytes, "this matrix");

  const mask = 2 ** bits - 1;
  const zeroOf = (row: number, b: number): number => {
    if (!zeroPoint) return 2 ** (bits - 1);
    if (zeroPoint instanceof Float32Array) return zeroPoint[row * blocks + b]!;
    return (zeroPoint[row * zeroBytes + ((b * bits) >> 3)]! >> ((b * bits) & 7)) & mask;
  };
  const values = new Float32Array(n * k);
  for (let row = 0; row < n; row++) {
    for (let b = 0; b < blocks; b++) {
      const scale = scales[row * blocks + b]!;
      const zero = zeroOf(row, b);
      const end = Math.min(k, (b + 1) * blockSize);
      for (let i = b * blockSize; i < end; i++) {
        const q = (codes[row * rowBytes + ((i * bits) >> 3)]! >> ((i * bits) & 7)) & mask;
        values[layout === "NK" ? row * k + i : i * n + row] = Math.fround(q - zero) * scale;
      }
    }
  }
  return values;
}

/**
 * The values that a MatMulBnb4 matrix stands for, a level's value times its block's magnitude in float32: [K, N] or [N, K].
 *
 * @throws ArgumentError when the parts do not fit together.
 */
export function dequantizeBnb4(
  context: KernelContext,
  matrix: Pick<Bnb4Matrix, "codes" | "absmax">,
  options: DequantizeBnb4Options,
): Float32Array {
  const { n, k, blockSize, layout, quantType } = options;
  const elements = n * k;
  const codes = checkArray("codes", matrix.codes, "Uint8Array", Math.ceil(elements / 2), "this matrix");
  const scales = scalesOf(context, matrix.absmax, Math.ceil(elements / blockSize), options.scaleDtype);
  const levels = bnb4Levels[quantType];
  const meanings = new Float32Array(16);
  levels.codes.forEach((code, level) => {
    meanings[code] = levels.values[level]!;
  });
  const values = new Float32Array(elements);
  for (let i = 0; i < elements; i++) {
    const byte = codes[i >> 1]!;
    const value = meanings[i % 2 === 0 ? byte >> 4 : byte & 15]! * scales[Math.floor(i / blockSize)]!;
    values[layout === "NK" ? i : (i % k) * n + Math.floor(i / k)] = value;
  }
  return values;
}

function scalesOf(
  context: KernelContext,
  scale: Float32Array | Uint16Array,
  count: number,
  dtype: FloatDType = "float32",
): Float32Array {
  checkArray("scale", scale, dtype === "float32" ? "Float32Array" : "Uint16Array", count, "this matrix");
  return scale instanceof Float32Array ? scale : floatsOf(context, { dtype, data: scale });
}
