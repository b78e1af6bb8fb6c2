import { floatTypes, type HalfDType } from "../dtypes.ts";
import { TILE } from "../kernels/memory.ts";
import { addSums, type Loss, type LossSums, lossOf, lossSummer } from "./measure/quantization-error.ts";
import type { KernelContext } from "./tensors/context.ts";
import { elementsOf } from "./tensors/shape.ts";
import { bytesOf, type Operand } from "./tensors/tensor.ts";
import { chunkingOf, chunksOf, layoutIn } from "./tiling/chunks.ts";
import { slicesOf } from "./tiling/kernel-slices.ts";
import { tileSourceOf } from "./tiling/tile-io.ts";

/** What half precision cannot hold of a tensor. */
export interface ConvertedToHalf {
  /** Finite values that became infinite, and the first of them. */
  readonly overflows: number;
  readonly first?: { readonly index: number; readonly value: number } | undefined;
  /** NaN and infinities, which stay. */
  readonly nonFinite: number;
  /** Values other than 0 that became 0. */
  readonly zeros: number;
  /** Values that lost bits because they are smaller than the smallest normal number; those that it holds exactly are none. */
  readonly subnormals: number;
  /** Over all values; without meaning where some became infinite. */
  readonly loss: Loss;
  readonly sums: LossSums;
}

/** Writes the bits of the nearest halves of `values`, of two the even one, to `out`; tells what that cost. */
export function convertToHalf(
  context: KernelContext,
  values: Operand & { readonly shape: readonly number[] },
  dtype: HalfDType,
  out: Uint16Array,
): ConvertedToHalf {
  const { kernels, memory } = context;
  const isBrain = dtype === "bfloat16";
  const convert = isBrain ? kernels.convertF32BF16 : kernels.convertF32F16;
  const widen = isBrain ? kernels.convertBF16F32 : kernels.convertF16F32;
  const exponent = floatTypes[dtype].infinity;
  const bytes = bytesOf(out);
  const { raw, others, second } = memory.tiles;
  const beyond = new Beyond(exponent);
  memory.view(Int32Array, second, 3).fill(0);

  const source = tileSourceOf(context, values, "values");
  const chunking = chunkingOf(values.shape, {});
  const losses: LossSums[] = [];
  for (const chunk of chunksOf(chunking)) {
    const loss = lossSummer(context);
    for (const slice of slicesOf(layoutIn(chunking, chunk), TILE, TILE)) {
      const { length } = slice;
      const start = chunk.start + slice.start;
      const from = source.address(start, length);
      convert(from, raw, length);
      bytes.set(memory.view(Uint8Array, raw, 2 * length), 2 * start);
      const before = memory.view(Int32Array, second, 3)[2]!;
      widen(raw, others, length);
      kernels.countF32Halves(from, raw, others, second, length, exponent);
      if (memory.view(Int32Array, second, 3)[2] !== before) {
        beyond.look(memory.view(Uint16Array, raw, length), memory.view(Float32Array, from, length), start);
      }
      loss.add(from, others, length);
    }
    losses.push(loss.sums);
  }
  const [zeros = 0, subnormals = 0] = memory.view(Int32Array, second, 3);
  const sums = addSums(losses);
  return { sums, loss: lossOf(sums, elementsOf(values.shape)), zeros, subnormals, ...beyond.found };
}

/** Halves without a finite value. */
class Beyond {
  #overflows = 0;
  #first: ConvertedToHalf["first"];
  #nonFinite = 0;

  constructor(private readonly exponent: number) {}

  get found(): Pick<ConvertedToHalf, "overflows" | "first" | "nonFinite"> {
    return { overflows: this.#overflows, first: this.#first, nonFinite: this.#nonFinite };
  }

  look(halves: Uint16Array, values: Float32Array, start: number): void {
    halves.forEach((half, i) => {
      if ((half & this.exponent) !== this.exponent) return;
      const value = values[i]!;
      if (Number.isFinite(value)) {
        this.#overflows++;
        this.#first ??= { index: start + i, value };
      } else this.#nonFinite++;
    });
  }
}
