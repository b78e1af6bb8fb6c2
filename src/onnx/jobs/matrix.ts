import type { Algorithm, BitWidth, BlockSize, MatrixLayout } from "../../core/blocks.ts";
import type { ResidentTensor } from "../../core/resident.ts";
import { bytesOf, type FloatTensor } from "../../core/tensor.ts";
import type { FloatDType } from "../../dtypes.ts";
import type { FloatConstant } from "../weights.ts";
import { Pending } from "../wire.ts";
import type { Job, Made, Tools } from "./job.ts";

/** How a matrix is cut into blocks along K and stored: `[N, blocks, bytes]` with a scale for each block. */
export interface MatrixRecipe {
  readonly layout: MatrixLayout;
  readonly k: number;
  readonly n: number;
  readonly bits: BitWidth;
  readonly blockSize: BlockSize;
  readonly symmetric: boolean;
  readonly algorithm: Algorithm;
  readonly scaleDtype: FloatDType;
  /** Whether rows end where their values do, as a table's, and not with the last block, as a matrix'. */
  readonly isTight?: boolean;
}

/** A matrix as MatMulNBits takes it, or a table as GatherBlockQuantized does. */
export class MatrixJob implements Job {
  readonly codes: Pending;
  readonly scale: Pending;
  readonly zeroPoint: Pending | undefined;
  /** Blocks of a column. */
  readonly blocks: number;
  /** Bytes of a column's codes. */
  readonly stride: number;

  constructor(
    readonly constant: FloatConstant,
    readonly recipe: MatrixRecipe,
  ) {
    const { k, n, bits, blockSize, symmetric, scaleDtype, isTight } = recipe;
    this.blocks = Math.ceil(k / blockSize);
    this.stride = ((isTight ? k : this.blocks * blockSize) * bits) / 8;
    this.codes = new Pending(n * this.stride);
    this.scale = new Pending(n * this.blocks * (scaleDtype === "float32" ? 4 : 2));
    if (!symmetric) this.zeroPoint = new Pending(n * this.zeroStride);
  }

  /** Bytes of a column's zero points. */
  get zeroStride(): number {
    return Math.ceil((this.blocks * this.recipe.bits) / 8);
  }

  get dtype(): string {
    return `int${this.recipe.bits}`;
  }

  get key(): string {
    return `matrix ${JSON.stringify(this.recipe)}`;
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.scale, ...(this.zeroPoint ? [this.zeroPoint] : [])];
  }

  make(values: FloatTensor | ResidentTensor, { engine, nonFinite, shelf }: Tools): Made {
    const { n, bits, blockSize, symmetric, layout, scaleDtype, algorithm } = this.recipe;
    const full = (this.blocks * blockSize * bits) / 8;
    const out = shelf.bytes(n * full);
    const { codes, scale, zeroPoint, error } = engine.quantizeMatrix(values, {
      ...{ bits, blockSize, symmetric, layout, scaleDtype, algorithm, nonFinite, out },
    });
    if (this.stride < full)
      for (let row = 1; row < n; row++) codes.copyWithin(row * this.stride, row * full, row * full + this.stride);
    const bytes: [Pending, Uint8Array][] = [
      [this.codes, codes.subarray(0, n * this.stride)],
      [this.scale, bytesOf(scale)],
    ];
    if (this.zeroPoint) bytes.push([this.zeroPoint, zeroPoint!]);
    return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, bytes };
  }
}
